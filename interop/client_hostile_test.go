package interop_test

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"chancery/internal/enroll"
	"chancery/internal/enroll/settings"
	"chancery/internal/enroll/vault"
)

// A discovered CA sends its client elsewhere: nothing is connected to but the CA.
func TestClientIsNotSentElsewhere(t *testing.T) {
	l := newLab(t)
	l.serveWebroot()
	directory := l.pebble(pebbleSetup{})
	bad, good := l.front(directory), l.front(directory)
	l.caa("shop.test", bad.issuer+"; priority=1", good.issuer+"; priority=2")
	redirect := func(to string) func() {
		return func() {
			bad.set(func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, to, http.StatusFound)
				return true
			})
		}
	}
	member := func(name, to string) func() {
		return func() {
			bad.setRewrite(func(path string, object map[string]any) {
				if path == bad.at {
					object[name] = to
				}
			})
		}
	}
	orders := func(name string, to any) func() {
		return func() { bad.orders(func(o map[string]any) { o[name] = to }) }
	}
	inside := "https://localhost:" + bad.base.Port() + "/dir" // it is there, on loopback
	for _, c := range []struct {
		name string
		do   func()
		most int64
	}{
		{"loopback", redirect(inside), 1},
		{"loopback by address", redirect("https://127.0.0.1:" + bad.base.Port() + "/dir"), 1},
		{"loopback as IPv6", redirect("https://[::ffff:127.0.0.1]:" + bad.base.Port() + "/dir"), 1},
		{"loopback as a number", redirect("https://2130706433:" + bad.base.Port() + "/dir"), 1},
		{"metadata", redirect("https://169.254.169.254/latest/meta-data"), 1},
		{"private", redirect("https://10.1.2.3/dir"), 1},
		{"plain http", redirect("http://" + bad.issuer + "/dir"), 1},
		{"a file", redirect("file:///etc/passwd"), 1},
		{"a user in the URL", redirect("https://" + good.issuer + "@" + bad.issuer + "/dir"), 1},
		{"a loop", redirect("https://" + bad.issuer + "/.well-known/acme"), 6},
		{"newNonce inside", member("newNonce", inside), 2},
		{"newAccount inside", member("newAccount", inside), 3},
		{"newOrder inside", member("newOrder", inside), 5},
		{"newOrder plain", member("newOrder", "http://"+bad.issuer+"/order-plz"), 2},
		{"newOrder a script", member("newOrder", "javascript:alert(1)"), 2},
		{"authorisations inside", orders("authorizations", []string{inside}), 8},
		{"finalize inside", orders("finalize", inside), 20},
		{"certificate inside", orders("certificate", inside), 24},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad.well()
			good.well()
			c.do()
			d := l.open(c.name, opening{change: func(s *settings.Settings) {
				s.Discovery.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.1.0/24")} // the lab's public Internet
			}})
			l.dialled()
			out := d.from(t, good, "shop.test")
			for _, address := range l.dialled() {
				if !strings.HasPrefix(address, "127.0.1.") || !strings.HasSuffix(address, ":443") {
					t.Errorf("it connected to %s", address)
				}
			}
			if a := out.Attempts[0]; a.Class == enroll.ClassNone || a.Error == "" {
				t.Errorf("%+v", a)
			}
			if n := bad.seen.Load(); n > c.most*2 {
				t.Errorf("%d requests, at most %d a try", n, c.most)
			}
		})
	}
}

