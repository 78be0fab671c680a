package est

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseFingerprint(t *testing.T) {
	for text, want := range map[string]string{
		"sha256:" + strings.Repeat("0F", 32):                       "sha256:" + strings.Repeat("0f", 32),
		"SHA-256 " + strings.Repeat("0f:", 31) + "0f":              "sha256:" + strings.Repeat("0f", 32),
		"sha256 Fingerprint=" + strings.Repeat("0F:", 31) + "0F\n": "sha256:" + strings.Repeat("0f", 32),
		strings.Repeat("ab", 64):                                   "sha512:" + strings.Repeat("ab", 64),
		"sha512:" + strings.Repeat("ab", 64):                       "sha512:" + strings.Repeat("ab", 64),
		"sha512:" + strings.Repeat("ab", 32):                       "",
		"sha1:" + strings.Repeat("ab", 20):                         "",
		"":                                                         "",
		"sha256:" + strings.Repeat("zz", 32):                       "",
		"sha256:" + strings.Repeat("0f", 31):                       "",
	} {
		hash, digits, err := ParseFingerprint(text)
		if got := hash + ":" + digits; (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
}

func FuzzParseFingerprint(f *testing.F) {
	f.Add("sha256:" + strings.Repeat("0f", 32))
	f.Add("SHA512 Fingerprint=" + strings.Repeat("0F:", 63) + "0F")
	f.Fuzz(func(t *testing.T, text string) {
		hash, digits, err := ParseFingerprint(text)
		if err != nil {
			return
		}
		if h, d, err := ParseFingerprint(hash + ":" + digits); err != nil || h != hash || d != digits {
			t.Errorf("%q reads to %s:%s, and that to %s:%s, %v", text, hash, digits, h, d, err)
		}
	})
}

// successor makes a new root with the name of the old one, and the three certificates of
// RFC 4210 §4.4.
func successor(t *testing.T, old *issuer) (next *issuer, oldWithNew, newWithOld *x509.Certificate) {
	t.Helper()
	key := testKey(t)
	template := x509.Certificate{RawSubject: old.Cert.RawSubject, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(96 * time.Hour), SubjectKeyId: []byte{2}}
	next = &issuer{Cert: certify(t, nil, template, key), Key: key}
	template.NotAfter = old.Cert.NotAfter
	newWithOld = certify(t, old, template, key)
	template.SubjectKeyId = old.Cert.SubjectKeyId
	oldWithNew = certify(t, next, template, old.Key)
	return next, oldWithNew, newWithOld
}

func TestBootstrap(t *testing.T) {
	s := open(t, as(newIssuer(t, "Nobody knows", nil), x509.Certificate{DNSNames: []string{"wrong.example"}}))
	below := newIssuer(t, "Issuing", s.ca)
	next, oldWithNew, newWithOld := successor(t, s.ca)
	ended := certify(t, nil, x509.Certificate{Subject: pkix.Name{CommonName: "Ended"}, IsCA: true, BasicConstraintsValid: true, NotBefore: time.Now().Add(-9 * time.Hour), NotAfter: time.Now().Add(-8 * time.Hour)}, testKey(t))
	login := func(c *ClientConfig) {
		c.Trust = Trust{}
		c.Login = &Login{User: "u", Password: "p"}
		c.Identities = []ClientIdentity{identity(t, s.ca, x509.Certificate{})}
	}
	bring := func(all ...*x509.Certificate) {
		s.handler[CACerts] = func(w http.ResponseWriter, _ *http.Request) { s.answerBag(w, all...) }
	}
	for name, test := range map[string]struct {
		bag    []*x509.Certificate
		accept *x509.Certificate
		roots  int // 0: refused
	}{
		"a root alone":                       {[]*x509.Certificate{s.ca.Cert}, s.ca.Cert, 1},
		"a chain":                            {[]*x509.Certificate{below.Cert, s.ca.Cert}, s.ca.Cert, 1},
		"all of a rollover, by the new root": {[]*x509.Certificate{oldWithNew, s.ca.Cert, below.Cert, next.Cert, newWithOld}, next.Cert, 2},
		"all of a rollover, by the old root": {[]*x509.Certificate{oldWithNew, s.ca.Cert, below.Cert, next.Cert, newWithOld}, s.ca.Cert, 2},
		"one that has ended beside":          {[]*x509.Certificate{ended, s.ca.Cert}, s.ca.Cert, 1},
		"a stranger beside":                  {[]*x509.Certificate{s.ca.Cert, newIssuer(t, "Stranger", nil).Cert}, s.ca.Cert, 0},
		"a stranger's authority beside":      {[]*x509.Certificate{s.ca.Cert, newIssuer(t, "Below", newIssuer(t, "Stranger", nil)).Cert}, s.ca.Cert, 0},
		"a new root that nobody vouches for": {[]*x509.Certificate{s.ca.Cert, next.Cert}, s.ca.Cert, 0},
		"the fingerprint of one that is not": {[]*x509.Certificate{s.ca.Cert}, next.Cert, 0},
		"the fingerprint of an intermediate": {[]*x509.Certificate{s.ca.Cert, below.Cert}, below.Cert, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bring(test.bag...)
			offer, err := s.client(t, login).Bootstrap(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, hash := range []string{"sha256", "sha512"} {
				trust, err := offer.Accept(Fingerprint(test.accept.Raw, hash))
				if test.roots == 0 {
					if err == nil {
						t.Errorf("accepted: %d roots", len(trust.Explicit))
					}
					continue
				}
				if err != nil || len(trust.Explicit) != test.roots || !trust.ImplicitOff || trust.Implicit != nil {
					t.Errorf("%d roots, %v", len(trust.Explicit), err)
				}
			}
		})
	}
	for _, r := range s.seen {
		if r.Header.Get("Authorization") != "" || len(r.TLS.PeerCertificates) > 0 || r.Method != http.MethodGet {
			t.Errorf("sent before anything was verified: %v, %d certificates", r.Header, len(r.TLS.PeerCertificates))
		}
	}
	bring(below.Cert)
	if _, err := s.client(t, login).Bootstrap(t.Context()); err == nil {
		t.Error("a bag without a root can be confirmed")
	}
}

// On the provisional connection nobody logs in and nobody follows (RFC 7030 §4.1.1), and
// each operation after it makes a connection of its own.
func TestProvisionalConnectionIsForOneThing(t *testing.T) {
	s := open(t, nil)
	login := func(c *ClientConfig) { c.Login = &Login{User: "u", Password: "p"} }
	s.handler[CACerts] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	_, err := s.client(t, login).Bootstrap(t.Context())
	if _, ok := errors.AsType[*LoginError](err); !ok || len(s.visited()) != 1 {
		t.Errorf("%v, %v", err, s.visited())
	}
	s.handler[CACerts] = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere/cacerts", http.StatusFound)
	}
	_, err = s.client(t, login).Bootstrap(t.Context())
	if _, ok := errors.AsType[*RedirectError](err); !ok || len(s.visited()) != 2 {
		t.Errorf("%v, %v", err, s.visited())
	}
	s.handler[CACerts] = s.cacerts
	c := s.client(t, func(c *ClientConfig) { c.Trust = Trust{} })
	before := s.connections()
	offer, err := c.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Enroll(t.Context(), device(t)); err == nil {
		t.Error("enrolled without anchors")
	}
	trust, err := offer.Accept(Fingerprint(s.ca.Cert.Raw, "sha256"))
	if err != nil {
		t.Fatal(err)
	}
	c.SetTrust(trust)
	if _, err := c.Enroll(t.Context(), device(t)); err != nil || s.connections() != before+3 {
		t.Errorf("%v, %d connections", err, s.connections()-before)
	}
}

func TestLearn(t *testing.T) {
	old := newIssuer(t, "Root", nil)
	below := newIssuer(t, "Issuing", old)
	next, oldWithNew, newWithOld := successor(t, old)
	stranger := newIssuer(t, "Root", nil)
	now := time.Now()
	list := func(all ...*x509.Certificate) []*x509.Certificate { return all }
	for name, test := range map[string]struct {
		have     []*x509.Certificate
		verified Database
		bag      []*x509.Certificate
		want     []*x509.Certificate // nil: refused
		unproven int
	}{
		"nothing new":                         {list(old.Cert), ByExplicit, list(old.Cert, below.Cert), list(old.Cert), 0},
		"a rollover":                          {list(old.Cert), ByExplicit, list(next.Cert, oldWithNew, newWithOld, old.Cert), list(old.Cert, next.Cert), 0},
		"a rollover by NewWithOld alone":      {list(old.Cert), ByExplicit, list(next.Cert, newWithOld), list(old.Cert, next.Cert), 0},
		"a new root out of nowhere":           {list(old.Cert), ByExplicit, list(stranger.Cert, old.Cert), list(old.Cert), 1},
		"OldWithNew proves nothing to us":     {list(old.Cert), ByExplicit, list(next.Cert, oldWithNew), list(old.Cert), 1},
		"none known, an implicit server":      {nil, ByImplicit, list(below.Cert, old.Cert), list(old.Cert), 0},
		"none known, and nothing verified it": {nil, ByNothing, list(old.Cert), nil, 0},
		"none known, and no root":             {nil, ByImplicit, list(below.Cert), nil, 0},
		"some known, an implicit server":      {list(old.Cert), ByImplicit, list(stranger.Cert), list(old.Cert), 1},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := Trust{Explicit: test.have, Implicit: pool()}.Learn(&CABag{Certificates: test.bag, Server: Server{Verified: test.verified}}, now)
			if test.want == nil {
				if err == nil {
					t.Errorf("learned: %d", len(l.Trust.Explicit))
				}
				return
			}
			if err != nil || !slices.EqualFunc(l.Trust.Explicit, test.want, (*x509.Certificate).Equal) || len(l.Added) != len(test.want)-len(test.have) || len(l.Unproven) != test.unproven || !l.Trust.ImplicitOff {
				t.Errorf("%+v, %v", l, err)
			}
		})
	}
	// A clock that is years ahead takes nothing away.
	l, err := Trust{Explicit: list(old.Cert)}.Learn(&CABag{Certificates: list(old.Cert), Server: Server{Verified: ByExplicit}}, now.AddDate(50, 0, 0))
	if err == nil && !slices.ContainsFunc(l.Trust.Explicit, old.Cert.Equal) {
		t.Error("the anchors are gone")
	}
}

func TestCACertsOverTheWire(t *testing.T) {
	s := open(t, nil)
	got, err := s.client(t, nil).CACerts(t.Context())
	if err != nil || len(got.Certificates) != 1 || got.Server.Verified != ByExplicit {
		t.Errorf("%+v, %v", got, err)
	}
}

// testSigner is a key that is not in memory, as one of a TPM: it can only sign.
type testSigner struct{ crypto.Signer }

// The client needs no more of a key than that it signs, and TLS too.
func TestKeysThatOnlySign(t *testing.T) {
	s := open(t, nil)
	id := identity(t, s.ca, x509.Certificate{Subject: pkix.Name{CommonName: "device1.example"}, DNSNames: []string{"device1.example"}})
	id.Key = testSigner{id.Key}
	c := s.client(t, func(c *ClientConfig) { c.Identities = []ClientIdentity{id} })
	got, err := c.Reenroll(t.Context(), Enrolment{Key: testSigner{testKey(t)}, Renews: id.Certificate})
	if err != nil || !got.Shown {
		t.Errorf("%+v, %v", got, err)
	}
}
