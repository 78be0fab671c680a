package estserver

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"chancery/cms/cmc"
)

// message does what one message asks for, and what those within it do. Nothing is issued or
// revoked before all of it is read, authenticated and understood.
func (x *exchange) message(a *response, m *cmc.Message) {
	if err := x.prepare(m, nil); err != nil {
		x.fault(spot{a, err.in, cmc.Current}, err.cause)
		return
	}
	p := x.parties[m]
	x.call.log = x.call.log.With(slog.String("identity", p.who.String())) // who TLS and HTTP name is there as tls_identity
	if err := x.fresh(m, p); err != nil {
		x.fault(spot{a, m, cmc.Current}, err)
		return
	}
	x.perform(a, m, p)
}

// misfit is what is wrong with a message, and which one it is.
type misfit struct {
	in    *cmc.Message
	cause error
}

// prepare reads a message and those within it, and finds out who made each. forWhom is who
// passed it on, nil for the outermost.
func (x *exchange) prepare(m *cmc.Message, forWhom *party) *misfit {
	bad := func(err error) *misfit { return &misfit{m, err} }
	x.counts.messages++
	x.counts.requests += len(m.Data.Requests)
	x.counts.controls += len(m.Data.Controls)
	switch depth := len(m.Path(cmc.Current)); {
	case depth > maxFullDepth:
		return bad(malformed(cmc.Current, fmt.Sprintf("messages are nested more than %d deep", maxFullDepth)))
	case x.counts.messages > maxFullMessages || x.counts.requests > maxFullRequests || x.counts.controls > maxFullControls:
		return bad(malformed(cmc.Current, fmt.Sprintf("the message has more than %d nested ones, %d certification requests or %d controls: send several", maxFullMessages, maxFullRequests, maxFullControls)))
	}
	if err := m.Data.Check(); err != nil {
		return bad(err)
	}
	p, err := x.identify(m)
	if err != nil {
		return bad(err)
	}
	x.parties[m] = p
	unknown, err := m.Unrecognised(x.asRA)
	if err != nil {
		return bad(err)
	}
	if len(unknown) > 0 {
		return bad(&cmc.Error{Fail: cmc.BadRequest, Parts: unknown, Reason: "these controls are not known here"})
	}
	if err := x.standing(m, p, forWhom); err != nil {
		return bad(err)
	}
	return x.prepareNested(m, p)
}

func (x *exchange) prepareNested(m *cmc.Message, p *party) *misfit {
	for _, part := range m.Data.CMS {
		inner, err := m.Open(part.ID, x.opener)
		if err != nil {
			var known *cmc.Error
			if isAuthData(m, part.ID) && errors.As(err, &known) {
				err = failure(cmc.AuthDataFail, part.ID, known.Reason)
			}
			return &misfit{m, x.opening(err)}
		}
		if inner.Data == nil {
			return &misfit{m, malformed(part.ID, "a nested message that is no request")}
		}
		if failed := x.prepare(inner, p); failed != nil {
			return failed
		}
	}
	return nil
}

func isAuthData(m *cmc.Message, part cmc.BodyPartID) bool {
	c, err := cmc.One[cmc.AuthData](m.Data.Controls)
	return err == nil && c != nil && cmc.BodyPartID(c.Value) == part
}

// standing checks that the controls may come from who sends them, and that those there may
// be one of are.
func (x *exchange) standing(m *cmc.Message, p, forWhom *party) error {
	if _, err := cmc.Echo(m.Data.Controls); err != nil {
		return err
	}
	var parts []cmc.BodyPartID
	for _, c := range m.Data.Controls {
		if !c.Known() { // an RA has seen to it
			continue
		}
		v, err := c.Decode()
		if err != nil {
			return err
		}
		switch v.(type) {
		case cmc.LRAPOPWitness, cmc.RAIdentityWitness, cmc.ModCertTemplate, cmc.AddExtensions, cmc.ControlProcessed:
			if !p.who.RA {
				parts = append(parts, c.ID)
			}
		case cmc.EncryptedPOP, cmc.ResponseInfo, cmc.BatchResponses, cmc.POPLinkWitness, cmc.POPLinkWitnessV2, cmc.ChangeSubjectName:
			return malformed(c.ID, "the control "+c.Name()+" has no place here")
		}
	}
	if parts != nil {
		return &cmc.Error{Fail: cmc.BadRequest, Parts: parts, Reason: "only a registration authority of this CA asserts such things (RFC 7030 section 3.7): its certificate has a profile that the label lists in ras, and id-kp-cmcRA"}
	}
	if len(m.Data.Requests) > 0 && !p.bound() && (forWhom == nil || !forWhom.who.RA) {
		return failure(cmc.BadMessageCheck, cmc.Current, "a message that asks for certificates is signed, in an AuthenticatedData, or has a proof of identity (RFC 5272 sections 3.2 and 6.2)")
	}
	return nil
}

