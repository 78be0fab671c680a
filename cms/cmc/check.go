package cmc

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Unrecognised lists the controls that are not known and that no control processed of an
// RA says it has seen to: one of this message or of one around it, whose maker the caller
// takes for an RA. The final server refuses the whole message for them: badRequest with
// these ids (RFC 5272 §3.2.1.1, §6.19).
func (m *Message) Unrecognised(byRA func(*Message) bool) ([]BodyPartID, error) {
	var list []BodyPartID
	for _, c := range m.Controls() {
		if c.Known() {
			continue
		}
		done, err := m.processed(c.ID, byRA)
		if err != nil {
			return nil, err
		}
		if !done {
			list = append(list, c.ID)
		}
	}
	return list, nil
}

// processed looks for the control in this message and in those around it.
func (m *Message) processed(part BodyPartID, byRA func(*Message) bool) (bool, error) {
	for path := (Path{part}); m != nil; path, m = append(Path{m.Part}, path...), m.Parent {
		if !byRA(m) {
			continue
		}
		found, err := All[ControlProcessed](m.Controls())
		if err != nil {
			return false, err
		}
		for _, list := range found {
			if slices.ContainsFunc(list.Value, func(r Reference) bool { return r.is(path) }) {
				return true, nil
			}
		}
	}
	return false, nil
}

// is reports whether the reference leads where the path does.
func (r Reference) is(path Path) bool {
	if r.Path == nil {
		return len(path) == 1 && path[0] == r.ID
	}
	return slices.Equal(r.Path, path)
}

// Check holds a PKIData to what RFC 5272 and 6402 say of it besides syntax: each known
// control can be read and may stand in a request, what it points to in this layer is
// there, and CRMF requests are as CMC wants them. The *Error names all the parts at
// fault. What points into nested messages has to be followed by [Message.At].
func (p *PKIData) Check() error {
	var f faults
	is := p.kinds()
	for _, c := range p.Controls {
		v, err := c.Decode()
		if errors.Is(err, ErrUnknown) {
			continue
		}
		if err != nil {
			f.add(c.ID, err)
			continue
		}
		f.add(c.ID, checkReferences(is, v))
		if _, out := v.(ResponseBody); out { // RFC 6402 §2.6
			f.add(c.ID, errors.New("responseBody stands in responses alone"))
		}
	}
	for _, q := range p.Requests {
		switch {
		case q.CRMF != nil:
			f.add(q.ID, q.CRMF.Check())
		case q.PKCS10 != nil:
			_, err := parsePKCS10(q.PKCS10)
			f.add(q.ID, err)
		}
	}
	return f.error()
}

// Check holds a PKIResponse to what RFC 5272 and 6402 say of it besides syntax, as
// PKIData's does a request.
func (p *PKIResponse) Check() error {
	var f faults
	is := kindsOf(nil, p.CMS)
	for _, c := range p.Controls {
		v, err := c.Decode()
		if errors.Is(err, ErrUnknown) {
			continue
		}
		if err != nil {
			f.add(c.ID, err)
			continue
		}
		switch v := v.(type) {
		case RAIdentityWitness: // RFC 6402 §2.5
			f.add(c.ID, errors.New("raIdentityWitness stands in requests alone"))
		case AuthData, BatchResponses:
			f.add(c.ID, checkReferences(is, v))
		case ResponseBody:
			if !is.nested[v[0]] {
				f.add(c.ID, fmt.Errorf("no nested message has the id %d", v[0]))
			}
		}
	}
	return f.error()
}

// partKinds are the ids of a layer by what they are.
type partKinds struct{ request, nested map[BodyPartID]bool }

func (p *PKIData) kinds() partKinds { return kindsOf(p.Requests, p.CMS) }

func kindsOf(requests []Request, nested []TaggedContentInfo) partKinds {
	is := partKinds{map[BodyPartID]bool{}, map[BodyPartID]bool{}}
	for _, q := range requests {
		is.request[q.ID] = true
	}
	for _, c := range nested {
		is.nested[c.ID] = true
	}
	return is
}

// checkReferences looks at what a control points to in its own layer.
func checkReferences(is partKinds, v Value) error {
	switch v := v.(type) {
	case LRAPOPWitness:
		return is.requests(v.PKIData, v.Bodies)
	case AddExtensions:
		return is.requests(v.PKIData, v.Requests)
	case ModCertTemplate:
		if len(v.PKIData) > 1 {
			return is.requests(v.PKIData[0], nil)
		}
		return is.requests(v.PKIData[0], v.Requests)
	case DecryptedPOP:
		return is.requests(Current, []BodyPartID{v.Part})
	case BatchRequests:
		return is.messages(v)
	case BatchResponses:
		return is.messages(v)
	case AuthData:
		return is.messages([]BodyPartID{BodyPartID(v)})
	}
	return nil
}

// requests looks for requests in the nested message or, for Current, in this layer.
func (is partKinds) requests(message BodyPartID, ids []BodyPartID) error {
	if message != Current {
		return is.messages([]BodyPartID{message})
	}
	for _, id := range ids {
		if !is.request[id] {
			return fmt.Errorf("no request has the id %d", id)
		}
	}
	return nil
}

func (is partKinds) messages(ids []BodyPartID) error {
	for _, id := range ids {
		if !is.nested[id] {
			return fmt.Errorf("no nested message has the id %d", id)
		}
	}
	return nil
}

// faults gathers what is wrong with several parts.
type faults struct {
	parts  []BodyPartID
	causes []error
}

func (f *faults) add(part BodyPartID, err error) {
	if err != nil {
		f.parts, f.causes = append(f.parts, part), append(f.causes, err)
	}
}

func (f *faults) error() error {
	if f.parts == nil {
		return nil
	}
	var words []string
	for i, cause := range f.causes {
		words = append(words, fmt.Sprintf("%d: %v", f.parts[i], cause))
	}
	return &Error{Fail: BadRequest, Parts: slices.Compact(f.parts), Reason: strings.Join(words, "; ")}
}