// A CA that sends without end: bounded time, and bounded memory of the real process.
func TestClientBoundsWhatItReads(t *testing.T) {
	l := newLab(t)
	l.serveWebroot()
	directory := l.pebble(pebbleSetup{})
	bad, good := l.front(directory), l.front(directory)
	l.caa("shop.test", bad.issuer+"; priority=1", good.issuer+"; priority=2")
	file := l.settingsFile("client", "")
	const size = 1 << 30
	chunk := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	for range size / len(chunk) / 4 {
		if _, err := z.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	flood := func(path, begin string, length bool) fault {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != path {
				return false
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Replay-Nonce", "bm9uY2Utb2YtYS10ZXN0LWZyb250")
			if length {
				w.Header().Set("Content-Length", fmt.Sprint(size+len(begin)))
			}
			_, _ = io.WriteString(w, begin)
			for sent := 0; sent < size; sent += len(chunk) {
				if _, err := w.Write(chunk); err != nil {
					break
				}
			}
			return true
		}
	}
	for name, bad1 := range map[string]fault{
		"a directory of 1 GB":             flood("/.well-known/acme", `{"newNonce":"`, false),
		"a directory of 1 GB, as it says": flood("/.well-known/acme", `{"newNonce":"`, true),
		"an order of 1 GB":                flood("/order-plz", `{"status":"`, false),
		"an account of 1 GB":              flood("/sign-me-up", `{"status":"`, true),
		"a zip bomb": func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(zipped.Bytes())
			return true
		},
		"nesting": answer("/.well-known/acme", 200, "application/json", strings.Repeat(`{"meta":`, 100000)),
		"a long header": func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("X", strings.Repeat("x", 8<<20))
			return false
		},
		"drops": func(w http.ResponseWriter, r *http.Request) bool { // an octet now and then, for ever
			w.WriteHeader(200)
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte(" "))
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(50 * time.Millisecond):
				}
			}
			return true
		},
	} {
		bad.well()
		bad.set(bad1)
		data := filepath.Join(l.dir, "data-"+strings.ReplaceAll(name, " ", "-"))
		args := []string{"get", "--config", file, "--data", data, "shop.test"}
		r := l.ends(t, 0, args...)
		if !strings.Contains(r.out, "Ready: a certificate from "+good.issuer) {
			t.Errorf("%s: %s", name, r)
		}
		if r.peak == 0 || r.peak > 150<<20 {
			t.Errorf("%s: the process needed %d MB", name, r.peak>>20)
		}
		harmless(t, name, r.out+r.errors)
	}
}

// evil is what a CA may write wherever it can write text.
const evil = "\x1b]0;owned\x07\x1b[2J$(touch pwned)`touch pwned`;touch pwned|touch pwned&\"';\r\nINJECTED: all is well\u202e\u009b31m\x7f\x00"

// harmless wants nothing raw in what a terminal gets.
func harmless(t *testing.T, name, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s: the output is not UTF-8", name)
	}
	for line := range strings.Lines(text) {
		for _, r := range strings.TrimSuffix(line, "\n") {
			if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
				t.Errorf("%s: %U is in the output, raw: %q", name, r, line)
				break
			}
		}
		if strings.HasPrefix(strings.TrimSpace(line), "INJECTED") {
			t.Errorf("%s: the CA wrote a line of its own: %q", name, line)
		}
	}
}

