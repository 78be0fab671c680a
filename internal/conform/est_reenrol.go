package conform

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"

	"chancery/est"
)

var reenrolSteps = []step{
	{Check{"reenroll.unauthenticated", Must, "RFC 7030 §3.7, §4.2.2", "refuses whoever shows neither certificate nor password"}, (*session).reenrolBare},
	{Check{"reenroll.strange-certificate", Must, "RFC 7030 §3.3.2, §3.7", "refuses a certificate that only has the right names"}, (*session).reenrolStranger},
	{Check{"reenroll.status", Must, "RFC 7030 §4.2.2, §4.2.3", "answers 200 or 202 where subject and alternative names are those of the certificate shown"}, (*session).reenrolStatus},
	{Check{"reenroll.media-type", Must, "RFC 7030 §4.2.3", "has the content type application/pkcs7-mime with smime-type=certs-only"}, (*session).reenrolType},
	{Check{"reenroll.single", Must, "RFC 7030 §4.2.3", "has the issued certificate alone"}, (*session).reenrolSingle},
	{Check{"reenroll.same-names", Must, "RFC 7030 §4.2.2", "gives a certificate with the same subject and alternative names"}, (*session).reenrolSame},
	{Check{"reenroll.anew", Must, "RFC 7030 §4.2.2", "gives another certificate than the one that is renewed"}, (*session).reenrolAnew},
	{Check{"reenroll.rekey", Should, "RFC 7030 §4.2.2", "takes a new key"}, (*session).reenrolRekey},
	{Check{"reenroll.subject", Must, "RFC 7030 §4.2.2", "refuses another subject"}, (*session).reenrolSubject},
	{Check{"reenroll.names", Must, "RFC 7030 §4.2.2", "refuses other alternative names"}, (*session).reenrolNames},
	{Check{"reenroll.proof", Must, "RFC 7030 §3.4", "refuses a request whose signature does not fit"}, (*session).reenrolProof},
}

// held gives the certificate that is renewed, with its key.
func (s *session) held(ctx context.Context) (*tls.Certificate, *x509.Certificate, verdict, bool) {
	if s.Shown != nil {
		leaf, err := x509.ParseCertificate(s.Shown.Certificate[0])
		if err != nil {
			return nil, nil, unrun("%s", brief(err.Error())), false
		}
		return s.Shown, leaf, verdict{}, true
	}
	var shown *tls.Certificate
	var leaf *x509.Certificate
	v := s.inCertificate(ctx, func(i *issued) verdict {
		leaf = i.cert
		if len(leaf.ExtKeyUsage) > 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
			return unrun("the certificate that was enrolled may not be shown in TLS; give one with its key")
		}
		shown = &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: i.key}
		if b, _, err := s.cacerts(ctx); err == nil {
			for _, c := range b.certs {
				if !selfSigned(c) {
					shown.Certificate = append(shown.Certificate, c.Raw)
				}
			}
		}
		return verdict{}
	})
	return shown, leaf, v, shown != nil
}

// renew sends a re-enrolment of the certificate that is held, as edit changes it.
func (s *session) renew(ctx context.Context, o order) (*issued, *x509.Certificate, verdict, bool) {
	shown, leaf, v, ok := s.held(ctx)
	if !ok {
		return nil, nil, v, false
	}
	key, signs := shown.PrivateKey.(crypto.Signer)
	if !signs {
		return nil, nil, unrun("the key of the certificate cannot sign"), false
	}
	o.op, o.renews = est.SimpleReenroll, leaf
	if o.key == nil {
		o.key = key
	}
	if o.line.shown == nil && !o.nobody {
		o.line.shown = shown
	}
	i, err := s.enrol(ctx, o)
	if err != nil {
		return nil, leaf, noAnswer(err), false
	}
	return i, leaf, verdict{}, true
}

// ordinarily renews once for everything that looks at an ordinary renewal.
func (s *session) ordinarily(ctx context.Context) (*issued, verdict, bool) {
	if s.againDone == nil && s.againBroken == nil {
		i, _, v, ok := s.renew(ctx, order{})
		if s.againDone = i; !ok {
			s.againBroken = &v
		}
	}
	if s.againBroken != nil {
		return nil, *s.againBroken, false
	}
	return s.againDone, verdict{}, true
}

// again is a check that needs an ordinary renewal.
func (s *session) again(ctx context.Context, do func(*issued, *x509.Certificate) verdict) verdict {
	_, leaf, v, ok := s.held(ctx)
	if !ok {
		return v
	}
	i, v, ok := s.ordinarily(ctx)
	switch {
	case !ok:
		return unrun("an ordinary renewal does not come about: %s", v.seen)
	case i.reply.missing():
		return absent("simplereenroll is not offered: %s", i.reply)
	}
	return do(i, leaf)
}

