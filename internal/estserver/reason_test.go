package estserver_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/estserver"
)

// TestReasons: a 401, whose body has to be empty, says why in its header, in a few plain
// words, and the whole header stays below 1 KB.
func TestReasons(t *testing.T) {
	for _, digest := range []string{estserver.DigestOff, estserver.DigestSHA256, estserver.DigestMD5} {
		w := newWorld(t, func(c *estserver.Config) { c.Digest, c.Realm = digest, strings.Repeat("r", 100) }, plainLabel())
		w.standing("alice", "p")
		ask := asking("dev1", "dev1.example").der(t)
		revoked := w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example")
		w.revoke(revoked.cert)
		for _, test := range []struct {
			client *client
			word   string
		}{
			{w.client(nil), "a password is needed"},
			{w.client(revoked), "revoked on"},
			{w.basic("alice", "x"), "wrong"},
			{w.basic("nobody", "x"), "wrong"},
		} {
			got := test.client.post("simpleenroll", ask)
			refused(t, got, http.StatusUnauthorized)
			reason := got.Header.Get(estserver.Reason)
			if !strings.Contains(reason, test.word) || len(reason) > 160 || strings.ContainsFunc(reason, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q: the reason is %q, of %d octets, without %q", digest, reason, len(reason), test.word)
			}
			if strings.HasSuffix(reason, "; ") || strings.HasSuffix(reason, ";") {
				t.Errorf("%q dangles", reason)
			}
			if len(got.head) >= 1024 {
				t.Errorf("%q: the header has %d octets:\n%s", digest, len(got.head), got.head)
			}
		}
		if got := w.client(nil).get("nothing"); got.Header.Get(estserver.Reason) != "" {
			t.Error("an error with a body has its reason twice")
		}
	}
}

// TestReasonsAreASCII: whatever a text has in it, the field has one short line.
func TestReasonsAreASCII(t *testing.T) {
	for text, want := range map[string]string{
		"wrong": "wrong", "a\r\nSet-Cookie: x": "a? Set-Cookie: x", "K\u00f6ln\x00\x7f": "K?ln??", strings.Repeat("a", 300): strings.Repeat("a", 157) + "...",
	} {
		if got := estserver.FieldText(text); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// TestRefusalsInTheLog: no fields that say nothing, and what is not offered is no warning.
func TestRefusalsInTheLog(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	w.config.Logger = slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.front = w.serve(w.another().Handler())
	device := w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example")
	w.client(nil).post("simpleenroll", asking("x", "x.example").der(t))
	w.client(device).post("simpleenroll", asking("dev1", "dev2.example").der(t))
	refused(t, w.client(device).post("serverkeygen", asking("dev1", "dev1.example").der(t)), http.StatusNotImplemented, "not offered")
	log := w.log.String()
	for _, bad := range []string{"error=<nil>", "needed; \"", "level=WARN", "error="} {
		if strings.Contains(log, bad) {
			t.Errorf("the log has %q:\n%s", bad, log)
		}
	}
	if !strings.Contains(log, "status=501") || !strings.Contains(log, "status=403") || !strings.Contains(log, `reason="a password is needed"`) {
		t.Errorf("the log lacks a refusal:\n%s", log)
	}
}

// TestUndigested: a password made while Digest was off is shown, counted and named in the
// log as one that no Digest can be checked against; a spent or ended one is not counted.
func TestUndigested(t *testing.T) {
	w, d := newDigestWorld(t, estserver.DigestMD5)
	bob := estserver.Credential{User: "bob", Hash: estserver.HashPassword("p")}
	w.add(bob)
	w.add(estserver.Credential{User: "old", OneTime: true, Digest: estserver.OneTimeDigest("o"), Expires: w.now().Add(24 * time.Hour)})
	w.add(estserver.Credential{User: "gone", OneTime: true, Digest: estserver.OneTimeDigest("g"), Expires: w.now().Add(-1)})
	w.add(estserver.Credential{User: "used", OneTime: true, Digest: estserver.OneTimeDigest("u"), Names: []string{"*"}, Expires: w.now().Add(24 * time.Hour)})
	granted(t, w.basic("used", "u").post("simpleenroll", asking("u", "u.example").der(t)))
	w.oneTime("new", "n")
	warnings := strings.Join(w.server.Warnings(t.Context()), "\n")
	if !strings.Contains(warnings, "2 passwords have no form for HTTP Digest") {
		t.Errorf("%q", warnings)
	}
	shown := done[estserver.Page, estserver.OneTimesShown](w.office(), "est.otp.list", estserver.Page{})
	for _, one := range shown.Passwords {
		if has := len(one.Digest) > 0; has != (one.User == "new") {
			t.Errorf("%s: %v", one.User, one.Digest)
		}
	}
	d.user, d.password, d.nc = "bob", "p", 1
	d.nonce = nonceField.FindStringSubmatch(challenges(w.client(nil).post("simpleenroll", asking("b", "b.example").der(t)))[0])[1]
	c := w.client(nil)
	c.login = d.login(http.MethodPost, root+"simpleenroll")
	got := c.post("simpleenroll", asking("b", "b.example").der(t))
	refused(t, got, http.StatusUnauthorized)
	if strings.Contains(got.Header.Get(estserver.Reason), "Digest") || !strings.Contains(w.log.String(), "cannot be checked by Digest") {
		t.Errorf("the client is told %q, and the log says\n%s", got.Header.Get(estserver.Reason), w.log)
	}
}
