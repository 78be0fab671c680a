package conform

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"chancery/est"
)

var noName = pkix.Name{CommonName: "conform.invalid"}

// issuing are the checks that may end with a new certificate, beside the first one.
var issuing = []string{
	"enroll.proof", "enroll.one-line", "enroll.line-breaks", "enroll.spaces", "enroll.transfer-encoding-absent", "enroll.transfer-encoding-odd", "enroll.media-case", "enroll.media-parameters",
	"enroll.chunked", "enroll.continue", "enroll.no-user-agent", "enroll.field-case", "enroll.repeat",
	"linking.tls-unique", "linking.tls-unique-wrong", "linking.other-connection", "linking.exporter", "linking.exporter-wrong", "linking.garbage", "linking.identity", "linking.identity-wrong", "linking.words",
	"reenroll.rekey", "reenroll.status", "reenroll.subject", "reenroll.names", "reenroll.unauthenticated", "reenroll.strange-certificate", "reenroll.proof",
	"keygen.status", "keygen.unauthenticated", "keygen.unknown-key", "keygen.signature",
}

var enrolSteps = []step{
	{Check{"enroll.status", Must, "RFC 7030 §4.2.3", "answers 200 to a good request, or 202 where it has to wait"}, (*session).enrolStatus},
	{Check{"enroll.media-type", Must, "RFC 7030 §4.2.3", "has the content type application/pkcs7-mime with smime-type=certs-only"}, (*session).enrolType},
	{Check{"enroll.media-spelling", Field, "libest", "spells it application/pkcs7-mime; smime-type=certs-only to the letter"}, (*session).enrolTypeSpelling},
	{Check{"enroll.transfer-encoding", Field, "Bouncy Castle, globalsign", "says Content-Transfer-Encoding: base64"}, (*session).enrolCTE},
	{Check{"enroll.length", Field, "strongSwan, libest, Bouncy Castle", "has a Content-Length and is not chunked"}, (*session).enrolLength},
	{Check{"enroll.certs-only", Must, "RFC 7030 §4.2.3, RFC 8951 §3", "is base64 of a certs-only SignedData"}, (*session).enrolBag},
	{Check{"enroll.single", Must, "RFC 7030 §4.2.3", "has the issued certificate alone"}, (*session).enrolSingle},
	{Check{"enroll.key", Must, "RFC 7030 §4.2.3", "certifies the key that was sent"}, (*session).enrolKey},
	{Check{"enroll.names", Should, "RFC 7030 §4.2.1", "certifies the names that were asked for"}, (*session).enrolNames},
	{Check{"enroll.chain", Must, "RFC 7030 §4.1.3", "gives a certificate that chains to the root by what cacerts gave"}, (*session).enrolChain},
	{Check{"enroll.valid", Must, "RFC 5280 §4.1.2.5", "gives a certificate that is valid now"}, (*session).enrolValid},
	{Check{"enroll.pending", Must, "RFC 7030 §4.2.3", "has Retry-After in a 202"}, (*session).enrolPending},
	{Check{"enroll.pending-seconds", Field, "strongSwan", "gives Retry-After in seconds, and a Content-Length"}, (*session).enrolSeconds},
	{Check{"enroll.repeat", Should, "RFC 7030 §4.2.3", "answers the same request again the same way, and not with 5xx"}, (*session).enrolRepeat},
}

// inFirst is a check of an ordinary enrolment.
func (s *session) inFirst(ctx context.Context, do func(*issued) verdict) verdict {
	if v, ok := s.able(); !ok {
		return v
	}
	i, err := s.first(ctx)
	if err != nil {
		return unrun("the enrolment could not be tried: %s", brief(err.Error()))
	}
	return do(i)
}

// inAnswer is one of its 200.
func (s *session) inAnswer(ctx context.Context, do func(*issued) verdict) verdict {
	return s.inFirst(ctx, func(i *issued) verdict {
		switch {
		case i.reply.status == 202:
			return unrun("the request waits for a decision")
		case i.reply.status != 200:
			return unrun("no certificate came: %s", i.reply)
		}
		return do(i)
	})
}

// inCertificate is one of the certificate itself.
func (s *session) inCertificate(ctx context.Context, do func(*issued) verdict) verdict {
	return s.inAnswer(ctx, func(i *issued) verdict {
		if i.cert == nil {
			return unrun("no certificate for the key could be read")
		}
		return do(i)
	})
}

func (s *session) enrolStatus(ctx context.Context) verdict {
	if v, ok := s.able(); !ok {
		return v
	}
	i, err := s.first(ctx)
	if err != nil {
		return noAnswer(err)
	}
	return judge(i.reply.status == 200 || i.reply.status == 202, "the answer is %s", i.reply)
}

func (s *session) enrolType(ctx context.Context) verdict {
	return s.inAnswer(ctx, func(i *issued) verdict { return certsOnlyType(i.reply) })
}

func certsOnlyType(r *reply) verdict {
	m, err := est.ParseMedia(r.get("Content-Type"))
	return judge(err == nil && m.Type == est.PKCS7Mime && m.SMIMEType == est.CertsOnly, "Content-Type: %s", brief(r.get("Content-Type")))
}

