package challenge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"chancery/internal/challenge"
)

var (
	oidACME = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}
	oidSAN  = asn1.ObjectIdentifier{2, 5, 29, 17}
)

// proof is a right acmeIdentifier extension for a key authorization.
func proof(keyAuth string) pkix.Extension {
	sum := sha256.Sum256([]byte(keyAuth))
	return pkix.Extension{Id: oidACME, Critical: true, Value: append([]byte{4, 32}, sum[:]...)}
}

// sans is a subjectAltName of raw entries: tag, then content.
func sans(entries ...asn1.RawValue) pkix.Extension {
	der, err := asn1.Marshal(entries)
	if err != nil {
		panic(err)
	}
	return pkix.Extension{Id: oidSAN, Value: der}
}

func entry(tag int, content string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(content)}
}

// otherName is an entry that the standard library passes over in silence.
var otherName = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: []byte{6, 3, 42, 3, 4, 0xa0, 3, 12, 1, 'x'}}

// certificate makes a certificate with just these extensions; signed by another
// key if foreign.
func certificate(t *testing.T, foreign bool, extensions ...pkix.Extension) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	signer := key
	if foreign {
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
	}
	template := &x509.Certificate{
		SerialNumber:    big.NewInt(77),
		Subject:         pkix.Name{CommonName: "challenge"},
		NotBefore:       time.Now().Add(-time.Hour),
		NotAfter:        time.Now().Add(time.Hour),
		ExtraExtensions: extensions,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), signer)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// handshakes serves TLS on an address and gives the port and the last server
// name that was asked for.
func handshakes(t *testing.T, addr netip.Addr, conf *tls.Config) (uint16, *atomic.Value) {
	t.Helper()
	var sni atomic.Value
	if len(conf.Certificates) > 0 {
		cert := conf.Certificates[0]
		conf.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			sni.Store(h.ServerName)
			return &cert, nil
		}
		conf.Certificates = nil
	}
	l, err := net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				s := tls.Server(c, conf)
				if s.Handshake() == nil {
					_, _ = io.Copy(io.Discard, s) // until the validator hangs up
				}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort().Port(), &sni
}