func (s *session) reenrolStatus(ctx context.Context) verdict {
	i, v, ok := s.ordinarily(ctx)
	if !ok {
		return v
	}
	// The operation is mandatory (RFC 7030 §4.2).
	return judge(i.reply.status == 200 || i.reply.status == 202, "the answer is %s", i.reply)
}

func (s *session) inRenewed(ctx context.Context, do func(now, old *x509.Certificate) verdict) verdict {
	return s.again(ctx, func(i *issued, old *x509.Certificate) verdict {
		if i.cert == nil {
			return unrun("no certificate for the key could be read: %s", i.reply)
		}
		return do(i.cert, old)
	})
}

func (s *session) reenrolType(ctx context.Context) verdict {
	return s.again(ctx, func(i *issued, _ *x509.Certificate) verdict {
		if i.reply.status != 200 {
			return unrun("no certificate came: %s", i.reply)
		}
		return certsOnlyType(i.reply)
	})
}

func (s *session) reenrolSingle(ctx context.Context) verdict {
	return s.again(ctx, func(i *issued, _ *x509.Certificate) verdict {
		if i.bag == nil {
			return unrun("no certificate could be read: %s", i.reply)
		}
		return judge(len(i.bag.certs) == 1, "%s: %s", plural(len(i.bag.certs), "certificate"), list(i.bag.certs, subject))
	})
}

func (s *session) reenrolSame(ctx context.Context) verdict {
	return s.inRenewed(ctx, func(now, old *x509.Certificate) verdict {
		return judge(sameNames(now, old), "before %s %s, now %s %s", subject(old), strings.Join(old.DNSNames, ", "), subject(now), strings.Join(now.DNSNames, ", "))
	})
}

func (s *session) reenrolAnew(ctx context.Context) verdict {
	return s.inRenewed(ctx, func(now, old *x509.Certificate) verdict {
		return judge(now.SerialNumber.Cmp(old.SerialNumber) != 0, "before %x, now %x", old.SerialNumber, now.SerialNumber)
	})
}

func (s *session) reenrolRekey(ctx context.Context) verdict {
	key, err := generate(s.wanted(ctx).Key)
	if err != nil {
		return unrun("%s", err)
	}
	return s.again(ctx, func(first *issued, _ *x509.Certificate) verdict {
		if !first.accepted() {
			return unrun("an ordinary renewal is refused, too: %s", first.reply)
		}
		i, _, v, ok := s.renew(ctx, order{key: key})
		if !ok {
			return v
		}
		return judge(i.accepted(), "the answer is %s", i.reply)
	})
}

// unchangeable is a check that a renewal with other names is refused.
func (s *session) unchangeable(ctx context.Context, o order) verdict {
	return s.again(ctx, func(first *issued, _ *x509.Certificate) verdict {
		if !first.accepted() {
			return unrun("an ordinary renewal is refused, too: %s", first.reply)
		}
		i, _, v, ok := s.renew(ctx, o)
		if !ok {
			return v
		}
		return judge(i.reply.client(), "the answer is %s", i.reply)
	})
}

func (s *session) reenrolSubject(ctx context.Context) verdict {
	return s.unchangeable(ctx, order{edit: func(r *est.Request, _ *wire) error {
		r.Subject, r.SubjectName = nil, noName
		return nil
	}})
}

func (s *session) reenrolNames(ctx context.Context) verdict {
	return s.unchangeable(ctx, order{edit: func(r *est.Request, _ *wire) error {
		r.RawSAN, r.DNSNames = nil, []string{"conform.invalid"}
		return nil
	}})
}

func (s *session) reenrolProof(ctx context.Context) verdict {
	return s.unchangeable(ctx, order{alter: func(der []byte) []byte {
		der[len(der)-3] ^= 1
		return der
	}})
}

func (s *session) reenrolBare(ctx context.Context) verdict {
	der, err := s.dummy()
	if err != nil {
		return unrun("%s", err)
	}
	r, err := s.post(ctx, est.SimpleReenroll, est.Encode(der, est.Wrapped))
	if err != nil {
		return noAnswer(err)
	}
	return judge(r.client() || r.status == 501, "the answer is %s", r)
}

func (s *session) reenrolStranger(ctx context.Context) verdict {
	_, leaf, v, ok := s.held(ctx)
	if !ok {
		return v
	}
	shown, err := selfMade(noName, leaf)
	if err != nil {
		return unrun("%s", err)
	}
	i, _, v, ok := s.renew(ctx, order{line: line{shown: shown, nobodys: true}})
	if !ok {
		if strings.Contains(v.seen, "tls: ") {
			return passed("it was refused in TLS: %s", v.seen)
		}
		return v
	}
	return judge(i.reply.client(), "the answer is %s", i.reply)
}