// asker is for whom a message acts: whoever made it, or the RA that passed it on.
func (x *exchange) asker(m *cmc.Message) *party {
	for up := m; up != nil; up = up.Parent {
		if x.asRA(up) {
			return x.parties[up]
		}
	}
	return x.parties[m]
}

// perform does the controls, the requests and the nested messages, in this order.
func (x *exchange) perform(a *response, m *cmc.Message, p *party) {
	asker := x.asker(m)
	x.call.who = asker.who
	before := a.done + a.pending + a.failed
	x.controls(a, m, asker)
	if len(m.Data.Requests) > 0 {
		if err := x.mayAsk(asker); err != nil {
			x.fault(spot{a, m, cmc.Current}, err)
			return
		}
	}
	for _, q := range m.Data.Requests {
		x.enrolOne(a, m, q)
	}
	batch := x.batched(m)
	var answered []cmc.BodyPartID
	for _, part := range m.Data.CMS {
		inner, err := m.Open(part.ID, x.opener) // opened already
		switch {
		case err != nil:
			x.fault(spot{a, m, cmc.Current}, err)
		case slices.Contains(batch, part.ID):
			if err := x.batchOne(a, inner); err != nil {
				x.fault(spot{a, m, part.ID}, err)
				continue
			}
			answered = append(answered, part.ID)
		default:
			if err := x.fresh(inner, x.parties[inner]); err != nil {
				x.fault(spot{a, inner, cmc.Current}, err)
				continue
			}
			x.perform(a, inner, x.parties[inner])
		}
	}
	if answered != nil {
		a.success(m, "each nested message has its own answer", answered...)
	}
	if a.root == m && a.done+a.pending+a.failed == before {
		// Nothing was asked for: the answer tells whom to trust (RFC 7030 §4.1.1).
		a.publish = true
		a.success(m, "")
	}
	x.call.who = asker.who
}

// batched lists the nested messages that want answers of their own (RFC 5272 §6.17).
func (x *exchange) batched(m *cmc.Message) []cmc.BodyPartID {
	found, err := cmc.All[cmc.BatchRequests](m.Data.Controls)
	if err != nil { // checked before
		return nil
	}
	var list []cmc.BodyPartID
	for _, f := range found {
		list = append(list, f.Value...)
	}
	return list
}

// batchOne answers one message of a batch with a whole response of its own, which goes
// into cmsSequence.
func (x *exchange) batchOne(a *response, m *cmc.Message) error {
	own := &response{root: m}
	if err := x.fresh(m, x.parties[m]); err != nil {
		x.fault(spot{own, m, cmc.Current}, err)
	} else {
		x.perform(own, m, x.parties[m])
	}
	der, err := x.sign(own)
	if err != nil {
		return err
	}
	a.nested = append(a.nested, der)
	return nil
}

// controls does what the controls ask for by themselves.
func (x *exchange) controls(a *response, m *cmc.Message, asker *party) {
	for _, c := range m.Data.Controls {
		if !c.Known() || x.settled(m, c.ID) {
			continue
		}
		v, err := c.Decode()
		if err != nil {
			x.fault(spot{a, m, cmc.Current}, err)
			continue
		}
		at := spot{a, m, c.ID}
		switch v := v.(type) {
		case cmc.RevokeRequest:
			x.revoke(at, v, asker)
		case cmc.QueryPending:
			x.poll(at, v, asker)
		case cmc.GetCert:
			x.getCert(at, v, asker)
		case cmc.GetCRL:
			x.getCRL(at, v, asker)
		case cmc.ConfirmCertAcceptance:
			x.accepted(at, v, asker)
		case cmc.RegInfo:
			a.values = append(a.values, cmc.ResponseInfo(fmt.Appendf(nil, "registration information of %d octets was noted", len(v))))
		case cmc.StatusInfo, cmc.StatusInfoV2:
			x.call.log.Info("a client tells a status", "part", c.ID, "status", fmt.Sprintf("%+v", v))
		case cmc.PublishTrustAnchors:
			if m.Parent == nil || !isAuthData(m.Parent, m.Part) {
				x.unsupported(at, "this server takes no trust anchors from clients")
			}
		case cmc.PublishCert:
			x.unsupported(at, "certificates are not published here")
		}
	}
}

// spot is a part of a message, and where it is answered.
type spot struct {
	*response
	m    *cmc.Message
	part cmc.BodyPartID
}

// needsSomebody refuses whoever did not say who he is.
func (x *exchange) needsSomebody(at spot, asker *party) bool {
	err := x.mayAsk(asker)
	if err != nil {
		var known *cmc.Error
		if errors.As(err, &known) {
			known.Parts = []cmc.BodyPartID{at.part}
		}
		x.fault(at, err)
	}
	return err == nil
}
