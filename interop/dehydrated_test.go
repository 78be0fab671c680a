package interop_test

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"

	"chancery/internal/acmeserver"
	"chancery/internal/desk"
	"chancery/internal/peertest"
	"chancery/testca"
)

type dehydrated struct {
	*world
	path, config string
}

func newDehydrated(t *testing.T, options ...testca.Option) dehydrated {
	path := peertest.Need(t, "dehydrated")
	d := dehydrated{world: start(t, options...), path: path}
	d.configure("")
	return d
}

// configure writes the configuration, with more lines at its end.
func (d *dehydrated) configure(more string) {
	d.t.Helper()
	d.config = d.write("dehydrated.conf", fmt.Sprintf(`
CA=%q
CURL_OPTS="--cacert %s"
BASEDIR=%q
WELLKNOWN=%q
ALPNCERTDIR=%q
CONTACT_EMAIL=who@a.example
KEYSIZE=2048
HOOK=%q
%s
`, d.Directory, d.root, filepath.Join(d.dir, "dehydrated"), d.challenges(), filepath.Join(d.dir, "alpn"), d.hook(), more))
}

// hook sets TXT records when the challenge is dns-01, and does nothing else.
func (d *dehydrated) hook() string {
	return d.script("dehydrated-hook", `
case $1 in
deploy_challenge) [ "$CHALLENGETYPE" != dns-01 ] || curl -sSf -X PUT --data-binary "$4" "$CONTROL/txt/_acme-challenge.$2" ;;
clean_challenge) [ "$CHALLENGETYPE" != dns-01 ] || curl -sSf -X DELETE "$CONTROL/txt/_acme-challenge.$2" ;;
esac`)
}

func (d *dehydrated) command(words ...string) command {
	return command{name: d.path, args: append([]string{"-f", d.config}, words...)}
}

func (d *dehydrated) do(words ...string) string {
	d.t.Helper()
	// It keeps everything below BASEDIR, which must be there.
	d.run(command{name: "/bin/mkdir", args: []string{"-p", "dehydrated", "alpn"}})
	return d.run(d.command(words...))
}

func (d *dehydrated) chain(name string) split {
	d.t.Helper()
	return d.split(d.one("dehydrated/certs", name, "fullchain.pem"))
}

func TestDehydratedHTTP(t *testing.T) {
	d := newDehydrated(t, testca.Terms("https://ca.example/terms"))
	d.serveWebroot()
	p := d.party()
	d.do("--register", "--accept-terms")
	d.do("-c", "-t", "http-01", "-a", "prime256v1", "-d", "a.example b.example")
	first := d.chain("a.example")
	p.good(first, "a.example", "b.example")
	wantKey(t, first, "ECDSA")

	d.do("-c", "-x", "-t", "http-01", "-a", "prime256v1", "-d", "a.example b.example")
	second := d.chain("a.example")
	p.good(second, "a.example", "b.example")
	wantRenewed(t, first, second)
	d.do("-r", "dehydrated/certs/a.example/cert.pem")
	p.revoked(second, "")
	p.good(first, "a.example", "b.example")

	d.do("-c", "-t", "http-01", "-a", "rsa", "-d", "rsa.example")
	rsa := d.chain("rsa.example")
	p.good(rsa, "rsa.example")
	wantKey(t, rsa, "RSA 2048")
}

func TestDehydratedDNSAndWildcard(t *testing.T) {
	d := newDehydrated(t)
	d.do("--register", "--accept-terms")
	d.do("-c", "-t", "dns-01", "-d", "*.w.example w.example", "--alias", "wild")
	d.party().good(d.chain("wild"), "*.w.example", "w.example")
}

// dehydrated makes the challenge's certificate; the web server is ours to bring.
func TestDehydratedTLSALPN(t *testing.T) {
	d := newDehydrated(t)
	config := &tls.Config{NextProtos: []string{"acme-tls/1"}, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		base := filepath.Join(d.dir, "alpn", hello.ServerName)
		cert, err := tls.LoadX509KeyPair(base+".crt.pem", base+".key.pem")
		return &cert, err
	}}
	serve(t, tls.NewListener(listen(t, fmt.Sprintf("127.0.0.1:%d", d.TLSPort)), config), nil)
	d.do("--register", "--accept-terms")
	d.do("-c", "-t", "tls-alpn-01", "-d", "a.example")
	d.party().good(d.chain("a.example"), "a.example")
}

func TestDehydratedBinding(t *testing.T) {
	d := newDehydrated(t, testca.RequireEAB())
	d.serveWebroot()
	d.do("--version")
	d.refused(d.command("--register", "--accept-terms"), "EAB", "external account")
	key := d.bindingKey()
	d.configure(fmt.Sprintf("EAB_KID=%q\nEAB_HMAC_KEY=%q", key.ID, key.Secret))
	d.do("--register", "--accept-terms")
	d.do("-c", "-t", "http-01", "-d", "a.example")
	d.party().good(d.chain("a.example"), "a.example")
}

// account is the id of the account, the last part of its URL.
func (d *dehydrated) account() string {
	d.t.Helper()
	text, err := os.ReadFile(d.one("dehydrated/accounts/*/account_id.json"))
	if err != nil {
		d.t.Fatal(err)
	}
	var known struct {
		ID  string `json:"id"`
		URL string `json:"url"`
	}
	if err := json.Unmarshal(text, &known); err != nil {
		d.t.Fatal(err)
	}
	return path.Base(cmp.Or(known.URL, known.ID))
}

func TestDehydratedAccount(t *testing.T) {
	d := newDehydrated(t)
	d.do("--register", "--accept-terms")
	d.configure("CONTACT_EMAIL=else@a.example")
	d.do("--account")
	account := operate[acmeserver.Named, acmeserver.AccountShown](d.world, "acme.account.show", acmeserver.Named{ID: d.account()})
	if !slices.Equal(account.Contacts, []string{"mailto:else@a.example"}) {
		t.Errorf("after the update the account's contacts are %q", account.Contacts)
	}
	d.do("--deactivate")
	d.refused(d.command("-c", "-t", "http-01", "-d", "a.example"), "Account has been deactivated")
}

func TestDehydratedPreferredChain(t *testing.T) {
	d := newDehydrated(t)
	d.serveWebroot()
	operate[desk.Line, desk.RolledOver](d.world, "ca.rollover", desk.Line{Name: "root", NewName: true})
	d.do("--register", "--accept-terms")
	d.do("-c", "-t", "http-01", "-d", "a.example", "--preferred-chain", d.Root.Subject.CommonName)
	d.party().good(d.chain("a.example"), "a.example")
}
