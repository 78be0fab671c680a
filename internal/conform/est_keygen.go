package conform

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"strings"

	"chancery/est"
)

var keygenSteps = []step{
	{Check{"keygen.unauthenticated", Must, "RFC 7030 §3.7, §4.4", "refuses whoever shows neither certificate nor password; 404 or 501 where it is off"}, (*session).keygenBare},
	{Check{"keygen.status", Must, "RFC 7030 §4.4.2", "answers 200 or 202, or 404 or 501 where it is off"}, (*session).keygenStatus},
	{Check{"keygen.media-type", Must, "RFC 7030 §4.4.2", "has the content type multipart/mixed"}, (*session).keygenType},
	{Check{"keygen.parts", Must, "RFC 7030 §4.4.2", "has two parts, a key and a certificate"}, (*session).keygenParts},
	{Check{"keygen.order", Field, "RFC 7030 §4.4.2; libest", "has the key first"}, (*session).keygenOrder},
	{Check{"keygen.pkcs8", Must, "RFC 7030 §4.4.2, RFC 5958 §2", "has a PKCS#8 PrivateKeyInfo under application/pkcs8"}, (*session).keygenPKCS8},
	{Check{"keygen.certificate-type", Must, "RFC 7030 §4.4.2", "has the certificate under application/pkcs7-mime; smime-type=certs-only"}, (*session).keygenCertType},
	{Check{"keygen.fits", Must, "RFC 7030 §4.4.2", "has a certificate for the key that it made, and not for the one that was sent"}, (*session).keygenFits},
	{Check{"keygen.boundary", Field, "Bouncy Castle", "ends with the closing boundary, and has no Content-Transfer-Encoding around the parts"}, (*session).keygenBoundary},
	{Check{"keygen.signature", Must, "RFC 7030 §4.4.1", "takes no notice of the request's signature"}, (*session).keygenSignature},
	{Check{"keygen.unknown-key", Must, "RFC 7030 §4.4.1.1", "refuses to encrypt to a key that it does not know, and does not send the key plain instead"}, (*session).keygenUnknown},
}

// made has a key made once.
func (s *session) made(ctx context.Context) (*reply, verdict, bool) {
	if v, ok := s.able(); !ok {
		return nil, v, false
	}
	if s.keygenReply == nil && s.keygenErr == nil {
		s.keygenReply, s.keygenErr = s.keygen(ctx, order{})
	}
	if s.keygenErr != nil {
		return nil, noAnswer(s.keygenErr), false
	}
	return s.keygenReply, verdict{}, true
}

// keygen sends a request that is signed by a key of no other use.
func (s *session) keygen(ctx context.Context, o order) (*reply, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	o.op, o.key = est.ServerKeyGen, key
	i, err := s.enrol(ctx, o)
	if err != nil {
		return nil, err
	}
	parts, _ := est.ParseMultipart(i.reply.get("Content-Type"), i.reply.body) // a refusal has none
	for _, p := range parts {
		if b, err := readBag(p.Body); err == nil {
			s.note(b.certs)
		}
	}
	return i.reply, nil
}

// inMade is a check of the answer with a key.
func (s *session) inMade(ctx context.Context, do func(*reply, []est.Part) verdict) verdict {
	r, v, ok := s.made(ctx)
	switch {
	case !ok:
		return v
	case r.missing():
		return absent("serverkeygen is off: %s", r)
	case r.status != 200:
		return unrun("no key came: %s", r)
	}
	parts, _ := est.ParseMultipart(r.get("Content-Type"), r.body) // without parts every check of them fails
	return do(r, parts)
}

func (s *session) keygenBare(ctx context.Context) verdict {
	der, err := s.dummy()
	if err != nil {
		return unrun("%s", err)
	}
	r, err := s.post(ctx, est.ServerKeyGen, est.Encode(der, est.Wrapped))
	if err != nil {
		return noAnswer(err)
	}
	return judge(r.client() || r.status == 501, "the answer is %s", r)
}

func (s *session) keygenStatus(ctx context.Context) verdict {
	r, v, ok := s.made(ctx)
	if !ok {
		return v
	}
	// A server may demand that the key goes encrypted; the suite has nothing to name.
	if r.client() && !r.missing() {
		return unrun("it was refused: %s", r)
	}
	return judge(r.status == 200 || r.status == 202 || r.missing(), "the answer is %s", r)
}

func (s *session) keygenType(ctx context.Context) verdict {
	return s.inMade(ctx, func(r *reply, _ []est.Part) verdict {
		m, err := est.ParseMedia(r.get("Content-Type"))
		return judge(err == nil && m.Type == est.Mixed && m.Boundary != "", "Content-Type: %s", brief(r.get("Content-Type")))
	})
}

