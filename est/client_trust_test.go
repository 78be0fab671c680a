package est

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestServerURL(t *testing.T) {
	for _, test := range []struct{ server, label, host, want string }{
		{"est.example", "", "est.example", ""},
		{"est.example:8443", "lab", "est.example:8443", "lab"},
		{"https://EST.example/", "", "est.example", ""},
		{"https://est.example/.well-known/est", "", "est.example", ""},
		{"https://est.example/.well-known/est/", "lab", "est.example", "lab"},
		{"https://est.example/.well-known/est/lab", "", "est.example", "lab"},
		{"https://est.example/.well-known/est/lab", "lab", "est.example", "lab"},
		{"https://est.example/.well-known/est/lab/cacerts", "", "est.example", "lab"},
		{"https://est.example/.well-known/est/simpleenroll", "", "est.example", ""},
		{"[::1]:8443", "", "[::1]:8443", ""},
	} {
		base, label, err := ServerURL(test.server, test.label)
		if err != nil || base.Host != test.host || label != test.want {
			t.Errorf("%s, %s: %v, %q, %v", test.server, test.label, base, label, err)
		}
	}
	for _, bad := range [][2]string{
		{"", ""}, {"http://est.example", ""}, {"https://u:p@est.example", ""}, {"https://est.example/est", ""},
		{"https://est.example/.well-known/est/a", "b"}, {"est.example", "cacerts"}, {"https://est.example/.well-known/est/a/b", ""},
		{"https://est.example?x=1", ""}, {"https://:443", ""}, {"est.example", "a%2fb"}, {"https://est.example/.well-known/estate", ""},
	} {
		if base, label, err := ServerURL(bad[0], bad[1]); err == nil {
			t.Errorf("%q, %q: %v, %q", bad[0], bad[1], base, label)
		}
	}
}

// The rules of RFC 7030 §3.6.1 and §3.6.2, one server each.
func TestServerAuthorisation(t *testing.T) {
	web := newIssuer(t, "Web Root", nil)
	narrow := newIssuer(t, "Narrow", nil)
	ekus := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	named := x509.Certificate{DNSNames: []string{serverName}, ExtKeyUsage: ekus}
	unnamed := x509.Certificate{DNSNames: []string{"other.example"}, ExtKeyUsage: ekus}
	ra := x509.Certificate{DNSNames: []string{"other.example"}, ExtKeyUsage: ekus, UnknownExtKeyUsage: cmcRA}
	cn := x509.Certificate{Subject: pkix.Name{CommonName: serverName}, ExtKeyUsage: ekus}
	clientOnly := x509.Certificate{DNSNames: []string{serverName}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	implicit := func(c *ClientConfig) { c.Trust = Trust{Implicit: pool(web.Cert)} }
	for _, test := range []struct {
		name   string
		by     *issuer // nil: the EST CA
		show   x509.Certificate
		trust  func(*ClientConfig)
		why    Refusal // "": it is taken
		verify Database
	}{
		{"explicit, its name", nil, named, nil, "", ByExplicit},
		{"explicit, another name", nil, unnamed, nil, OtherName, ""},
		{"explicit, RA", nil, ra, nil, "", ByExplicit},
		{"explicit, name in CN alone", nil, cn, nil, OtherName, ""},
		{"explicit, no server", nil, clientOnly, nil, Unverified, ""},
		{"implicit, its name", web, named, implicit, "", ByImplicit},
		{"implicit, RA counts for nothing", web, ra, implicit, OtherName, ""},
		{"implicit, name in CN alone", web, cn, implicit, OtherName, ""},
		{"implicit off", web, named, func(c *ClientConfig) { c.Trust.Implicit, c.Trust.ImplicitOff = pool(web.Cert), true }, OnlyImplicit, ""},
		{"explicit first of both", nil, named, func(c *ClientConfig) { c.Trust.Implicit = pool(web.Cert) }, "", ByExplicit},
		{"implicit beside explicit", web, named, func(c *ClientConfig) { c.Trust.Implicit = pool(web.Cert) }, "", ByImplicit},
		{"stranger", narrow, named, func(c *ClientConfig) { c.Trust.Implicit = pool(web.Cert) }, Unverified, ""},
		{"nothing to verify by", nil, named, func(c *ClientConfig) { c.Trust = Trust{} }, NoAnchors, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, as(test.by, test.show))
			c := s.client(t, test.trust)
			got, err := c.CACerts(t.Context())
			if test.why == "" {
				if err != nil || got.Server.Verified != test.verify {
					t.Fatalf("%+v, %v", got, err)
				}
				if want := test.name == "explicit, RA"; got.Server.RA != want {
					t.Errorf("authorised as RA: %t", got.Server.RA)
				}
				return
			}
			refused, ok := errors.AsType[*ServerError](err)
			if !ok || refused.Why != test.why {
				t.Fatalf("%v", err)
			}
			if test.why == OnlyImplicit && !strings.Contains(err.Error(), "Trusted CA Indication") {
				t.Errorf("the departure is not named: %v", err)
			}
			if len(s.visited()) > 0 {
				t.Errorf("asked all the same: %v", s.visited())
			}
		})
	}
}

