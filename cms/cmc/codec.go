package cmc

import (
	"errors"
	"fmt"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// ParsePKIData reads the content of a Full PKI Request (RFC 5272 §3.2.1). Ids are
// unique and not 0 (§3.2.2). What the controls say is not looked at: see
// [Control.Decode] and [PKIData.Check]. An error is an *Error, and names the body part
// that cannot be read.
func ParsePKIData(der []byte) (*PKIData, error) {
	p := new(PKIData)
	ids := seen{}
	err := read(der, tags.SEQUENCE, func(r *reader) {
		p.Controls = parts(r, ids, readControl)
		p.Requests = parts(r, ids, readRequest)
		p.CMS = parts(r, ids, readContentInfo)
		p.Other = parts(r, ids, readOther)
	})
	if err != nil {
		return nil, at(Current, err)
	}
	return p, nil
}

// Marshal writes the DER: what was read comes out as the same octets.
func (p *PKIData) Marshal() ([]byte, error) {
	return build(func(b builder) {
		ids := seen{}
		b.sequence(func(b builder) {
			writeParts(b, ids, p.Controls)
			writeParts(b, ids, p.Requests)
			writeParts(b, ids, p.CMS)
			writeParts(b, ids, p.Other)
		})
	})
}

// RequestBytes is reqSequence with its tag and length as it stands in the message, which
// proofs of identity cover (RFC 5272 §6.2.1). Of a message that was read these are its
// own octets: nothing is read that would be written otherwise.
func (p *PKIData) RequestBytes() ([]byte, error) {
	return build(func(b builder) { writeParts(b, seen{}, p.Requests) })
}

// ParsePKIResponse reads the content of a Full PKI Response (RFC 5272 §4.2.1), as
// ParsePKIData does a request's.
func ParsePKIResponse(der []byte) (*PKIResponse, error) {
	p := new(PKIResponse)
	ids := seen{}
	err := read(der, tags.SEQUENCE, func(r *reader) {
		p.Controls = parts(r, ids, readControl)
		p.CMS = parts(r, ids, readContentInfo)
		p.Other = parts(r, ids, readOther)
	})
	if err != nil {
		return nil, at(Current, err)
	}
	return p, nil
}

// Marshal writes the DER: what was read comes out as the same octets.
func (p *PKIResponse) Marshal() ([]byte, error) {
	return build(func(b builder) {
		ids := seen{}
		b.sequence(func(b builder) {
			writeParts(b, ids, p.Controls)
			writeParts(b, ids, p.CMS)
			writeParts(b, ids, p.Other)
		})
	})
}

// part is one of a message's parts.
type part interface {
	id() BodyPartID
	write(builder)
}

func (c Control) id() BodyPartID           { return c.ID }
func (q Request) id() BodyPartID           { return q.ID }
func (c TaggedContentInfo) id() BodyPartID { return c.ID }
func (m OtherMsg) id() BodyPartID          { return m.ID }

// seen are the ids that a layer has (RFC 5272 §3.2.2).
type seen map[BodyPartID]bool

func (s seen) add(id BodyPartID) error {
	switch {
	case id == Current:
		return refuse(BadRequest, Current, "a body part with the id 0, which stands for the message itself")
	case s[id]:
		return refuse(BadRequest, id, "two body parts with this id")
	}
	s[id] = true
	return nil
}

// parts reads one sequence of a message. It names the part that cannot be read, if its
// id can.
func parts[P part](r *reader, ids seen, f func(*reader) P) []P {
	list := []P{}
	r.sequence(tags.SEQUENCE, bounds{"sequence of body parts", 0, MaxParts}, func(r *reader) {
		p := f(r)
		if r.failed() {
			*r.fault = at(p.id(), *r.fault)
			return
		}
		if err := ids.add(p.id()); err != nil {
			*r.fault = err
		}
		list = append(list, p)
	})
	return list
}

func writeParts[P part](b builder, ids seen, list []P) {
	if len(list) > MaxParts {
		b.refuse("a sequence of more than %d body parts", MaxParts)
		return
	}
	b.sequence(func(b builder) {
		for _, p := range list {
			if err := ids.add(p.id()); err != nil {
				b.SetError(err)
				return
			}
			p.write(b)
		}
	})
}

func readControl(r *reader) (c Control) {
	r.sub(tags.SEQUENCE, "control", func(r *reader) {
		c.ID = r.bodyPart("id of a control")
		c.Type = r.oid("type of a control")
		r.sequence(tags.SET, bounds{"values", 0, MaxValues}, func(r *reader) { c.Values = append(c.Values, r.element("value")) })
	})
	return c
}

func (c Control) write(b builder) {
	b.sequence(func(b builder) {
		b.bodyPart(c.ID)
		b.AddASN1ObjectIdentifier(c.Type)
		b.in(tags.SET, func(b builder) {
			for _, v := range c.Values {
				b.element(v, "value of a control")
			}
		})
	})
}

func readRequest(r *reader) (q Request) {
	switch {
	case r.next(constructed(0)):
		r.sub(constructed(0), "certification request", func(r *reader) {
			q.ID = r.bodyPart("id of a request")
			q.PKCS10 = r.tagged(tags.SEQUENCE, "certification request")
		})
	case r.next(constructed(1)):
		q.CRMF = new(CertReqMsg)
		r.sub(constructed(1), "CRMF request", q.CRMF.read)
		q.ID = q.CRMF.Request.ID
	default:
		q.Other = new(OtherRequest)
		r.sub(constructed(2), "request", func(r *reader) {
			q.ID = r.bodyPart("id of a request")
			q.Other.Type = r.oid("type of a request")
			q.Other.Value = r.element("request")
		})
	}
	return q
}

func (q Request) write(b builder) {
	if count(q.PKCS10 != nil, q.CRMF != nil, q.Other != nil) != 1 {
		b.refuse("request %d: %w", q.ID, errNothing)
		return
	}
	switch {
	case q.PKCS10 != nil:
		b.in(constructed(0), func(b builder) {
			b.bodyPart(q.ID)
			b.tagged(q.PKCS10, tags.SEQUENCE, "certification request")
		})
	case q.CRMF != nil:
		if q.ID != q.CRMF.Request.ID {
			b.refuse("request %d: its certReqId is %d", q.ID, q.CRMF.Request.ID)
			return
		}
		q.CRMF.write(b, constructed(1))
	default:
		b.in(constructed(2), func(b builder) {
			b.bodyPart(q.ID)
			b.AddASN1ObjectIdentifier(q.Other.Type)
			b.element(q.Other.Value, "request")
		})
	}
}

// Marshal writes the DER of the TaggedRequest.
func (q Request) Marshal() ([]byte, error) { return build(q.write) }

// ParseRequest reads a TaggedRequest (RFC 5272 §3.2.1.2).
func ParseRequest(der []byte) (Request, error) {
	var err error
	r := &reader{in: der, fault: &err}
	q := readRequest(r)
	r.end("request")
	return q, at(q.ID, err)
}

func readContentInfo(r *reader) (c TaggedContentInfo) {
	r.sub(tags.SEQUENCE, "nested message", func(r *reader) {
		c.ID = r.bodyPart("id of a nested message")
		c.ContentInfo = r.tagged(tags.SEQUENCE, "nested message")
	})
	return c
}

func (c TaggedContentInfo) write(b builder) {
	b.sequence(func(b builder) {
		b.bodyPart(c.ID)
		b.tagged(c.ContentInfo, tags.SEQUENCE, "nested message")
	})
}

func readOther(r *reader) (m OtherMsg) {
	r.sub(tags.SEQUENCE, "other message", func(r *reader) {
		m.ID = r.bodyPart("id of another message")
		m.Type = r.oid("type of another message")
		m.Value = r.element("other message")
	})
	return m
}

func (m OtherMsg) write(b builder) {
	b.sequence(func(b builder) {
		b.bodyPart(m.ID)
		b.AddASN1ObjectIdentifier(m.Type)
		b.element(m.Value, "other message")
	})
}

// Next is the lowest id above those that are taken.
func (p *PKIData) Next() BodyPartID {
	return max(highest(p.Controls), highest(p.Requests), highest(p.CMS), highest(p.Other)) + 1
}

// Next is the lowest id above those that are taken.
func (p *PKIResponse) Next() BodyPartID {
	return max(highest(p.Controls), highest(p.CMS), highest(p.Other)) + 1
}

func highest[P part](list []P) (id BodyPartID) {
	for _, p := range list {
		id = max(id, p.id())
	}
	return id
}

// Add appends controls with these values and gives them the next ids.
func (p *PKIData) Add(values ...Value) error {
	for _, v := range values {
		c, err := NewControl(p.Next(), v)
		if err != nil {
			return err
		}
		p.Controls = append(p.Controls, c)
	}
	return nil
}

// Add appends controls with these values and gives them the next ids.
func (p *PKIResponse) Add(values ...Value) error {
	for _, v := range values {
		c, err := NewControl(p.Next(), v)
		if err != nil {
			return err
		}
		p.Controls = append(p.Controls, c)
	}
	return nil
}

// AddRequest appends a request under the next id, which is given back. The id of a CRMF
// request stands within it, under its proof of possession: it must be set already.
func (p *PKIData) AddRequest(q Request) (BodyPartID, error) {
	switch {
	case q.CRMF != nil:
		q.ID = q.CRMF.Request.ID
	default:
		q.ID = p.Next()
	}
	if q.ID == Current {
		return 0, errors.New("cmc: a CRMF request with the id 0: set its certReqId, and sign it then")
	}
	if _, err := q.Marshal(); err != nil {
		return 0, fmt.Errorf("the request cannot be written: %w", err)
	}
	p.Requests = append(p.Requests, q)
	return q.ID, nil
}

// AddCMS appends a nested message, a ContentInfo's DER, under the next id.
func (p *PKIData) AddCMS(contentInfo []byte) BodyPartID {
	id := p.Next()
	p.CMS = append(p.CMS, TaggedContentInfo{id, contentInfo})
	return id
}

// AddCMS appends a nested message, a ContentInfo's DER, under the next id.
func (p *PKIResponse) AddCMS(contentInfo []byte) BodyPartID {
	id := p.Next()
	p.CMS = append(p.CMS, TaggedContentInfo{id, contentInfo})
	return id
}
