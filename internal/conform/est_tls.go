package conform

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"chancery/est"
)

var tlsSteps = []step{
	{Check{"tls.version", Must, "RFC 7030 §3.3.1, RFC 9325 §3.1.1", "speaks TLS 1.2"}, (*session).tlsVersion},
	{Check{"tls.version-13", Should, "RFC 9325 §3.1.1", "speaks TLS 1.3"}, (*session).tls13},
	{Check{"tls.old-refused", Must, "RFC 8996 §4, §5", "refuses TLS 1.0 and TLS 1.1"}, (*session).tlsOld},
	{Check{"tls.ssl-refused", Must, "RFC 7568 §3", "refuses SSL 3"}, (*session).tlsSSL},
	{Check{"tls.null-refused", Must, "RFC 7030 §3.2.3", "refuses cipher suites without encryption"}, refusing(0x0001, 0x0002, 0x003b, 0xc001, 0xc006, 0xc00b, 0xc010)},
	{Check{"tls.anon-refused", Must, "RFC 7030 §3.2.3", "refuses cipher suites without authentication"}, refusing(0x0018, 0x001b, 0x0034, 0x003a, 0x006c, 0x006d, 0x00a6, 0x00a7, 0xc017, 0xc018, 0xc019)},
	{Check{"tls.export-refused", Must, "RFC 7030 §3.3.1, RFC 9325 §4.1", "refuses EXPORT and DES cipher suites"}, refusing(0x0003, 0x0006, 0x0008, 0x0009, 0x000b, 0x000e, 0x0011, 0x0014, 0x0015)},
	{Check{"tls.rc4-refused", Must, "RFC 7465 §2", "refuses RC4 cipher suites"}, refusing(0x0004, 0x0005, 0xc002, 0xc007, 0xc00c, 0xc011)},
	{Check{"tls.3des-refused", Should, "RFC 9325 §4.1", "refuses 3DES cipher suites"}, refusing(0x000a, 0x0016, 0xc003, 0xc008, 0xc00d, 0xc012)},
	{Check{"tls.compression", Must, "RFC 9325 §3.3", "does not compress"}, (*session).tlsCompression},
	{Check{"tls.renegotiation-info", Must, "RFC 7030 §3.5, RFC 5746 §3.6", "knows secure renegotiation, so that nothing can be put in front of a request"}, (*session).tlsRenegotiation},
	{Check{"tls.extended-master-secret", Should, "RFC 7627 §5.3, RFC 9325 §3.5", "has the extended master secret under TLS 1.2: without it tls-unique binds nothing"}, (*session).tlsEMS},
	{Check{"tls.resumption", Should, "RFC 7030 §3.3", "resumes sessions"}, (*session).tlsResumption},
	{Check{"tls.certificate", Must, "RFC 7030 §3.3.1, §3.6.1", "shows a certificate for its name that chains to the anchors, with all in between"}, (*session).tlsCertificate},
	{Check{"tls.client-certificate", Must, "RFC 7030 §3.3.2", "asks for a client certificate in the handshake"}, (*session).tlsAsks},
	{Check{"tls.unknown-certificate", Field, "RFC 7030 §4.1.2", "answers cacerts to a client that shows a certificate that it does not know, in HTTP and not with an alert"}, (*session).tlsUnknown},
}

// speaks makes one connection of one version of TLS.
func (s *session) speaks(ctx context.Context, version uint16) error {
	w, err := s.connect(ctx, line{min: version, max: version})
	if err != nil {
		return err
	}
	w.Close()
	return nil
}

func (s *session) tlsVersion(ctx context.Context) verdict { return s.version(ctx, tls.VersionTLS12) }
func (s *session) tls13(ctx context.Context) verdict      { return s.version(ctx, tls.VersionTLS13) }

func (s *session) version(ctx context.Context, v uint16) verdict {
	if err := s.speaks(ctx, v); err != nil {
		return failed("%s: %s", tls.VersionName(v), brief(err.Error()))
	}
	return passed("%s was agreed", tls.VersionName(v))
}

func (s *session) tlsOld(ctx context.Context) verdict {
	seen := ""
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		c, err := s.offer(ctx, hello{version: v, suites: append([]uint16{0x000a}, modern...)})
		switch {
		case err != nil:
			return unrun("%s", brief(err.Error()))
		case c.refused == "":
			return failed("a ClientHello of %s got a ServerHello of %s", tls.VersionName(v), tls.VersionName(c.version))
		}
		seen = c.refused
	}
	return passed("both were refused: %s", seen)
}

func (s *session) tlsSSL(ctx context.Context) verdict {
	c, err := s.offer(ctx, hello{version: 0x0300, suites: []uint16{0x0005, 0x000a, 0x002f, 0x0035}})
	if err != nil {
		return unrun("%s", brief(err.Error()))
	}
	return judge(c.refused != "", "a ClientHello of SSL 3 got %s", c)
}

