package conform

import (
	"bytes"
	"context"
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"chancery/est"
)

var cacertsSteps = []step{
	{Check{"cacerts.status", Must, "RFC 7030 §4.1.3", "answers 200"}, (*session).cacertsStatus},
	{Check{"cacerts.media-type", Must, "RFC 7030 §4.1.3", "has the content type application/pkcs7-mime"}, (*session).cacertsType},
	{Check{"cacerts.base64", Must, "RFC 8951 §3", "is base64"}, (*session).cacertsBase64},
	{Check{"cacerts.transfer-encoding", Field, "RFC 7030 §4.1.3; Bouncy Castle", "says Content-Transfer-Encoding: base64, although nobody should need it"}, (*session).cacertsCTE},
	{Check{"cacerts.length", Field, "strongSwan, libest, Bouncy Castle", "has a Content-Length and is not chunked"}, (*session).cacertsLength},
	{Check{"cacerts.record", Field, "strongSwan", "sends the body in one TLS record"}, (*session).cacertsRecord},
	{Check{"cacerts.certs-only", Must, "RFC 7030 §4.1.3, RFC 5272 §4.1", "is a SignedData with certificates only"}, (*session).cacertsOnly},
	{Check{"cacerts.plain-form", Field, "RFC 5652 §5.1", "is a SignedData of version 1 without digests, content, and anything after it"}, (*session).cacertsForm},
	{Check{"cacerts.root", Must, "RFC 7030 §4.1.3", "has the current root, self-signed"}, (*session).cacertsRoot},
	{Check{"cacerts.anchor", Must, "RFC 7030 §4.1.3", "has a root that is among the anchors, or that they vouch for"}, (*session).cacertsAnchor},
	{Check{"cacerts.chain", Must, "RFC 7030 §4.1.3", "has nothing but CA certificates that chain to the current root"}, (*session).cacertsChain},
	{Check{"cacerts.valid", Should, "RFC 7030 §4.1.3", "has a root and intermediates that are valid now"}, (*session).cacertsValid},
	{Check{"cacerts.once", Field, "RFC 5652 §10.2.3", "has each certificate once"}, (*session).cacertsOnce},
	{Check{"cacerts.rollover", Should, "RFC 7030 §4.1.3, RFC 4210 §4.4", "has OldWithNew and NewWithOld where there are two roots"}, (*session).cacertsRollover},
	{Check{"cacerts.unauthenticated", Should, "RFC 7030 §4.1.2", "needs no client authentication"}, (*session).cacertsOpen},
	{Check{"cacerts.wrong-password", Field, "RFC 7030 §4.1.2", "answers although a password that is not asked for is wrong"}, (*session).cacertsPassword},
}

// inBag is a check that needs the bag.
func (s *session) inBag(ctx context.Context, do func(*bag) verdict) verdict {
	b, _, err := s.cacerts(ctx)
	if err != nil {
		return unrun("there are no CA certificates to look at")
	}
	if len(b.certs) == 0 {
		return unrun("the answer has no certificates")
	}
	return do(b)
}

// inReply is a check that needs the answer to /cacerts.
func (s *session) inReply(ctx context.Context, do func(*reply) verdict) verdict {
	_, r, err := s.cacerts(ctx)
	switch {
	case r == nil:
		return noAnswer(err)
	case r.status != 200:
		return unrun("the answer is %s", r)
	}
	return do(r)
}

func (s *session) cacertsStatus(ctx context.Context) verdict {
	_, r, err := s.cacerts(ctx)
	if r == nil {
		return noAnswer(err)
	}
	return judge(r.status == 200, "the answer is %s", r)
}

func (s *session) cacertsType(ctx context.Context) verdict {
	return s.inReply(ctx, func(r *reply) verdict {
		m, err := est.ParseMedia(r.get("Content-Type"))
		good := err == nil && m.Type == est.PKCS7Mime && (m.SMIMEType == "" || m.SMIMEType == est.CertsOnly)
		return judge(good, "Content-Type: %s", brief(r.get("Content-Type")))
	})
}

func (s *session) cacertsBase64(ctx context.Context) verdict {
	return s.inReply(ctx, func(r *reply) verdict { return inBase64(r.body) })
}

func inBase64(body []byte) verdict {
	der, err := unarmoured(body)
	if err != nil {
		return failed("of the body: %s", brief(err.Error()))
	}
	return passed("%d octets of base64 for %d of DER", len(body), len(der))
}

func (s *session) cacertsCTE(ctx context.Context) verdict { return s.inReply(ctx, transferEncoding) }

func transferEncoding(r *reply) verdict {
	text := r.get("Content-Transfer-Encoding")
	return judge(strings.EqualFold(text, "base64"), "Content-Transfer-Encoding: %q", brief(text))
}

func (s *session) cacertsLength(ctx context.Context) verdict { return s.inReply(ctx, measured) }

func measured(r *reply) verdict {
	return judge(r.length >= 0 && !r.chunked, "Content-Length: %d, chunked: %t", r.length, r.chunked)
}

func (s *session) cacertsRecord(ctx context.Context) verdict {
	return s.inReply(ctx, func(r *reply) verdict {
		if len(r.records) == 0 {
			return unrun("the records could not be counted")
		}
		// What TLS adds is less than the header, which may be in the same record.
		last := r.records[len(r.records)-1]
		return judge(last >= len(r.body), "a body of %d octets; %s, the last of %d octets", len(r.body), plural(len(r.records), "record"), last)
	})
}