func (s *session) enrolTypeSpelling(ctx context.Context) verdict {
	return s.inAnswer(ctx, func(i *issued) verdict {
		text := i.reply.get("Content-Type")
		return judge(text == "application/pkcs7-mime; smime-type=certs-only", "Content-Type: %s", brief(text))
	})
}

func (s *session) enrolCTE(ctx context.Context) verdict {
	return s.inAnswer(ctx, func(i *issued) verdict { return transferEncoding(i.reply) })
}

func (s *session) enrolLength(ctx context.Context) verdict {
	return s.inAnswer(ctx, func(i *issued) verdict { return measured(i.reply) })
}

func (s *session) enrolBag(ctx context.Context) verdict {
	return s.inAnswer(ctx, func(i *issued) verdict {
		if i.err != nil {
			return failed("%s", brief(i.err.Error()))
		}
		return judge(len(i.bag.certs) > 0 && !slices.Contains(i.bag.odd, "it has signers"), "%s%s", plural(len(i.bag.certs), "certificate"), oddities(i.bag))
	})
}

func (s *session) enrolSingle(ctx context.Context) verdict {
	return s.inAnswer(ctx, func(i *issued) verdict {
		if i.err != nil {
			return unrun("the answer cannot be read")
		}
		return judge(len(i.bag.certs) == 1, "%s: %s", plural(len(i.bag.certs), "certificate"), list(i.bag.certs, subject))
	})
}

func (s *session) enrolKey(ctx context.Context) verdict {
	return s.inAnswer(ctx, func(i *issued) verdict {
		if i.err != nil {
			return unrun("the answer cannot be read")
		}
		if i.cert == nil {
			return failed("none of its certificates has the key")
		}
		return passed("the certificate %x has the key", i.cert.SerialNumber)
	})
}

func (s *session) enrolNames(ctx context.Context) verdict {
	return s.inCertificate(ctx, func(i *issued) verdict {
		for _, name := range s.Names {
			if !named(i.cert, name) {
				return failed("%q is missing; there are %s", name, strings.Join(i.cert.DNSNames, ", "))
			}
		}
		return passed("all are there: %s", strings.Join(s.Names, ", "))
	})
}

// named tells whether a certificate has a name among its alternative ones, or in its
// subject where it has no alternatives.
func named(c *x509.Certificate, name string) bool {
	fold := func(n string) bool { return strings.EqualFold(n, name) }
	if slices.ContainsFunc(c.DNSNames, fold) || slices.ContainsFunc(c.EmailAddresses, fold) || c.Subject.CommonName == name && sanOf(c) == nil {
		return true
	}
	for _, a := range c.IPAddresses {
		if a.Equal(net.ParseIP(name)) {
			return true
		}
	}
	for _, u := range c.URIs {
		if u.String() == name {
			return true
		}
	}
	return false
}

func (s *session) enrolChain(ctx context.Context) verdict {
	return s.inCertificate(ctx, func(i *issued) verdict {
		b, _, err := s.cacerts(ctx)
		if err != nil {
			return unrun("there are no CA certificates")
		}
		roots := b.roots()
		chains, err := i.cert.Verify(x509.VerifyOptions{Roots: pool(roots), Intermediates: pool(b.certs), KeyUsages: anyUse})
		if err != nil {
			return failed("%s", brief(err.Error()))
		}
		return passed("%s", list(chains[0], subject))
	})
}

func (s *session) enrolValid(ctx context.Context) verdict {
	return s.inCertificate(ctx, func(i *issued) verdict {
		now := time.Now()
		return judge(!now.Before(i.cert.NotBefore) && now.Before(i.cert.NotAfter), "from %s to %s", i.cert.NotBefore.UTC().Format(time.RFC3339), i.cert.NotAfter.UTC().Format(time.RFC3339))
	})
}

// inPending is a check of a 202.
func (s *session) inPending(ctx context.Context, do func(*reply) verdict) verdict {
	return s.inFirst(ctx, func(i *issued) verdict {
		if i.reply.status != 202 {
			return absent("the answer is %s", i.reply)
		}
		return do(i.reply)
	})
}

func (s *session) enrolPending(ctx context.Context) verdict {
	return s.inPending(ctx, func(r *reply) verdict {
		_, ok := est.RetryAfter(r.get("Retry-After"), time.Now())
		return judge(ok, "Retry-After: %q", brief(r.get("Retry-After")))
	})
}

func (s *session) enrolSeconds(ctx context.Context) verdict {
	return s.inPending(ctx, func(r *reply) verdict {
		_, err := strconv.Atoi(r.get("Retry-After"))
		return judge(err == nil && r.length >= 0, "Retry-After: %q, Content-Length: %d", brief(r.get("Retry-After")), r.length)
	})
}

func (s *session) enrolRepeat(ctx context.Context) verdict {
	return s.inFirst(ctx, func(i *issued) verdict {
		if !i.accepted() {
			return unrun("no certificate came: %s", i.reply)
		}
		again, err := s.enrol(ctx, order{key: i.key})
		if err != nil {
			return noAnswer(err)
		}
		// That a key has its certificate already may be a reason to refuse.
		return judge(again.reply.status == i.reply.status || again.reply.client(), "first %d, and then %s", i.reply.status, again.reply)
	})
}