// String says what the server did, for a sentence.
func (c choice) String() string {
	if c.refused != "" {
		return c.refused
	}
	return fmt.Sprintf("a ServerHello of %s with %s", tls.VersionName(c.version), tls.CipherSuiteName(c.suite))
}

// refusing is a check that offers these suites alone.
func refusing(suites ...uint16) func(*session, context.Context) verdict {
	return func(s *session, ctx context.Context) verdict {
		c, err := s.offer(ctx, hello{version: tls.VersionTLS12, suites: suites})
		if err != nil {
			return unrun("%s", brief(err.Error()))
		}
		return judge(c.refused != "", "a ClientHello with these alone got %s", c)
	}
}

// modernly gives the server's choice under TLS 1.2, n/a where it has no such thing.
func (s *session) modernly(ctx context.Context, h hello) (choice, verdict, bool) {
	h.version, h.suites = tls.VersionTLS12, modern
	c, err := s.offer(ctx, h)
	switch {
	case err != nil:
		return c, unrun("%s", brief(err.Error())), false
	case c.refused != "":
		return c, absent("the server speaks no TLS 1.2: %s", c.refused), false
	}
	return c, verdict{}, true
}

func (s *session) tlsCompression(ctx context.Context) verdict {
	c, v, ok := s.modernly(ctx, hello{compression: []byte{1}})
	if !ok {
		return v
	}
	return judge(c.compression == 0, "with DEFLATE offered, method %d was chosen", c.compression)
}

func (s *session) tlsRenegotiation(ctx context.Context) verdict {
	c, v, ok := s.modernly(ctx, hello{})
	if !ok {
		return v
	}
	if !c.extensions[extRenegotiation] {
		return failed("the ServerHello of TLS 1.2 has no renegotiation_info")
	}
	return passed("the ServerHello of TLS 1.2 has renegotiation_info")
}

func (s *session) tlsEMS(ctx context.Context) verdict {
	c, v, ok := s.modernly(ctx, hello{})
	if !ok {
		return v
	}
	if !c.extensions[extEMS] {
		return failed("the ServerHello of TLS 1.2 has no extended_master_secret")
	}
	return passed("the ServerHello of TLS 1.2 has extended_master_secret")
}

func (s *session) tlsResumption(ctx context.Context) verdict {
	cache := tls.NewLRUClientSessionCache(2)
	for range 2 {
		w, err := s.connect(ctx, line{cache: cache})
		if err != nil {
			return noAnswer(err)
		}
		// The tickets of TLS 1.3 come with the first answer.
		_, err = s.over(ctx, w, &request{method: "GET", target: s.path(est.CACerts)})
		resumed := w.tls.ConnectionState().DidResume
		w.Close()
		switch {
		case err != nil:
			return noAnswer(err)
		case resumed:
			return passed("the second connection resumed the first")
		}
	}
	return failed("the second connection was a full handshake again")
}

func (s *session) tlsCertificate(ctx context.Context) verdict {
	if len(s.roots) == 0 {
		return unrun("needs the anchors: give the roots or a fingerprint")
	}
	w, err := s.connect(ctx, line{})
	if err != nil {
		return noAnswer(err)
	}
	defer w.Close()
	leaf := w.tls.ConnectionState().PeerCertificates[0]
	if w.doubt != nil {
		return failed("%s of %s: %s", subject(leaf), s.host, brief(w.doubt.Error()))
	}
	return passed("%s until %s", subject(leaf), leaf.NotAfter.UTC().Format(time.DateOnly))
}

func (s *session) tlsAsks(ctx context.Context) verdict {
	w, err := s.connect(ctx, line{max: tls.VersionTLS12})
	if err != nil {
		return noAnswer(err)
	}
	defer w.Close()
	if !w.asked {
		return failed("there was no CertificateRequest in the handshake")
	}
	return passed("there was a CertificateRequest, and it could be left empty")
}

func (s *session) tlsUnknown(ctx context.Context) verdict {
	shown, err := selfMade(pkix.Name{CommonName: "conform.invalid"}, nil)
	if err != nil {
		return unrun("%s", err)
	}
	got, err := s.once(ctx, line{shown: shown, nobodys: true}, &request{method: "GET", target: s.path(est.CACerts)})
	if err != nil {
		return noAnswer(err)
	}
	return judge(got.status == 200, "the answer is %s", got)
}

// selfMade makes a certificate of nobody's, with names of somebody's.
func selfMade(name pkix.Name, like *x509.Certificate) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: name, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if like != nil {
		template.RawSubject = like.RawSubject
		if san := sanOf(like); san != nil {
			template.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 17}, Value: san}}
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