// part gives the first part of a type.
func part(parts []est.Part, kind string) *est.Part {
	for i := range parts {
		if parts[i].Media.Type == kind {
			return &parts[i]
		}
	}
	return nil
}

func partTypes(parts []est.Part) string {
	return list(parts, func(p est.Part) string { return p.Media.String() })
}

func (s *session) keygenParts(ctx context.Context) verdict {
	return s.inMade(ctx, func(r *reply, parts []est.Part) verdict {
		if _, err := est.ParseMultipart(r.get("Content-Type"), r.body); err != nil {
			return failed("%s", brief(err.Error()))
		}
		return judge(len(parts) == 2, "%s: %s", plural(len(parts), "part"), brief(partTypes(parts)))
	})
}

func (s *session) keygenOrder(ctx context.Context) verdict {
	return s.inMade(ctx, func(_ *reply, parts []est.Part) verdict {
		return judge(len(parts) > 0 && (parts[0].Media.Type == est.PKCS8 || parts[0].Media.SMIMEType == est.ServerGeneratedKey), "in this order: %s", brief(partTypes(parts)))
	})
}

func (s *session) keygenPKCS8(ctx context.Context) verdict {
	return s.inMade(ctx, func(_ *reply, parts []est.Part) verdict {
		p := part(parts, est.PKCS8)
		if p == nil {
			return failed("there is no application/pkcs8 among %s", brief(partTypes(parts)))
		}
		if _, err := x509.ParsePKCS8PrivateKey(p.Body); err != nil {
			return failed("it is no PrivateKeyInfo that can be read") // the error may quote it
		}
		return passed("it is")
	})
}

func (s *session) keygenCertType(ctx context.Context) verdict {
	return s.inMade(ctx, func(_ *reply, parts []est.Part) verdict {
		for _, p := range parts {
			if p.Media.Type == est.PKCS7Mime && p.Media.SMIMEType == est.CertsOnly {
				b, err := readBag(p.Body)
				if err != nil {
					return failed("%s", brief(err.Error()))
				}
				return judge(len(b.certs) == 1, "%s%s", plural(len(b.certs), "certificate"), oddities(b))
			}
		}
		return failed("the parts are %s", brief(partTypes(parts)))
	})
}

func (s *session) keygenFits(ctx context.Context) verdict {
	return s.inMade(ctx, func(_ *reply, parts []est.Part) verdict {
		k, c := part(parts, est.PKCS8), part(parts, est.PKCS7Mime)
		if k == nil || c == nil {
			return unrun("a part is missing")
		}
		key, err := est.ParseServerKey(k.Body)
		if err != nil {
			return unrun("the key cannot be read")
		}
		b, err := readBag(c.Body)
		if err != nil {
			return unrun("the certificate cannot be read")
		}
		public, _ := key.Public().(interface{ Equal(crypto.PublicKey) bool })
		for _, cert := range b.certs {
			if public != nil && public.Equal(cert.PublicKey) {
				return passed("the key is that of %s", subject(cert))
			}
		}
		return failed("the key is that of none of %s", plural(len(b.certs), "certificate"))
	})
}

func (s *session) keygenBoundary(ctx context.Context) verdict {
	return s.inMade(ctx, func(r *reply, _ []est.Part) verdict {
		m, _ := est.ParseMedia(r.get("Content-Type")) // without one the boundary is empty
		closed := m.Boundary != "" && strings.HasSuffix(strings.TrimRight(string(r.body), "\r\n"), "--"+m.Boundary+"--")
		cte := r.get("Content-Transfer-Encoding")
		return judge(closed && cte == "", "closed: %t; Content-Transfer-Encoding: %q", closed, brief(cte))
	})
}

func (s *session) keygenSignature(ctx context.Context) verdict {
	return s.inMade(ctx, func(*reply, []est.Part) verdict {
		r, err := s.keygen(ctx, order{alter: func(der []byte) []byte {
			der[len(der)-3] ^= 1
			return der
		}})
		if err != nil {
			return noAnswer(err)
		}
		return judge(r.status == 200 || r.status == 202, "with a signature that does not fit the answer is %s", r)
	})
}

func (s *session) keygenUnknown(ctx context.Context) verdict {
	return s.inMade(ctx, func(*reply, []est.Part) verdict {
		r, err := s.keygen(ctx, order{edit: func(r *est.Request, _ *wire) error {
			// SMIMECapabilities with AES-256 key wrap (RFC 3565 §2.3.2).
			capabilities := []byte{0x30, 0x0d, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2d}
			r.Attributes = append(r.Attributes, est.DecryptKeyIdentifier([]byte("conform-no-such-key")), est.SMIMECapabilities(capabilities))
			return nil
		}})
		if err != nil {
			return noAnswer(err)
		}
		return judge(r.refused(), "the answer is %s", r)
	})
}
