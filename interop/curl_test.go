package interop_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"chancery/internal/acmeserver"
	"chancery/internal/admin"
	"chancery/internal/peertest"
	"chancery/testca"
)

// curled is an answer as curl gives it.
type curled struct {
	status, kind string
	headers      string // all of them, in small letters
	body         string
}

func (p party) get(args ...string) curled {
	p.t.Helper()
	const mark = "\n--curled--\n"
	all := append([]string{"-sS", "--cacert", p.trust, "-D", "headers.txt", "-w", mark + "%{http_code} %{content_type}"}, args...)
	body, end, found := strings.Cut(p.run(command{name: p.curl, args: all}), mark)
	if !found {
		p.t.Fatalf("curl %q said %q", args, body)
	}
	c := curled{body: body}
	c.status, c.kind, _ = strings.Cut(end, " ")
	c.headers = strings.ToLower(p.run(command{name: "/bin/cat", args: []string{"headers.txt"}}))
	return c
}

// A person with curl finds the way from the host's name alone.
func TestCurlDirectory(t *testing.T) {
	w := start(t, testca.Terms("https://ca.example/terms"))
	p := w.party()
	directory := p.get(w.Directory)
	if directory.status != "200" || directory.kind != "application/json" {
		t.Errorf("the directory: %+v", directory)
	}
	// Not a redirect: uacme and mod_md do not follow one.
	if known := p.get(w.Base + "/.well-known/acme"); known.status != "200" || known.body != directory.body {
		t.Errorf("/.well-known/acme: %+v", known)
	}
	var links map[string]any
	if err := json.Unmarshal([]byte(directory.body), &links); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"newNonce", "newAccount", "newOrder", "newAuthz", "revokeCert", "keyChange", "renewalInfo"} {
		link, ok := links[name].(string)
		if !ok || !strings.HasPrefix(link, w.Base+"/") {
			t.Errorf("%s is %v", name, links[name])
			continue
		}
		if name == "renewalInfo" {
			link += "/AQ.AQ" // no such certificate
		}
		// All that is advertised is there: it refuses what is not signed, and what
		// takes no POST.
		if got := p.get("-X", "POST", "-H", "Content-Type: application/jose+json", "-d", "{}", link); got.status != "400" && got.status != "405" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if meta, ok := links["meta"].(map[string]any); !ok || meta["termsOfService"] != "https://ca.example/terms" {
		t.Errorf("meta is %v", links["meta"])
	}
	nonce := p.get("-I", links["newNonce"].(string))
	if nonce.status != "200" || !strings.Contains(nonce.headers, "replay-nonce: ") || !strings.Contains(nonce.headers, "cache-control: no-store") {
		t.Errorf("newNonce: %+v", nonce)
	}
	// RFC 8555 §6.3: what wants a POST-as-GET answers a GET with 405.
	if got := p.get(links["newOrder"].(string)); got.status != "405" || got.kind != "application/problem+json" || !strings.Contains(got.headers, "allow: post") {
		t.Errorf("GET of newOrder: %+v", got)
	}
	if got := p.get(w.Base + "/acme/no-such"); got.status != "404" {
		t.Errorf("nothing there: %+v", got)
	}
}

// The base URL is fixed: the name by which a client came does not change it.
func TestCurlOtherName(t *testing.T) {
	w := start(t)
	p := w.party()
	u, err := url.Parse(w.Base)
	if err != nil {
		t.Fatal(err)
	}
	want := p.get(w.Directory)
	got := p.get("-H", "Host: evil.example", "-H", "X-Forwarded-Host: evil.example", w.Directory)
	if got.body != want.body {
		t.Errorf("under another name: %s", got.body)
	}
	if got = p.get("https://127.0.0.1:" + u.Port() + "/acme/directory"); got.body != want.body {
		t.Errorf("by address: %s", got.body)
	}
}

// Plain HTTP on the same port gives status only, and never the ACME server.
func TestCurlPlainHTTP(t *testing.T) {
	w := start(t)
	p := w.party()
	plain := "http" + strings.TrimPrefix(w.Base, "https")
	got := p.get(plain + "/acme/directory")
	if got.status != "400" || !strings.Contains(got.body, w.Directory) {
		t.Errorf("the directory over plain HTTP: %+v", got)
	}
	// TLS below 1.2 is refused.
	p.refused(command{name: p.curl, args: []string{"-sS", "--cacert", p.trust, "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", w.Directory}}, "alert", "protocol version")
	said := p.run(command{name: peertest.Need(t, "openssl"), args: []string{"s_client", "-connect", strings.TrimPrefix(w.Base, "https://"),
		"-CAfile", p.trust, "-verify_return_error", "-verify_hostname", "localhost", "-brief"}})
	if !strings.Contains(said, "Verification: OK") {
		t.Errorf("openssl s_client: %s", said)
	}
}

// A withdrawn key opens no account.
func TestWithdrawnBinding(t *testing.T) {
	l := newLego(t, testca.RequireEAB())
	key := l.bindingKey()
	operate[acmeserver.Named, struct{}](l.world, "eab.withdraw", acmeserver.Named{ID: key.ID})
	l.refused(l.command(with([]string{"--eab", "--kid", key.ID, "--hmac", key.Secret, "--domains", "a.example"}, l.http(), []string{"run"})...), "unauthorized")
	client := admin.Dial(l.Socket)
	defer client.Close()
	keys, err := admin.Call[struct{}, acmeserver.KeysShown](t.Context(), client, "eab.list", struct{}{})
	if err != nil || len(keys.Keys) != 1 || keys.Keys[0].State != "withdrawn" {
		t.Errorf("%+v, %v", keys, err)
	}
}
