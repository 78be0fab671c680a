package estserver_test

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/certtest"
	"chancery/internal/estserver"
)

// responder answers Digest challenges as RFC 7616 §3.4 says.
type responder struct {
	user, password, nonce, algorithm string
	nc                               int
	quoted                           bool   // qop="auth" in quotes, as RFC 7030 A.3 has it
	uri                              string // "": the request's
	realm                            string // "": devices
}

func (d *responder) hash(s string) string {
	if d.algorithm == "SHA-256" {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func (d *responder) login(method, path string) string {
	if d.uri != "" {
		path = d.uri
	}
	realm := d.realm
	if realm == "" {
		realm = "devices"
	}
	nc := fmt.Sprintf("%08x", d.nc)
	response := d.hash(strings.Join([]string{d.hash(d.user + ":" + realm + ":" + d.password), d.nonce, nc, "cnonce", "auth", d.hash(method + ":" + path)}, ":"))
	qop := "auth"
	if d.quoted {
		qop = `"auth"`
	}
	text := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s", cnonce="cnonce", nc=%s, qop=%s`, d.user, realm, d.nonce, path, response, nc, qop)
	if d.algorithm != "" {
		text += ", algorithm=" + d.algorithm
	}
	return text
}

var nonceField = regexp.MustCompile(`nonce="([^"]+)"`)

// challenges gives the fields of a 401, octet by octet.
func challenges(r *reply) (all []string) {
	for _, line := range strings.Split(r.head, "\r\n") {
		if rest, ok := strings.CutPrefix(line, "WWW-Authenticate: "); ok {
			all = append(all, rest)
		}
	}
	return all
}

func newDigestWorld(t *testing.T, digest string) (*world, *responder) {
	w := newWorld(t, func(c *estserver.Config) { c.Digest = digest }, plainLabel())
	w.standing("alice", "p", "*")
	d := &responder{user: "alice", password: "p", nc: 1}
	d.fresh(w)
	return w, d
}

// fresh asks for a nonce.
func (d *responder) fresh(w *world) {
	got := challenges(w.client(nil).post("simpleenroll", asking("a").der(w.t)))
	d.nonce, d.nc = nonceField.FindStringSubmatch(got[0])[1], 1
}

func (d *responder) try(w *world) *reply {
	c := w.client(nil)
	c.login = d.login("POST", root+"simpleenroll")
	return c.post("simpleenroll", asking("a", "a.example").der(w.t))
}

// TestChallenges: what each configuration offers, octet by octet, as clients compare.
func TestChallenges(t *testing.T) {
	for digest, want := range map[string][]string{
		estserver.DigestOff:    {`^Basic realm="devices", charset="UTF-8"$`},
		estserver.DigestSHA256: {`^Digest qop="auth", realm="devices", nonce="[\w-]{56}", algorithm=SHA-256$`},
		estserver.DigestMD5: {`^Digest qop="auth", realm="devices", nonce="[\w-]{56}"$`,
			`^Digest qop="auth", realm="devices", nonce="[\w-]{56}", algorithm=SHA-256$`},
	} {
		w := newWorld(t, func(c *estserver.Config) { c.Digest = digest }, plainLabel())
		got := challenges(w.client(nil).post("simpleenroll", asking("a").der(t)))
		if len(got) != len(want) {
			t.Fatalf("%q: %q", digest, got)
		}
		for i := range want {
			if !regexp.MustCompile(want[i]).MatchString(got[i]) {
				t.Errorf("%q: %q", digest, got[i])
			}
		}
	}
}

// TestDigest: both algorithms where both are offered; a count is good once, on every
// replica; a nonce grows old.
func TestDigest(t *testing.T) {
	w, d := newDigestWorld(t, estserver.DigestMD5)
	cert := granted(t, d.try(w))
	if got := w.detail(cert)["via"]; got != "digest" {
		t.Errorf("it is recorded as %q", got)
	}
	stale := func(name string, r *reply, want bool) {
		t.Helper()
		refused(t, r, http.StatusUnauthorized)
		if got := strings.Contains(r.head, ", stale=true"); got != want {
			t.Errorf("%s: stale is %v", name, got)
		}
	}
	stale("replayed", d.try(w), true)
	replica := w.serve(w.another().Handler())
	c := w.client(nil)
	c.front, c.login = replica, d.login("POST", root+"simpleenroll")
	stale("replayed elsewhere", c.post("simpleenroll", asking("a", "a.example").der(t)), true)
	d.nc, d.quoted, d.algorithm = 2, true, "SHA-256"
	granted(t, d.try(w))
	d.nc, d.algorithm = 3, "MD5"
	granted(t, d.try(w))

	d.nc, d.password = 4, "q"
	stale("wrong password", d.try(w), false)
	d.password = "p" // the count was not spent by that
	granted(t, d.try(w))
	d.user = "nobody"
	stale("unknown user", d.try(w), false)
	d.user, d.realm = "alice", "elsewhere"
	stale("another realm", d.try(w), false)
	d.realm, d.uri = "", root+"simplereenroll"
	refused(t, d.try(w), http.StatusBadRequest, "another URI")
	d.uri, d.nc = "", 0
	refused(t, d.try(w), http.StatusBadRequest, "nc")
	d.nc = 9
	w.pass(11 * time.Minute)
	stale("old nonce", d.try(w), true)
	d.fresh(w)
	granted(t, d.try(w))
	d.nonce, d.nc = strings.Repeat("A", 56), 1
	stale("nonce of nobody", d.try(w), true)
	granted(t, w.basic("alice", "p").post("simpleenroll", asking("a", "a.example").der(t))) // Basic unasked
}

// TestDigestSHA256 does not take what it did not offer.
func TestDigestSHA256(t *testing.T) {
	w, d := newDigestWorld(t, estserver.DigestSHA256)
	refused(t, d.try(w), http.StatusUnauthorized)
	d.algorithm = "SHA-256"
	granted(t, d.try(w))
	w.oneTime("", "once", "*")
	d.user, d.password, d.nc = "", "once", 2
	cert := granted(t, d.try(w))
	if by := w.record(cert).By.ID; !strings.HasPrefix(by, "one-time:") {
		t.Errorf("the identity is %q", by)
	}
	w, d = newDigestWorld(t, estserver.DigestSHA256)
	w.config.Realm = "moved"
	moved := w.serve(w.another().Handler())
	c := w.client(nil)
	c.front = moved
	d.algorithm, d.realm = "SHA-256", "moved"
	c.login = d.login("POST", root+"simpleenroll")
	refused(t, c.post("simpleenroll", asking("a").der(t)), http.StatusUnauthorized) // HA1 is of another realm
}

// TestDigestFields: what cannot be read is a bad request.
func TestDigestFields(t *testing.T) {
	w, _ := newDigestWorld(t, estserver.DigestMD5)
	for _, login := range []string{"Digest", "Digest x", `Digest username="a`, `Digest username="a", username="b"`, `Digest username="a", nonce="n", uri="u", response="r"`} {
		c := w.client(nil)
		c.login = login
		refused(t, c.post("simpleenroll", asking("a").der(t)), http.StatusBadRequest)
	}
}

// TestDigestOfManyOneTime: later passwords of the same user, spent and ended ones among
// them, do not push an older one out of sight, and no more are made than are tried.
func TestDigestOfManyOneTime(t *testing.T) {
	w := newWorld(t, func(c *estserver.Config) { c.Digest = estserver.DigestSHA256 }, plainLabel())
	w.add(estserver.Credential{OneTime: true, Digest: estserver.OneTimeDigest("the first"), HA1: estserver.DigestHA1("", w.config.Realm, "the first"), Realm: w.config.Realm})
	for i := range 300 {
		w.add(estserver.Credential{OneTime: true, Digest: estserver.OneTimeDigest(fmt.Sprint("ended", i)), Expires: w.now().Add(time.Minute)})
	}
	w.pass(time.Hour)
	for i := range 250 {
		w.add(estserver.Credential{OneTime: true, Digest: estserver.OneTimeDigest(fmt.Sprint("later", i))})
	}
	passes := func() bool {
		t.Helper()
		d := &responder{password: "the first", algorithm: "SHA-256", nc: 1}
		d.nonce = nonceField.FindStringSubmatch(w.client(nil).post("simpleenroll", asking("x").der(t)).head)[1]
		c := w.client(nil)
		c.login = d.login("POST", root+"simpleenroll")
		return c.post("simpleenroll", []byte{0x30, 0}).StatusCode != http.StatusUnauthorized
	}
	if !passes() {
		t.Error("the first password is not found among live ones")
	}
	for i := range 20 {
		k := w.add(estserver.Credential{OneTime: true, Digest: estserver.OneTimeDigest(fmt.Sprint("spent", i))})
		key := certtest.Key(t)
		if _, err := w.authority.Issue(t.Context(), ca.Request{ID: estserver.OneTimeRequest(k.ID), By: ca.Principal{Room: "est", ID: "one-time:" + k.ID},
			Key: key.Public(), Subject: ca.Subject{CommonName: k.ID}, Profile: "device"}); err != nil {
			t.Fatal(err)
		}
	}
	if passes() {
		t.Error("one more than are tried was: the test is wrong")
	}
	w.pass(25 * time.Hour)
	if !passes() {
		t.Error("passwords that were spent yesterday hide the first")
	}
	o := w.office()
	for range 5 {
		done[estserver.OneTimeWanted, estserver.CredentialMade](o, "est.otp.add", estserver.OneTimeWanted{})
	}
	declined(o, "est.otp.add", estserver.OneTimeWanted{}, ca.Conflict, "another user name")
	done[estserver.OneTimeWanted, estserver.CredentialMade](o, "est.otp.add", estserver.OneTimeWanted{Grant: estserver.Grant{User: "u"}})
}
