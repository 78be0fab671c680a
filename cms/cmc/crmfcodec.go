package cmc

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// ParseCertReqMsg reads a certificate request message (RFC 4211 §3). Possession is not
// checked: [CertReqMsg.VerifyPOP] does.
func ParseCertReqMsg(der []byte) (*CertReqMsg, error) {
	m := new(CertReqMsg)
	if err := read(der, tags.SEQUENCE, m.read); err != nil {
		return nil, at(m.Request.ID, err)
	}
	return m, nil
}

// Marshal writes the message's DER.
func (m *CertReqMsg) Marshal() ([]byte, error) {
	return build(func(b builder) { m.write(b, tags.SEQUENCE) })
}

// Marshal writes the DER of the request by itself, which a proof of possession covers.
func (q CertRequest) Marshal() ([]byte, error) { return build(q.write) }

// Marshal writes the template's DER.
func (t CertTemplate) Marshal() ([]byte, error) { return build(t.write) }

// Control gives the value of the request's control of this type; nil: it has none, or
// more than one.
func (q CertRequest) Control(oid asn1.ObjectIdentifier) []byte {
	var found [][]byte
	for _, c := range q.Controls {
		if c.Type.Equal(oid) {
			found = append(found, c.Value)
		}
	}
	if len(found) != 1 {
		return nil
	}
	return found[0]
}

func (m *CertReqMsg) read(r *reader) {
	r.sub(tags.SEQUENCE, "certReq", m.Request.read)
	if r.more() && !r.next(tags.SEQUENCE) {
		m.POP = new(POP)
		m.POP.read(r)
	}
	if r.more() {
		m.RegInfo = readPairs(r, "regInfo")
	}
}

func (m *CertReqMsg) write(b builder, tag tags.Tag) {
	b.in(tag, func(b builder) {
		m.Request.write(b)
		if m.POP != nil {
			m.POP.write(b)
		}
		if m.RegInfo != nil {
			writePairs(b, m.RegInfo, "regInfo")
		}
	})
}

func (q *CertRequest) read(r *reader) {
	q.ID = r.bodyPart("certReqId")
	q.Template.read(r)
	if r.more() {
		q.Controls = readPairs(r, "controls")
	}
}

func (q CertRequest) write(b builder) {
	b.sequence(func(b builder) {
		b.bodyPart(q.ID)
		q.Template.write(b)
		if q.Controls != nil {
			writePairs(b, q.Controls, "controls")
		}
	})
}

func readPairs(r *reader, what string) (list []AttributeTypeAndValue) {
	r.sequence(tags.SEQUENCE, some(what), func(r *reader) {
		r.sub(tags.SEQUENCE, what, func(r *reader) {
			list = append(list, AttributeTypeAndValue{r.oid(what), r.element(what)})
		})
	})
	return list
}

func writePairs(b builder, list []AttributeTypeAndValue, what string) {
	if len(list) == 0 || len(list) > MaxValues {
		b.refuse("%s: %d of them, not 1 to %d", what, len(list), MaxValues)
		return
	}
	b.sequence(func(b builder) {
		for _, a := range list {
			b.sequence(func(b builder) {
				b.AddASN1ObjectIdentifier(a.Type)
				b.element(a.Value, what)
			})
		}
	})
}

// read reads the template. The tags are implicit but for the names and times, which are
// choices.
func (t *CertTemplate) read(r *reader) {
	r.sub(tags.SEQUENCE, "template", func(r *reader) {
		if r.next(primitive(0)) {
			version := r.small(primitive(0), "version")
			t.Version = &version
		}
		if r.next(primitive(1)) {
			t.SerialNumber = r.integer(primitive(1), "serial number")
		}
		if r.next(constructed(2)) {
			a := r.algorithm(constructed(2), "signature algorithm")
			t.SigningAlg = &a
		}
		if r.next(constructed(3)) {
			r.sub(constructed(3), "issuer", func(r *reader) { t.Issuer = r.name("issuer") })
		}
		if r.next(constructed(4)) {
			t.Validity = readValidity(r)
		}
		if r.next(constructed(5)) {
			r.sub(constructed(5), "subject", func(r *reader) { t.Subject = r.name("subject") })
		}
		if r.next(constructed(6)) {
			t.PublicKey = r.implicit(constructed(6), tags.SEQUENCE, "public key")
		}
		readUID(r, 7, &t.IssuerUID)
		readUID(r, 8, &t.SubjectUID)
		if r.next(constructed(9)) {
			t.Extensions = readExtensions(r, constructed(9))
		}
	})
}

func readUID(r *reader, n uint8, to **asn1.BitString) {
	if r.next(primitive(n)) {
		bits := r.bits(primitive(n), "unique identifier")
		*to = &bits
	}
}

