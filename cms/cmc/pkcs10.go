package cmc

import (
	"bytes"
	"crypto"
	"crypto/x509/pkix"

	tags "golang.org/x/crypto/cryptobyte/asn1"

	"chancery/cms"
)

// pkcs10 is what CMC has to see of a CertificationRequest (RFC 2986 §4).
type pkcs10 struct {
	info       []byte // CertificationRequestInfo
	subject    []byte
	publicKey  []byte
	attributes []cms.Attribute
	algorithm  cms.Algorithm
	signature  []byte
}

func parsePKCS10(der []byte) (p pkcs10, err error) {
	err = read(der, tags.SEQUENCE, func(r *reader) {
		p.info = r.tagged(tags.SEQUENCE, "certificationRequestInfo")
		p.algorithm = r.algorithm(tags.SEQUENCE, "signature algorithm")
		p.signature = r.wholeBits("signature")
		info := &reader{in: p.info, fault: r.fault}
		info.sub(tags.SEQUENCE, "certificationRequestInfo", func(r *reader) {
			if r.small(tags.INTEGER, "version") != 0 {
				r.fail("version: not 0")
			}
			p.subject = r.name("subject")
			p.publicKey = r.tagged(tags.SEQUENCE, "public key")
			if !r.more() { // RFC 2986 wants it, some leave it out
				return
			}
			r.sequence(constructed(0), bounds{"attributes", 0, MaxValues}, func(r *reader) {
				p.attributes = append(p.attributes, readAttribute(r))
			})
		})
	})
	return p, err
}

func readAttribute(r *reader) (a cms.Attribute) {
	r.sub(tags.SEQUENCE, "attribute", func(r *reader) {
		a.Type = r.oid("attribute")
		r.sequence(tags.SET, bounds{"attribute", 0, MaxValues}, func(r *reader) { a.Values = append(a.Values, r.element("attribute")) })
	})
	return a
}

// Attributes are those of a PKCS #10 request, or the controls of a CRMF one, which
// stand in their place. An orm has none.
func (q Request) Attributes() ([]cms.Attribute, error) {
	switch {
	case q.PKCS10 != nil:
		p, err := parsePKCS10(q.PKCS10)
		return p.attributes, at(q.ID, err)
	case q.CRMF != nil:
		var list []cms.Attribute
		for _, c := range q.CRMF.Request.Controls {
			list = append(list, cms.Attribute{Type: c.Type, Values: [][]byte{c.Value}})
		}
		return list, nil
	}
	return nil, nil
}

// Subject is the name asked for, DER; nil: there is none.
func (q Request) Subject() ([]byte, error) {
	if q.PKCS10 != nil {
		p, err := parsePKCS10(q.PKCS10)
		return p.subject, at(q.ID, err)
	}
	if q.CRMF != nil {
		return q.CRMF.Request.Template.Subject, nil
	}
	return nil, nil
}

// PublicKey is the SubjectPublicKeyInfo that the request is about, DER; nil: none.
func (q Request) PublicKey() ([]byte, error) {
	if q.PKCS10 != nil {
		p, err := parsePKCS10(q.PKCS10)
		return p.publicKey, at(q.ID, err)
	}
	if q.CRMF != nil {
		return q.CRMF.Request.Template.PublicKey, nil
	}
	return nil, nil
}

// Extensions are those asked for: of a PKCS #10 request, in its extensionRequest
// (RFC 2985 §5.4.2).
func (q Request) Extensions() ([]pkix.Extension, error) {
	if q.CRMF != nil {
		return q.CRMF.Request.Template.Extensions, nil
	}
	attributes, err := q.Attributes()
	if err != nil {
		return nil, err
	}
	for _, a := range attributes {
		if !a.Type.Equal(OIDExtensionRequest) || len(a.Values) != 1 {
			continue
		}
		var fault error
		r := &reader{in: a.Values[0], fault: &fault}
		list := readExtensions(r, tags.SEQUENCE)
		r.end("extensions")
		return list, at(q.ID, fault)
	}
	return nil, nil
}

// Unsigned is the PKCS #10 request of a key that cannot sign: in the signature's place
// stands a hash of the CertificationRequestInfo (DER), which proves nothing
// (RFC 5272 App. C.1). Possession is then proved by an encryptedPOP.
func Unsigned(info []byte, h crypto.Hash) ([]byte, error) {
	f, err := functionOf(h)
	if err != nil {
		return nil, err
	}
	value, err := build(func(b builder) { b.AddASN1OctetString(f.sum(info)) })
	if err != nil {
		return nil, err
	}
	return build(func(b builder) {
		b.sequence(func(b builder) {
			b.tagged(info, tags.SEQUENCE, "certificationRequestInfo")
			b.algorithm(cms.Algorithm{OID: cms.OIDNoSignature, Parameters: null}, tags.SEQUENCE)
			b.AddASN1BitString(value)
		})
	})
}

// NoSignature reports whether the request has no signature but a hash, as of a key that
// cannot sign (RFC 5272 App. C.1). It is an error if it says so and the hash is wrong.
// The module says that it is SHA-1; which one it is shows by its length alone.
func (q Request) NoSignature(o Options) (bool, error) {
	var algorithm cms.Algorithm
	var signed, value []byte
	switch {
	case q.PKCS10 != nil:
		p, err := parsePKCS10(q.PKCS10)
		if err != nil {
			return false, at(q.ID, err)
		}
		algorithm, signed, value = p.algorithm, p.info, p.signature
	case q.CRMF != nil && q.CRMF.POP != nil && q.CRMF.POP.Signature != nil:
		request, err := q.CRMF.Request.Marshal()
		if err != nil {
			return false, err
		}
		algorithm, signed, value = q.CRMF.POP.Signature.Algorithm, request, q.CRMF.POP.Signature.Signature
	}
	if !algorithm.OID.Equal(cms.OIDNoSignature) {
		return false, nil
	}
	if !bytes.Equal(algorithm.Parameters, null) {
		return true, refuse(BadRequest, q.ID, "no-signature without its NULL parameters")
	}
	return true, at(q.ID, o.checkNoSignature(signed, value))
}

// checkNoSignature takes the hash bare, too, as some read "contains the hash".
func (o Options) checkNoSignature(signed, value []byte) error {
	var fault error
	r := &reader{in: value, fault: &fault}
	if sum := r.octets("hash"); fault == nil && r.in.Empty() {
		value = sum
	}
	for _, f := range functions {
		if f.hash.Size() != len(value) {
			continue
		}
		if f.hash == crypto.SHA1 && !o.SHA1 {
			return refuse(BadAlg, Current, "SHA-1 is turned off: use SHA-256")
		}
		if bytes.Equal(value, f.sum(signed)) {
			return nil
		}
	}
	return refuse(BadMessageCheck, Current, "the hash in the signature's place is not the request's")
}