// Shell and control characters in every text that a CA sends, through the real binary with
// a hook for DNS records and a deploy hook: nothing is executed, nothing reaches the
// terminal as it was sent, and no file is written that the CA chose.
func TestClientShowsStrangersTextHarmlessly(t *testing.T) {
	l := newLab(t)
	l.serveWebroot()
	named := newSealer(t, evil)
	unknown := newSealer(t, evil)
	directory := l.pebble(pebbleSetup{})
	l.anchor(named.cert)
	bad := l.front(directory)
	file := l.settingsFile("client", "")
	foreign := named.sign(t, &x509.Certificate{DNSNames: []string{"x.test"}, Subject: pkix.Name{CommonName: "x.test"}}, ecKey(t).Public())
	problem := func(path, typ string) func() {
		text, _ := json.Marshal(map[string]any{"type": typ, "title": evil, "detail": evil, "instance": "https://x.test/" + evil,
			"subproblems": []any{map[string]any{"type": evil, "detail": evil, "identifier": map[string]any{"type": "dns", "value": evil}}}})
		return func() { bad.set(answer(path, 403, "application/problem+json", string(text))) }
	}
	rewrite := func(change func(path string, object map[string]any)) func() { return func() { bad.setRewrite(change) } }
	authorizations := func(change func(authz map[string]any)) func() {
		return rewrite(func(_ string, object map[string]any) {
			if _, ok := object["challenges"]; ok {
				change(object)
			}
		})
	}
	forged := func(s *sealer, template x509.Certificate) func() {
		return func() {
			bad.set(bad.forging(s, func(csr *x509.CertificateRequest) (*x509.Certificate, crypto.PublicKey) {
				mine := template
				if mine.DNSNames == nil {
					mine.DNSNames = csr.DNSNames
				}
				return &mine, csr.PublicKey
			}))
		}
	}
	// What the CA wrote there is not shown at all.
	unsaid := []string{"terms for a shell", "somebody else's name", "the status line", "names of the certificate", "the issuer's name"}
	const ns = "urn:ietf:params:acme:error:"
	for _, c := range []struct {
		name   string
		issued bool // a certificate comes of it all the same
		do     func()
	}{
		{"a problem", false, problem("/order-plz", ns+"malformed")},
		{"an unknown problem", false, problem("/order-plz", evil)},
		{"a page to visit", false, problem("/sign-me-up", ns+"userActionRequired")},
		{"a compound problem", false, problem("/finalize-order", ns+"compound")},
		{"a problem at the directory", false, problem("/.well-known/acme", ns+"serverInternal")},
		{"terms for a shell", true, func() {
			bad.setMeta(func(m map[string]any) { m["termsOfService"] = "https://x.test/$(touch$IFS'pwned');`id`" })
		}},
		{"terms that are no URL", false, func() { bad.setMeta(func(m map[string]any) { m["termsOfService"] = "https://x.test/" + evil }) }},
		{"meta", false, func() {
			bad.setMeta(func(m map[string]any) {
				m["website"], m["caaIdentities"], m["profiles"] = "https://x.test/"+evil, []string{evil}, map[string]string{evil: evil}
			})
		}},
		{"profiles", false, func() {
			bad.setMeta(func(m map[string]any) { m["profiles"] = map[string]string{"default": evil, evil: evil} })
		}},
		{"URLs of the directory", false, rewrite(func(path string, o map[string]any) {
			if path == bad.at {
				o["newOrder"] = "https://" + evil + "/"
			}
		})},
		{"the order's error", false, func() {
			bad.orders(func(o map[string]any) {
				o["status"], o["error"] = "invalid", map[string]any{"type": ns + "rejectedIdentifier", "detail": evil}
			})
		}},
		{"the challenge's error", false, authorizations(func(a map[string]any) {
			a["status"] = "invalid"
			for _, ch := range a["challenges"].([]any) {
				ch.(map[string]any)["error"] = map[string]any{"type": ns + "dns", "detail": evil}
			}
		})},
		{"types of challenges", false, authorizations(func(a map[string]any) {
			for _, ch := range a["challenges"].([]any) {
				ch.(map[string]any)["type"] = evil
			}
		})},
		{"tokens", false, authorizations(func(a map[string]any) {
			for _, ch := range a["challenges"].([]any) {
				ch.(map[string]any)["token"] = "../../../pwned;" + evil
			}
		})},
		{"somebody else's name", false, authorizations(func(a map[string]any) {
			a["identifier"] = map[string]any{"type": "dns", "value": "victim.test"}
		})},
		{"no name at all", false, authorizations(func(a map[string]any) { a["identifier"] = map[string]any{"type": "dns", "value": evil} })},
		{"Location and Link", false, func() {
			bad.set(func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Link", "<"+evil+">;rel=\"alternate\", <file:///etc/passwd>;rel=\"alternate\"")
				w.Header().Set("Location", "https://x.test/"+evil)
				return answer("/sign-me-up", 201, "application/json", `{"status":"valid"}`)(w, r)
			})
		}},
		{"the status line", false, func() { bad.set(statusLine) }},
		{"names of the certificate", false, forged(named, x509.Certificate{DNSNames: []string{"x.test"}, Subject: pkix.Name{CommonName: evil, Organization: []string{evil}}})},
		{"an unknown issuer's name", false, forged(unknown, x509.Certificate{})},
		{"the issuer's name", true, forged(named, x509.Certificate{})},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad.well()
			c.do()
			name := strings.ReplaceAll(strings.ReplaceAll(c.name, " ", "-"), "'", "") + ".test"
			name = strings.ToLower(name)
			l.caa(name, bad.issuer)
			data := filepath.Join(l.dir, "data-"+name)
			l.write("place.pem", encodePEM(foreign))
			hook := filepath.Join(l.dir, "hooked-"+name)
			var said []string
			run := func(args ...string) ran {
				r := l.exec(t, append(args, "--config", file, "--data", data)...)
				said = append(said, r.out+r.errors)
				return r
			}
			run("discover", name)
			run("discover", name, "--json")
			in := run("get", name, "--fullchain", "place.pem") // a stranger's certificate is there, for other names
			if in.code != 3 || !strings.Contains(in.errors+in.out, "allow-ca-change") {
				t.Errorf("a stranger's certificate in place: %s", in)
			}
			deploy := []string{"--deploy", `echo "$CHANCERY_ISSUER $CHANCERY_NAMES" > deployed; env | sort >> deployed`}
			first := run(append([]string{"get", name, "--force"}, deploy...)...)
			if (first.code == 0) != c.issued {
				t.Errorf("get ended so: %s", first)
			}
			second := run(append([]string{"get", name, "--force", "--json"}, deploy...)...)
			for line := range strings.Lines(second.out) {
				if !json.Valid([]byte(line)) {
					t.Errorf("no JSON: %q", line)
				}
			}
			if strings.Contains(c.name, "name at all") || strings.Contains(c.name, "else's name") || c.name == "tokens" {
				// By DNS, with a hook that is a shell script: it is never asked for this.
				script := l.write("hook.sh", "#!/bin/sh\nprintf '%s\\n' \"$*\" >> "+hook+"\n")
				if err := os.Chmod(script, 0o700); err != nil {
					t.Fatal(err)
				}
				run("get", name, "--force", "--dns-exec", script, "--challenge", "dns-01")
				if text, err := os.ReadFile(hook); err == nil {
					t.Errorf("the hook was called with %q", text)
				}
			}
			for _, text := range said {
				harmless(t, c.name, text)
			}
			if shown := strings.Contains(first.out+first.errors, "owned"); shown == slices.Contains(unsaid, c.name) {
				t.Errorf("whether the CA's words were shown: %v; %s", shown, first)
			}
			l.unharmed(t)
		})
	}
}