func (t CertTemplate) write(b builder) {
	b.sequence(func(b builder) {
		if t.Version != nil {
			b.implicitInteger(big.NewInt(int64(*t.Version)), primitive(0), "version")
		}
		if t.SerialNumber != nil {
			b.implicitInteger(t.SerialNumber, primitive(1), "serial number")
		}
		if t.SigningAlg != nil {
			b.algorithm(*t.SigningAlg, constructed(2))
		}
		if t.Issuer != nil {
			b.in(constructed(3), func(b builder) { b.name(t.Issuer, "issuer") })
		}
		if t.Validity != nil {
			t.Validity.write(b)
		}
		if t.Subject != nil {
			b.in(constructed(5), func(b builder) { b.name(t.Subject, "subject") })
		}
		if t.PublicKey != nil {
			b.tagged(t.PublicKey, constructed(6), "public key")
		}
		if t.IssuerUID != nil {
			b.bits(*t.IssuerUID, primitive(7), "issuer's unique identifier")
		}
		if t.SubjectUID != nil {
			b.bits(*t.SubjectUID, primitive(8), "subject's unique identifier")
		}
		if t.Extensions != nil {
			writeExtensions(b, t.Extensions, constructed(9))
		}
	})
}

func readValidity(r *reader) *Validity {
	v := new(Validity)
	r.sub(constructed(4), "validity", func(r *reader) {
		if r.next(constructed(0)) {
			r.sub(constructed(0), "notBefore", func(r *reader) { v.NotBefore = r.certificateTime("notBefore") })
		}
		if r.next(constructed(1)) {
			r.sub(constructed(1), "notAfter", func(r *reader) { v.NotAfter = r.certificateTime("notAfter") })
		}
	})
	if v.NotBefore.IsZero() && v.NotAfter.IsZero() {
		r.fail("validity: neither notBefore nor notAfter")
	}
	return v
}

func (v Validity) write(b builder) {
	if v.NotBefore.IsZero() && v.NotAfter.IsZero() {
		b.refuse("validity: neither notBefore nor notAfter")
		return
	}
	b.in(constructed(4), func(b builder) {
		if !v.NotBefore.IsZero() {
			b.in(constructed(0), func(b builder) { b.time(v.NotBefore, "notBefore") })
		}
		if !v.NotAfter.IsZero() {
			b.in(constructed(1), func(b builder) { b.time(v.NotAfter, "notAfter") })
		}
	})
}

func readExtensions(r *reader, tag tags.Tag) []pkix.Extension {
	list := []pkix.Extension{}
	r.sequence(tag, bounds{"extensions", 0, MaxValues}, func(r *reader) {
		var e pkix.Extension
		r.sub(tags.SEQUENCE, "extension", func(r *reader) {
			e.Id = r.oid("extension")
			if r.next(tags.BOOLEAN) && (!r.in.ReadASN1Boolean(&e.Critical) || !e.Critical) {
				r.fail("extension %s: critical is not TRUE as DER has it", e.Id)
			}
			e.Value = r.octets("extension")
		})
		list = append(list, e)
	})
	return list
}

func writeExtensions(b builder, list []pkix.Extension, tag tags.Tag) {
	if len(list) > MaxValues {
		b.refuse("extensions: more than %d", MaxValues)
		return
	}
	b.in(tag, func(b builder) {
		for _, e := range list {
			b.sequence(func(b builder) {
				b.AddASN1ObjectIdentifier(e.Id)
				if e.Critical {
					b.AddASN1Boolean(true)
				}
				b.AddASN1OctetString(e.Value)
			})
		}
	})
}

func (p *POP) read(r *reader) {
	switch {
	case r.next(primitive(0)):
		p.RAVerified = true
		if body := r.tagged(primitive(0), "raVerified"); len(body) != 2 {
			r.fail("raVerified: not NULL")
		}
	case r.next(constructed(1)):
		p.Signature = new(POPSignature)
		r.sub(constructed(1), "signature", p.Signature.read)
	case r.next(constructed(2)):
		p.KeyEncipherment = new(POPPrivKey)
		r.sub(constructed(2), "keyEncipherment", p.KeyEncipherment.read)
	default:
		p.KeyAgreement = new(POPPrivKey)
		r.sub(constructed(3), "proof of possession", p.KeyAgreement.read)
	}
}

func (p *POP) write(b builder) {
	if count(p.RAVerified, p.Signature != nil, p.KeyEncipherment != nil, p.KeyAgreement != nil) != 1 {
		b.refuse("proof of possession: %w", errNothing)
		return
	}
	switch {
	case p.RAVerified:
		b.in(primitive(0), func(builder) {})
	case p.Signature != nil:
		b.in(constructed(1), p.Signature.write)
	case p.KeyEncipherment != nil:
		b.in(constructed(2), p.KeyEncipherment.write)
	default:
		b.in(constructed(3), p.KeyAgreement.write)
	}
}

// Find gives the extension of this type among those of the template.
func (t CertTemplate) Find(oid asn1.ObjectIdentifier) (pkix.Extension, bool) {
	i := slices.IndexFunc(t.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oid) })
	if i < 0 {
		return pkix.Extension{}, false
	}
	return t.Extensions[i], true
}