func TestTLSALPN01Certificates(t *testing.T) {
	name := sans(entry(2, "x.example"))
	good := proof(keyAuth)
	bend := func(f func(*pkix.Extension)) pkix.Extension {
		e := proof(keyAuth)
		f(&e)
		return e
	}
	cases := []struct {
		name       string
		extensions []pkix.Extension
		foreign    bool
		kind       challenge.Kind // 0: valid
		words      []string
	}{
		{name: "right", extensions: []pkix.Extension{name, good}},
		{name: "upper case", extensions: []pkix.Extension{sans(entry(2, "X.Example")), good}},
		{name: "wrong digest", extensions: []pkix.Extension{name, proof("other")}, kind: challenge.Unauthorized, words: []string{"digest", keyAuth}},
		{name: "not critical", extensions: []pkix.Extension{name, bend(func(e *pkix.Extension) { e.Critical = false })}, kind: challenge.IncorrectResponse, words: []string{"not critical"}},
		{name: "missing", extensions: []pkix.Extension{name}, kind: challenge.IncorrectResponse, words: []string{"0 acmeIdentifier"}},
		{name: "twice", extensions: []pkix.Extension{name, good, good}, kind: challenge.TLS, words: []string{"duplicate extension"}},
		{name: "bare digest", extensions: []pkix.Extension{name, bend(func(e *pkix.Extension) { e.Value = e.Value[2:] })}, kind: challenge.IncorrectResponse, words: []string{"malformed"}},
		{name: "short digest", extensions: []pkix.Extension{name, bend(func(e *pkix.Extension) { e.Value = append([]byte{4, 31}, e.Value[2:33]...) })}, kind: challenge.IncorrectResponse, words: []string{"31 bytes"}},
		{name: "bytes behind", extensions: []pkix.Extension{name, bend(func(e *pkix.Extension) { e.Value = append(e.Value, 5, 0) })}, kind: challenge.IncorrectResponse, words: []string{"bytes after"}},
		{name: "old OID", extensions: []pkix.Extension{name, bend(func(e *pkix.Extension) { e.Id = append(oidACME[:8:8], 30, 1) })}, kind: challenge.IncorrectResponse},
		{name: "no SAN", extensions: []pkix.Extension{good}, kind: challenge.IncorrectResponse, words: []string{"0 subjectAltName"}},
		{name: "empty SAN", extensions: []pkix.Extension{sans(), good}, kind: challenge.IncorrectResponse},
		{name: "other name", extensions: []pkix.Extension{sans(entry(2, "y.example")), good}, kind: challenge.IncorrectResponse, words: []string{`"y.example"`, "x.example"}},
		{name: "wildcard", extensions: []pkix.Extension{sans(entry(2, "*.example")), good}, kind: challenge.IncorrectResponse},
		{name: "two names", extensions: []pkix.Extension{sans(entry(2, "x.example"), entry(2, "y.example")), good}, kind: challenge.IncorrectResponse, words: []string{"more than one"}},
		{name: "hidden second name", extensions: []pkix.Extension{sans(entry(2, "x.example"), otherName), good}, kind: challenge.IncorrectResponse, words: []string{"more than one"}},
		{name: "name as mail", extensions: []pkix.Extension{sans(entry(1, "x.example")), good}, kind: challenge.IncorrectResponse, words: []string{"not a dNSName"}},
		{name: "two SANs", extensions: []pkix.Extension{name, name, good}, kind: challenge.TLS},
		{name: "not self-signed", extensions: []pkix.Extension{name, good}, foreign: true, kind: challenge.IncorrectResponse, words: []string{"self-signed"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			port, sni := handshakes(t, front, &tls.Config{NextProtos: []string{"acme-tls/1"}, Certificates: []tls.Certificate{certificate(t, c.foreign, c.extensions...)}})
			r.conf.TLSPort = port
			got, err := r.validate(challenge.TLSALPN01, "x.example")
			if sni.Load() != "x.example" {
				t.Errorf("server name %q", sni.Load())
			}
			if c.kind != 0 {
				wantFailure(t, err, c.kind, append(c.words, "127.0.0.2", "x.example")...)
				return
			}
			wantResult(t, got, err, front, "127.0.0.2", "acme-tls/1", "x.example", "4d")
		})
	}
}