// id-kp-cmcRA of a leaf counts only if the authorities above may give it.
func TestRAUnderANarrowAuthority(t *testing.T) {
	root := newIssuer(t, "Root", nil)
	key := testKey(t)
	below := &issuer{Cert: certify(t, root, x509.Certificate{
		Subject: pkix.Name{CommonName: "Web only"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key), Key: key}
	leaf := certify(t, below, x509.Certificate{DNSNames: []string{"other.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, UnknownExtKeyUsage: cmcRA}, testKey(t))
	trust := Trust{Explicit: []*x509.Certificate{root.Cert}, Intermediates: []*x509.Certificate{below.Cert}}
	_, err := trust.authorise(itinerary{configured: serverName, current: serverName, host: serverName}, []*x509.Certificate{leaf}, time.Now())
	if refused, ok := errors.AsType[*ServerError](err); !ok || refused.Why != OtherName {
		t.Errorf("%v", err)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	s := open(t, func(c *tls.Config, _ *issuer) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
	if _, err := s.client(t, nil).CACerts(t.Context()); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	if _, err := NewClient(ClientConfig{Server: serverName, MaxTLS: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 can be configured")
	}
}

// The certificate that is renewed is shown, else one of its subject (RFC 7030 §3.3.2),
// whatever CAs the server lists.
func TestCertificateThatIsShown(t *testing.T) {
	s := open(t, func(c *tls.Config, own *issuer) {
		c.ClientCAs = pool(newIssuer(t, "Unrelated", nil).Cert)
	})
	subject := pkix.Name{CommonName: "device1.example"}
	forClients := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	other := identity(t, s.ca, x509.Certificate{Subject: pkix.Name{CommonName: "other"}, ExtKeyUsage: forClients})
	twin := identity(t, s.ca, x509.Certificate{Subject: subject, ExtKeyUsage: forClients})
	ended := identity(t, s.ca, x509.Certificate{Subject: subject, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	renewed := identity(t, s.ca, x509.Certificate{Subject: subject, ExtKeyUsage: forClients, DNSNames: []string{"device1.example"}})
	sealing := identity(t, s.ca, x509.Certificate{Subject: subject, KeyUsage: x509.KeyUsageKeyAgreement, DNSNames: []string{"device1.example"}})
	for name, test := range map[string]struct {
		identities []ClientIdentity
		renews     ClientIdentity
		shown      *x509.Certificate
	}{
		"the renewed one":                   {[]ClientIdentity{other, twin, renewed}, renewed, renewed.Certificate},
		"a twin of one that cannot do TLS":  {[]ClientIdentity{other, ended, twin, sealing}, sealing, twin.Certificate},
		"one that has ended, if it is all":  {[]ClientIdentity{ended, sealing}, sealing, ended.Certificate},
		"the renewed one though it ended":   {[]ClientIdentity{twin, ended}, ended, ended.Certificate},
		"none, when none can do TLS at all": {[]ClientIdentity{sealing}, sealing, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.client(t, func(c *ClientConfig) { c.Identities = test.identities })
			s.seen = nil
			got, err := c.Reenroll(t.Context(), Enrolment{Key: testKey(t), Renews: test.renews.Certificate})
			if err != nil {
				t.Fatal(err)
			}
			peers := s.seen[len(s.seen)-1].TLS.PeerCertificates
			if test.shown == nil {
				if len(peers) > 0 || got.Shown {
					t.Errorf("shown: %v", peers[0].Subject)
				}
				return
			}
			if len(peers) == 0 || !peers[0].Equal(test.shown) || !got.Shown {
				t.Errorf("shown: %d certificates", len(peers))
			}
		})
	}
}

func TestSecretsNeedExplicitAnchors(t *testing.T) {
	web := newIssuer(t, "Web Root", nil)
	s := open(t, as(web, x509.Certificate{DNSNames: []string{serverName}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}))
	implicit := func(c *ClientConfig) { c.Trust = Trust{Implicit: pool(web.Cert)} }
	_, err := s.client(t, implicit).ServerKeyGen(t.Context(), KeyOrder{Enrolment: device(t)})
	if refused, ok := errors.AsType[*ServerError](err); !ok || refused.Why != OnlyImplicit {
		t.Errorf("a key may be made: %v", err)
	}
	if got := s.visited(); len(got) > 0 {
		t.Errorf("asked all the same: %v", got)
	}
	s.handler[SimpleEnroll] = func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); ok {
			s.enroll(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	withLogin := func(c *ClientConfig) { implicit(c); c.Login = &Login{User: "u", Password: "p"} }
	_, err = s.client(t, withLogin).Enroll(t.Context(), device(t))
	if _, ok := errors.AsType[*LoginError](err); !ok {
		t.Errorf("a password may be sent: %v", err)
	}
	if slices.ContainsFunc(s.seen, func(r *http.Request) bool { return r.Header.Get("Authorization") != "" }) {
		t.Error("a password was sent")
	}
	allowed := func(c *ClientConfig) { withLogin(c); c.SecretsOverImplicit = true }
	if _, err := s.client(t, allowed).Enroll(t.Context(), device(t)); err != nil {
		t.Errorf("allowed, and refused: %v", err)
	}
}