func (s *session) cacertsOnly(ctx context.Context) verdict {
	return s.inReply(ctx, func(r *reply) verdict {
		b, _, err := s.cacerts(ctx)
		if err != nil {
			return failed("the body is no certs-only message: %s", brief(err.Error()))
		}
		return judge(len(b.certs) > 0 && !slices.Contains(b.odd, "it has signers"), "%s%s", plural(len(b.certs), "certificate"), oddities(b))
	})
}

func oddities(b *bag) string {
	if len(b.odd) == 0 {
		return ""
	}
	return "; " + strings.Join(b.odd, ", ")
}

func (s *session) cacertsForm(ctx context.Context) verdict {
	return s.inBag(ctx, func(b *bag) verdict {
		if len(b.odd) > 0 {
			return failed("of the SignedData: %s", strings.Join(b.odd, ", "))
		}
		return passed("nothing is odd about it")
	})
}

// roots gives the self-signed certificates, the one that ends last first: that is the
// current one (RFC 7030 §4.1.3).
func (b *bag) roots() []*x509.Certificate {
	var roots []*x509.Certificate
	for _, c := range b.certs {
		if selfSigned(c) {
			roots = append(roots, c)
		}
	}
	slices.SortStableFunc(roots, func(a, b *x509.Certificate) int { return b.NotAfter.Compare(a.NotAfter) })
	return roots
}

func (s *session) cacertsRoot(ctx context.Context) verdict {
	return s.inBag(ctx, func(b *bag) verdict {
		roots := b.roots()
		if len(roots) == 0 {
			return failed("none of %s is self-signed", plural(len(b.certs), "certificate"))
		}
		return passed("%s until %s", subject(roots[0]), roots[0].NotAfter.UTC().Format(time.DateOnly))
	})
}

func (s *session) cacertsAnchor(ctx context.Context) verdict {
	return s.inBag(ctx, func(b *bag) verdict {
		if len(s.Roots) == 0 {
			if len(s.roots) == 0 {
				return unrun("needs the anchors: give the roots or a fingerprint")
			}
			return passed("the root with the fingerprint is there")
		}
		trusted, err := est.Rollover(s.Roots, b.certs, time.Now())
		if err != nil {
			return failed("%s", brief(err.Error()))
		}
		for _, r := range b.roots() {
			if slices.ContainsFunc(trusted.Roots, r.Equal) {
				return passed("%s is one of the anchors, or they vouch for it", subject(r))
			}
		}
		return failed("none of its %s is, or is vouched for by, one of the anchors", plural(len(b.roots()), "root"))
	})
}

func (s *session) cacertsChain(ctx context.Context) verdict {
	return s.inBag(ctx, func(b *bag) verdict {
		roots := b.roots()
		if len(roots) == 0 {
			return unrun("there is no root")
		}
		for _, c := range b.certs {
			if !c.IsCA {
				return failed("%s is no CA's certificate", subject(c))
			}
			if c.Equal(roots[0]) || selfSigned(c) { // other roots are OldWithOld
				continue
			}
			_, err := c.Verify(x509.VerifyOptions{Roots: pool(roots[:1]), Intermediates: pool(b.certs), CurrentTime: c.NotAfter.Add(-time.Second), KeyUsages: anyUse})
			if old := len(roots) > 1 && c.CheckSignatureFrom(roots[1]) == nil; err != nil && !old {
				return failed("%s does not chain to %s: %s", subject(c), subject(roots[0]), brief(err.Error()))
			}
		}
		return passed("%s chain to %s", plural(len(b.certs)-1, "other certificate"), subject(roots[0]))
	})
}

var anyUse = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}

func (s *session) cacertsValid(ctx context.Context) verdict {
	return s.inBag(ctx, func(b *bag) verdict {
		now := time.Now()
		for _, c := range b.certs {
			if now.Before(c.NotBefore) || now.After(c.NotAfter) {
				return failed("%s is valid from %s to %s", subject(c), c.NotBefore.UTC().Format(time.DateOnly), c.NotAfter.UTC().Format(time.DateOnly))
			}
		}
		return passed("all are")
	})
}

func (s *session) cacertsOnce(ctx context.Context) verdict {
	return s.inBag(ctx, func(b *bag) verdict {
		for i, c := range b.certs {
			if slices.ContainsFunc(b.certs[:i], c.Equal) {
				return failed("%s is there twice", subject(c))
			}
		}
		return passed("%s, all different", plural(len(b.certs), "certificate"))
	})
}

func (s *session) cacertsRollover(ctx context.Context) verdict {
	return s.inBag(ctx, func(b *bag) verdict {
		roots := b.roots()
		if len(roots) < 2 {
			return absent("there is one root")
		}
		recent, before := roots[0], roots[1]
		crossed := func(of, by *x509.Certificate) bool {
			return slices.ContainsFunc(b.certs, func(c *x509.Certificate) bool {
				return bytes.Equal(c.RawSubjectPublicKeyInfo, of.RawSubjectPublicKeyInfo) && !selfSigned(c) && c.CheckSignatureFrom(by) == nil
			})
		}
		oldWithNew, newWithOld := crossed(before, recent), crossed(recent, before)
		return judge(oldWithNew && newWithOld, "%s; OldWithNew: %t, NewWithOld: %t", plural(len(roots), "root"), oldWithNew, newWithOld)
	})
}

func (s *session) cacertsOpen(ctx context.Context) verdict {
	_, r, err := s.cacerts(ctx)
	if r == nil {
		return noAnswer(err)
	}
	return judge(r.status != 401 && r.status != 403, "without certificate and password the answer is %s", r)
}

func (s *session) cacertsPassword(ctx context.Context) verdict {
	r, err := s.get(ctx, s.path(est.CACerts), field{"Authorization", basic("conform.invalid", "not a password")})
	if err != nil {
		return noAnswer(err)
	}
	return judge(r.status == 200, "the answer is %s", r)
}