func TestTLSALPN01Servers(t *testing.T) {
	cert := certificate(t, false, sans(entry(2, "x.example")), proof(keyAuth))
	certs := []tls.Certificate{cert}
	for name, c := range map[string]struct {
		conf  *tls.Config
		kind  challenge.Kind // 0: valid
		words []string
	}{
		"TLS 1.2":          {&tls.Config{Certificates: certs, NextProtos: []string{"acme-tls/1"}, MaxVersion: tls.VersionTLS12}, 0, nil},
		"among others":     {&tls.Config{Certificates: certs, NextProtos: []string{"h2", "acme-tls/1"}}, 0, nil},
		"no ALPN":          {&tls.Config{Certificates: certs}, challenge.IncorrectResponse, []string{"did not negotiate", "acme-tls/1"}},
		"other ALPN":       {&tls.Config{Certificates: certs, NextProtos: []string{"h2", "http/1.1"}}, challenge.TLS, []string{"acme-tls/1"}},
		"TLS 1.1":          {&tls.Config{Certificates: certs, NextProtos: []string{"acme-tls/1"}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, challenge.TLS, nil},
		"no certificate":   {&tls.Config{NextProtos: []string{"acme-tls/1"}, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, io.EOF }}, challenge.TLS, nil},
		"asks for our own": {&tls.Config{Certificates: certs, NextProtos: []string{"acme-tls/1"}, ClientAuth: tls.RequestClientCert}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.conf.TLSPort, _ = handshakes(t, front, c.conf)
			got, err := r.validate(challenge.TLSALPN01, "x.example")
			if c.kind != 0 {
				wantFailure(t, err, c.kind, append(c.words, "127.0.0.2")...)
				return
			}
			wantResult(t, got, err, front)
		})
	}
	t.Run("plain HTTP", func(t *testing.T) {
		r := newRig(t)
		r.conf.TLSPort = serve(t, front, body(keyAuth))
		_, err := r.validate(challenge.TLSALPN01, "x.example")
		wantFailure(t, err, challenge.TLS)
	})
	t.Run("nobody", func(t *testing.T) {
		r := newRig(t)
		r.conf.TLSPort = port(t)
		_, err := r.validate(challenge.TLSALPN01, "x.example")
		wantFailure(t, err, challenge.Connection, "127.0.0.2")
	})
	t.Run("silent", func(t *testing.T) {
		l, err := net.Listen("tcp", netip.AddrPortFrom(front, 0).String())
		must(t, err)
		defer l.Close()
		r := newRig(t)
		r.conf.TLSPort = l.Addr().(*net.TCPAddr).AddrPort().Port()
		err = r.inVain(challenge.TLSALPN01, "127.0.0.2")
		wantFailure(t, err, challenge.Connection, "127.0.0.2")
	})
	t.Run("loopback", func(t *testing.T) {
		r := newRig(t)
		must(t, r.dns.Set("x.example", "A", "127.0.0.1"))
		r.conf.TLSPort, _ = handshakes(t, back, &tls.Config{Certificates: certs, NextProtos: []string{"acme-tls/1"}})
		_, err := r.validate(challenge.TLSALPN01, "x.example")
		wantFailure(t, err, challenge.Refused, "loopback")
	})
}

func TestTLSALPN01IP(t *testing.T) {
	four := sans(entry(7, "\x7f\x00\x00\x02"))
	six := sans(entry(7, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"))
	sixName := "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa"
	for name, c := range map[string]struct {
		target, sni string
		san         pkix.Extension
		kind        challenge.Kind // 0: valid
	}{
		"IPv4":                {"127.0.0.2", "2.0.0.127.in-addr.arpa", four, 0},
		"IPv6":                {"::1", sixName, six, 0},
		"other address":       {"127.0.0.2", "2.0.0.127.in-addr.arpa", sans(entry(7, "\x7f\x00\x00\x03")), challenge.IncorrectResponse},
		"mapped address":      {"127.0.0.2", "2.0.0.127.in-addr.arpa", sans(entry(7, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x7f\x00\x00\x02")), challenge.IncorrectResponse},
		"address as a name":   {"127.0.0.2", "2.0.0.127.in-addr.arpa", sans(entry(2, "127.0.0.2")), challenge.IncorrectResponse},
		"reverse name":        {"127.0.0.2", "2.0.0.127.in-addr.arpa", sans(entry(2, "2.0.0.127.in-addr.arpa")), challenge.IncorrectResponse},
		"address and reverse": {"127.0.0.2", "2.0.0.127.in-addr.arpa", sans(entry(7, "\x7f\x00\x00\x02"), entry(2, "2.0.0.127.in-addr.arpa")), challenge.IncorrectResponse},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.conf.Policy.AllowLoopback = true
			addr := netip.MustParseAddr(c.target)
			port, sni := handshakes(t, addr, &tls.Config{NextProtos: []string{"acme-tls/1"}, Certificates: []tls.Certificate{certificate(t, false, c.san, proof(keyAuth))}})
			r.conf.TLSPort = port
			got, err := r.do(t.Context(), challenge.TLSALPN01, challenge.Target{Type: "ip", Value: c.target})
			if sni.Load() != c.sni {
				t.Errorf("server name %q, want %q", sni.Load(), c.sni)
			}
			if c.kind != 0 {
				wantFailure(t, err, c.kind)
				return
			}
			wantResult(t, got, err, addr, c.sni)
		})
	}
}