// unharmed looks for what only an executed command, or a path of the CA's, would leave.
func (l *lab) unharmed(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(l.dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(filepath.Base(path), "pwned") || strings.ContainsAny(filepath.Base(path), "$`;\x1b\n") {
			t.Errorf("there is %q", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// statusLine answers with a reason that is meant for terminals.
func statusLine(w http.ResponseWriter, _ *http.Request) bool {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	defer c.Close()
	fmt.Fprintf(c, "HTTP/1.1 403 \x1b[2J\x1b]0;owned\x07\r\nContent-Length: 0\r\n\r\n")
	return true
}

// Somebody else's name in an authorisation makes the client touch nothing of that name.
func TestClientAnswersForItsNamesOnly(t *testing.T) {
	l := newLab(t)
	l.serveWebroot()
	directory := l.pebble(pebbleSetup{})
	bad, good := l.front(directory), l.front(directory)
	l.caa("shop.test", bad.issuer+"; priority=1", good.issuer+"; priority=2")
	bad.setRewrite(func(_ string, o map[string]any) {
		if _, ok := o["challenges"]; ok {
			o["identifier"] = map[string]any{"type": "dns", "value": "victim.test"}
		}
	})
	d := l.open("data", opening{})
	out := d.get(t, enroll.Options{}, vault.Sheet{Names: []string{"shop.test"}})
	if out.Issued.Issuer != good.issuer {
		t.Errorf("%s issued", out.Issued.Issuer)
	}
	for _, e := range d.events(enroll.EventChallenge) {
		if e.Name != "shop.test" {
			t.Errorf("a challenge for %s was answered", e.Name)
		}
	}
	if n := bad.sent("status"); len(n) != 0 {
		t.Errorf("%v", n)
	}
}
