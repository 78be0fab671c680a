package daemon_test

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"

	"chancery/acme"
	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/config"
	"chancery/internal/desk"
	"chancery/internal/enroll/install"
	"chancery/internal/estserver"
)

// TestESTHolders: of our own certificates those of the label's profile open it, while
// they are good. A web server's, by ACME, a person's, a device's of another label and a
// revoked one neither enrol nor renew, whatever they are named (RFC 7030 §3.3.2).
func TestESTHolders(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	s := &server{setup: plan(t, web, "")}
	c := s.config()
	c.EST.Labels = []config.Label{
		{Names: []string{"own", "*.iot.example"}},
		{Name: "local", Profile: "ldevid", Accept: []string{"certificate"}, Names: []string{"own", "*.iot.example"}},
	}
	s = startWith(t, s.setup, c)
	made := must[estserver.CredentialMade](t)(ask[estserver.UserWanted, estserver.CredentialMade](s, "est.user.add", estserver.UserWanted{Grant: estserver.Grant{User: "line"}}))

	login := func(r *http.Request) { r.SetBasicAuth("line", made.Password) }
	const name = "a.iot.example"
	type holder struct {
		key   *ecdsa.PrivateKey
		chain []*x509.Certificate
	}
	enrolled := func() holder {
		t.Helper()
		key := newKey(t)
		res, body := newDevice(t, s, s.Public).enroll(est.WellKnown+"/simpleenroll", csrFor(t, key, name), login)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", res.Status, body)
		}
		return holder{key, bag(t, body)}
	}
	signed := func(profile string, subject *desk.Subject) holder {
		t.Helper()
		key := newKey(t)
		whole := must[desk.Whole](t)(ask[desk.Signing, desk.Whole](s, "cert.sign", desk.Signing{CSR: csrFor(t, key, name), Profile: profile, Subject: subject}))
		return holder{key, must[[]*x509.Certificate](t)(install.ParseCertificates([]byte(whole.Chain)))}
	}
	byACME := func() holder {
		t.Helper()
		key := newKey(t)
		chain := must[*acme.Chain](t)(web.obtain(within(t, long), s.client(), key, name))
		return holder{key, chain.Certificates}
	}
	revoked := enrolled()
	revocation := desk.Revoking{Which: desk.Which{Serial: string(ca.SerialOf(revoked.chain[0].SerialNumber))}, Reason: "keyCompromise"}
	must[desk.Certificate](t)(ask[desk.Revoking, desk.Certificate](s, "cert.revoke", revocation))

	count := func() int {
		t.Helper()
		return len(must[desk.Found](t)(ask[desk.Search, desk.Found](s, "cert.list", desk.Search{Limit: 1000})).Certificates)
	}
	local := est.WellKnown + "/local"
	for _, test := range []struct {
		who   string
		shown holder
		path  string
		lets  bool
	}{
		{"a device's", enrolled(), est.WellKnown, true},
		{"a device's of the other label", signed("ldevid", nil), local, true},
		{"a device's of another label", signed("ldevid", nil), est.WellKnown, false},
		{"a device's at another label", enrolled(), local, false},
		{"a web server's, by ACME", byACME(), est.WellKnown, false},
		{"a web server's, by ACME, at the other label", byACME(), local, false},
		{"a TLS client's", signed("tls-client", nil), est.WellKnown, false},
		{"a registration authority's", signed("ra", &desk.Subject{CommonName: name}), est.WellKnown, false},
		{"a TLS client's, at the other label", signed("tls-client", nil), local, false},
		{"a revoked one", revoked, est.WellKnown, false},
	} {
		issued := count()
		for _, operation := range []string{"simpleenroll", "simplereenroll"} {
			d := newDevice(t, s, s.Public)
			raw := [][]byte{}
			for _, one := range test.shown.chain {
				raw = append(raw, one.Raw)
			}
			d.tls.Certificates = []tls.Certificate{{Certificate: raw, PrivateKey: test.shown.key}}
			res, body := d.enroll(test.path+"/"+operation, csrFor(t, newKey(t), name), nil)
			want := http.StatusUnauthorized // a password would do
			switch {
			case test.lets:
				want = http.StatusOK
			case test.path == local:
				want = http.StatusForbidden
			}
			if res.StatusCode != want || want == http.StatusForbidden && !strings.Contains(string(body), "profile") {
				t.Errorf("%s, %s: %s: %s", test.who, operation, res.Status, body)
			}
		}
		if n := count() - issued; test.lets == (n == 0) {
			t.Errorf("%s: %d certificates came of it", test.who, n)
		}
	}
	// Beside a password it neither helps nor harms.
	d, shown := newDevice(t, s, s.Public), byACME()
	d.tls.Certificates = []tls.Certificate{{Certificate: [][]byte{shown.chain[0].Raw}, PrivateKey: shown.key}}
	if res, body := d.enroll(est.WellKnown+"/simpleenroll", csrFor(t, newKey(t), name), login); res.StatusCode != http.StatusOK {
		t.Errorf("a web server's certificate and a password: %s %s", res.Status, body)
	}
	if res, _ := d.enroll(est.WellKnown+"/simpleenroll", csrFor(t, newKey(t), "a.elsewhere.example"), login); res.StatusCode != http.StatusForbidden {
		t.Errorf("a name that neither may have: %s", res.Status)
	}
}
