package interop_test

import (
	"fmt"
	"strings"
	"testing"

	"chancery/internal/desk"
	"chancery/internal/peertest"
	"chancery/testca"
)

type lego struct {
	*world
	path string
}

func newLego(t *testing.T, options ...testca.Option) lego {
	path := peertest.Need(t, "lego")
	return lego{start(t, options...), path}
}

// command is lego with everything that points it at this world; words are the
// global options, the verb and its options, as lego wants them.
func (l lego) command(words ...string) command {
	all := []string{"--accept-tos", "--email", "who@a.example", "--server", l.Directory, "--path", "lego"}
	return command{
		env:  []string{"LEGO_CA_CERTIFICATES=" + l.root, "EXEC_PATH=" + l.hook(), "EXEC_SEQUENCE_INTERVAL=0"},
		name: l.path, args: append(all, words...),
	}
}

// hook sets TXT records for lego's "exec" provider.
func (l lego) hook() string {
	return l.script("lego-hook", `
case $1 in
present) curl -sSf -X PUT --data-binary "$3" "$CONTROL/txt/$2" ;;
cleanup) curl -sSf -X DELETE "$CONTROL/txt/$2" ;;
esac`)
}

func (l lego) do(words ...string) string {
	l.t.Helper()
	return l.run(l.command(words...))
}

func (l lego) http() []string {
	return []string{"--http", "--http.port", fmt.Sprintf("127.0.0.1:%d", l.HTTPPort)}
}

func (l lego) chain(name string) split {
	l.t.Helper()
	return l.split(l.one("lego/certificates", name+".crt"))
}

// with joins lists of words.
func with(lists ...[]string) []string {
	var all []string
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

func TestLegoHTTP(t *testing.T) {
	legoHTTP(t, newLego(t, testca.Terms("https://ca.example/terms")))
}

// The other engine, the same life.
func TestLegoOnPostgreSQL(t *testing.T) {
	legoHTTP(t, newLego(t, testca.Database(peertest.Postgres(t))))
}

func legoHTTP(t *testing.T, l lego) {
	t.Helper()
	p := l.party()
	names := []string{"--domains", "a.example", "--domains", "b.example"}
	l.do(with(names, l.http(), []string{"run"})...)
	first := l.chain("a.example")
	p.good(first, "a.example", "b.example")
	wantKey(t, first, "ECDSA")

	l.do(with(names, l.http(), []string{"renew", "--no-random-sleep", "--days", "4000"})...)
	second := l.chain("a.example")
	p.good(second, "a.example", "b.example")
	wantRenewed(t, first, second)

	l.do("--domains", "a.example", "revoke", "--keep", "--reason", "4")
	p.revoked(second, "superseded")
	p.good(first, "a.example", "b.example")

	l.do(with([]string{"--domains", "rsa.example", "--key-type", "rsa2048"}, l.http(), []string{"run"})...)
	rsa := l.chain("rsa.example")
	p.good(rsa, "rsa.example")
	wantKey(t, rsa, "RSA 2048")
}

func TestLegoTLSALPN(t *testing.T) {
	l := newLego(t)
	l.do("--domains", "a.example", "--domains", "b.example", "--tls", "--tls.port", fmt.Sprintf("127.0.0.1:%d", l.TLSPort), "run")
	l.party().good(l.chain("a.example"), "a.example", "b.example")
}

func TestLegoDNSAndWildcard(t *testing.T) {
	l := newLego(t)
	l.do("--domains", "*.w.example", "--domains", "w.example", "--dns", "exec", "--dns.disable-cp", "--dns.resolvers", l.DNS(), "run")
	l.party().good(l.chain("_.w.example"), "*.w.example", "w.example")
}

// A CSR from elsewhere, with nothing but names in it.
func TestLegoCSR(t *testing.T) {
	l := newLego(t)
	p := l.party()
	p.ssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-keyout", "leaf.key", "-subj", "/",
		"-addext", "subjectAltName=DNS:c.example,DNS:a.example", "-out", "leaf.csr")
	l.do(with([]string{"--csr", "leaf.csr"}, l.http(), []string{"run"})...)
	p.good(l.split(l.one("lego/certificates", "*.example.crt")), "a.example", "c.example")
}

func TestLegoBinding(t *testing.T) {
	l := newLego(t, testca.RequireEAB())
	order := func(bind ...string) command {
		return l.command(with(bind, []string{"--domains", "a.example"}, l.http(), []string{"run"})...)
	}
	l.refused(order(), "external account binding", "EAB", "External Account Binding")
	key := l.bindingKey()
	l.refused(order("--eab", "--kid", key.ID, "--hmac", strings.Repeat("A", len(key.Secret))), "binding does not verify")
	l.run(order("--eab", "--kid", key.ID, "--hmac", key.Secret))
	l.party().good(l.chain("a.example"), "a.example")
	// A key opens one account only.
	l.run(command{name: "/bin/rm", args: []string{"-r", "lego"}})
	l.refused(order("--eab", "--kid", key.ID, "--hmac", key.Secret), "unauthorized")
}

func TestLegoPreferredChain(t *testing.T) {
	l := newLego(t)
	operate[desk.Line, desk.RolledOver](l.world, "ca.rollover", desk.Line{Name: "root", NewName: true})
	p := l.party()
	l.do(with([]string{"--domains", "a.example"}, l.http(), []string{"run", "--preferred-chain", l.Root.Subject.CommonName})...)
	p.good(l.chain("a.example"), "a.example")
}
