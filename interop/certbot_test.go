package interop_test

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"

	"chancery/internal/desk"
	"chancery/internal/peertest"
	"chancery/testca"
)

type certbot struct {
	*world
	path string
}

func newCertbot(t *testing.T, options ...testca.Option) certbot {
	path := peertest.Need(t, "certbot")
	return certbot{start(t, options...), path}
}

// command is certbot with everything that points it at this world.
func (c certbot) command(verb string, args ...string) command {
	all := []string{verb, "-n", "--server", c.Directory, "--config-dir", "certbot/etc", "--work-dir", "certbot/work", "--logs-dir", "certbot/log"}
	return command{env: []string{"REQUESTS_CA_BUNDLE=" + c.root}, name: c.path, args: append(all, args...)}
}

func (c certbot) do(verb string, args ...string) string {
	c.t.Helper()
	return c.run(c.command(verb, args...))
}

var certbotAgrees = []string{"--agree-tos", "--register-unsafely-without-email"}

// http are the arguments of an order validated by certbot's own web server.
func (c certbot) http(names ...string) []string {
	args := append([]string{"--standalone", "--http-01-address", "127.0.0.1", "--http-01-port", fmt.Sprint(c.HTTPPort)}, certbotAgrees...)
	for _, name := range names {
		args = append(args, "-d", name)
	}
	return args
}

func (c certbot) dns(names ...string) []string {
	auth := c.script("certbot-auth", `curl -sSf -X PUT --data-binary "$CERTBOT_VALIDATION" "$CONTROL/txt/_acme-challenge.$CERTBOT_DOMAIN"`)
	clean := c.script("certbot-clean", `curl -sSf -X DELETE "$CONTROL/txt/_acme-challenge.$CERTBOT_DOMAIN"`)
	args := append([]string{"--manual", "--preferred-challenges", "dns", "--manual-auth-hook", auth, "--manual-cleanup-hook", clean}, certbotAgrees...)
	for _, name := range names {
		args = append(args, "-d", name)
	}
	return args
}

// live is the chain that certbot holds under a name.
func (c certbot) live(name string) split {
	c.t.Helper()
	return c.split(c.one("certbot/etc/live", name, "fullchain.pem"))
}

func TestCertbotHTTP(t *testing.T) {
	c := newCertbot(t, testca.Terms("https://ca.example/terms"))
	p := c.party()
	c.do("certonly", append(c.http("a.example", "b.example"), "--key-type", "ecdsa", "--cert-name", "one")...)
	first := c.live("one")
	p.good(first, "a.example", "b.example")
	wantKey(t, first, "ECDSA")

	c.do("renew", "--force-renewal", "--no-random-sleep-on-renew", "--cert-name", "one")
	second := c.live("one")
	p.good(second, "a.example", "b.example")
	wantRenewed(t, first, second)

	c.do("certonly", append(c.http("rsa.example"), "--key-type", "rsa", "--rsa-key-size", "3072", "--cert-name", "two")...)
	rsa := c.live("two")
	p.good(rsa, "rsa.example")
	wantKey(t, rsa, "RSA 3072")

	c.do("revoke", "--cert-name", "one", "--reason", "superseded", "--no-delete-after-revoke")
	p.revoked(second, "superseded")
	p.good(first, "a.example", "b.example")
	// By the certificate's own key; the account is not asked.
	c.do("revoke", "--cert-path", "certbot/etc/live/two/cert.pem", "--key-path", "certbot/etc/live/two/privkey.pem",
		"--reason", "keycompromise", "--no-delete-after-revoke")
	p.revoked(rsa, "keyCompromise")
}

func TestCertbotDNSAndWildcard(t *testing.T) {
	c := newCertbot(t)
	c.do("certonly", append(c.dns("w.example", "*.w.example", "other.example"), "--cert-name", "wild")...)
	c.party().good(c.live("wild"), "w.example", "*.w.example", "other.example")
}

func TestCertbotWildcardNeedsDNS(t *testing.T) {
	c := newCertbot(t)
	c.refused(c.command("certonly", c.http("*.w.example")...), "does not support any combination of challenges")
}

// Account life: made, changed, ended.
func TestCertbotAccount(t *testing.T) {
	c := newCertbot(t, testca.Terms("https://ca.example/terms"))
	c.do("register", "--agree-tos", "-m", "one@a.example", "--no-eff-email")
	c.do("update_account", "-m", "two@a.example,three@a.example", "--no-eff-email")
	if said := c.do("show_account"); !strings.Contains(said, "two@a.example") || !strings.Contains(said, "three@a.example") {
		t.Errorf("after the update certbot is told: %s", said)
	}
	c.do("unregister")
	c.refused(c.command("update_account", "-m", "four@a.example", "--no-eff-email"), "Could not find an existing account")
}

func TestCertbotBinding(t *testing.T) {
	c := newCertbot(t, testca.RequireEAB())
	c.refused(c.command("certonly", c.http("a.example")...), "external account binding", "External Account Binding")
	key := c.bindingKey()
	wrong := append(c.http("a.example"), "--eab-kid", key.ID, "--eab-hmac-key", strings.Repeat("A", len(key.Secret)))
	c.refused(c.command("certonly", wrong...), "binding does not verify")
	c.do("certonly", append(c.http("a.example"), "--eab-kid", key.ID, "--eab-hmac-key", key.Secret)...)
	c.party().good(c.live("a.example"), "a.example")
}

// After the root is replaced, certbot chooses among the chains by the name of
// the authority on top.
func TestCertbotPreferredChain(t *testing.T) {
	c := newCertbot(t)
	made := operate[desk.Line, desk.RolledOver](c.world, "ca.rollover", desk.Line{Name: "root", NewName: true})
	newRoot := certificates(t, []byte(made.Made[0].PEM))[0]
	if c.Root.Subject.CommonName == newRoot.Subject.CommonName {
		t.Fatalf("both roots are called %q", newRoot.Subject.CommonName)
	}
	for _, root := range []*x509.Certificate{c.Root, newRoot} {
		name := root.Subject.CommonName
		c.do("certonly", append(c.http("a.example"), "--preferred-chain", name, "--force-renewal", "--cert-name", "one")...)
		s := c.live("one")
		if got := s.all[len(s.all)-1].Issuer.CommonName; got != name {
			t.Errorf("the chain that certbot chose for %q ends below %q", name, got)
		}
		p := c.party()
		p.trust = c.write("chosen.pem", string(encode([]*x509.Certificate{root})))
		p.good(s, "a.example")
	}
}
