package est

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// The examples of RFC 7616 §3.9.1 and of RFC 2617 §3.5, which has the same for MD5.
func TestDigestExamples(t *testing.T) {
	login := &Login{User: "Mufasa", Password: "Circle of Life"}
	for algorithm, want := range map[string]string{
		"MD5":     "8ca523f5e9506fed4657c9700eebdbec",
		"SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
	} {
		c := &challenge{scheme: "digest", count: 1, parameters: map[string]string{
			"realm": "http-auth@example.org", "qop": "auth, auth-int", "algorithm": algorithm,
			"nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "opaque": "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
		}}
		c.cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
		got := login.digest(c, "GET", "/dir/index.html")
		if !strings.Contains(got, `response="`+want+`"`) || !strings.Contains(got, "nc=00000001, ") || !strings.Contains(got, "qop=auth,") || !strings.Contains(got, "algorithm="+algorithm) {
			t.Errorf("%s: %s", algorithm, got)
		}
	}
	old := &challenge{scheme: "digest", count: 1, cnonce: "0a4f113b", parameters: map[string]string{"realm": "testrealm@host.com", "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093", "qop": "auth,auth-int", "opaque": "5ccc069c403ebaf9f0171e9517f40e41"}}
	got := (&Login{User: "Mufasa", Password: "Circle Of Life"}).digest(old, "GET", "/dir/index.html")
	if !strings.Contains(got, `response="6629fae49393a05397450978507c4ef1"`) || strings.Contains(got, "algorithm") {
		t.Errorf("without algorithm: %s", got)
	}
	// RFC 7616 §3.9.2: SHA-512-256, UTF-8, userhash.
	hashed := &challenge{scheme: "digest", count: 1, parameters: map[string]string{
		"realm": "api@example.org", "qop": "auth", "algorithm": "SHA-512-256", "charset": "UTF-8", "userhash": "true",
		"nonce": "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", "opaque": "HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS",
	}}
	got = (&Login{User: "J\u00e4s\u00f8n Doe", Password: "Secret, or not?"}).digest(hashed, "GET", "/doe.json")
	if !strings.Contains(got, "userhash=true") || !regexp.MustCompile(`username="[0-9a-f]{64}"`).MatchString(got) {
		t.Errorf("userhash: %s", got)
	}
}

func TestParseChallenges(t *testing.T) {
	for _, test := range []struct {
		fields []string
		want   string // of the one that is answered
	}{
		{[]string{`Basic realm="x"`}, "basic"},
		{[]string{`Basic realm="x"`, `Digest realm="x", nonce="n", qop="auth"`}, "digest MD5"},
		{[]string{`Digest realm="x", nonce="n"`, `Digest realm="x", nonce="m", algorithm=SHA-256, qop="auth"`}, "digest SHA-256"},
		{[]string{`Basic realm="a, b", Digest nonce="n,\"o", algorithm="SHA-256", qop=auth , realm=x`}, "digest SHA-256"},
		{[]string{`Negotiate, Bearer abc==, Basic realm=x`}, "basic"},
		{[]string{`NTLM TlRMTVNTUAAC=, dIgEsT nonce="n" , realm = "r"`}, "digest MD5"},
		{[]string{`Digest realm="x", nonce="n", qop="auth-int"`}, ""},
		{[]string{`Digest realm="x"`}, ""},
		{[]string{`Digest realm="x", nonce="n", algorithm=SHA-999`, `Bearer`}, ""},
		{[]string{``, `,,,`, `"`, `Basic realm="open`}, "basic"},
		{nil, ""},
	} {
		got := ""
		if c := strongest(parseChallenges(test.fields)); c != nil {
			got = c.scheme
			if got == "digest" {
				rank, _, _ := c.algorithm()
				got += " " + digests[rank].name
			}
		}
		if got != test.want {
			t.Errorf("%q: %q, want %q", test.fields, got, test.want)
		}
	}
}

func FuzzParseChallenges(f *testing.F) {
	f.Add(`Basic realm="x", Digest nonce="n\"", qop=auth`)
	f.Add(`Negotiate abc==, NTLM`)
	f.Fuzz(func(t *testing.T, text string) {
		list := parseChallenges([]string{text})
		if len(list) > 20 {
			t.Errorf("%d challenges", len(list))
		}
		for _, c := range list {
			if !c.usable() {
				continue
			}
			got, err := (&Login{User: "u", Password: "p"}).answer(c, "POST", "/x")
			if err == nil && strings.ContainsAny(got, "\r\n\x00") {
				t.Errorf("%q leads to %q", text, got)
			}
		}
	})
}

// guarded wants a login in the ways of the challenges, and closes its connection with
// each 401 if told to.
func (s *shop) guarded(hangUp bool, challenges ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			p, err := requested(r)
			if err == nil {
				err = linked(r, p)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusForbidden)
				return
			}
			s.answerBag(w, s.certified(p))
			return
		}
		w.Header()["WWW-Authenticate"] = challenges
		if hangUp {
			w.Header().Set("Connection", "close")
		}
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// The request is linked to the connection that it travels on also when the server ended
// the first one with its 401 (E20).
func TestLoginOverOneConnectionAndTwo(t *testing.T) {
	for _, hangUp := range []bool{false, true} {
		for _, challenge := range []string{`Basic realm="est"`, `Digest realm="est", nonce="abc", qop="auth"`, `Digest realm="est", nonce="abc", qop="auth", algorithm=SHA-256`} {
			s := open(t, nil)
			s.handler[SimpleEnroll] = s.guarded(hangUp, challenge)
			c := s.client(t, func(c *ClientConfig) { c.Login = &Login{User: "", Password: "pä:ss"} })
			got, err := c.Enroll(t.Context(), device(t))
			if err != nil || !got.Linked {
				t.Fatalf("%s, %t: %+v, %v", challenge, hangUp, got, err)
			}
			if n := s.connections(); n != map[bool]int{false: 1, true: 2}[hangUp] {
				t.Errorf("%s: %d connections", challenge, n)
			}
			sent := s.seen[1].Header.Get("Authorization")
			if strings.HasPrefix(challenge, "Basic") {
				if user, password, ok := s.seen[1].BasicAuth(); !ok || user != "" || password != "pä:ss" {
					t.Errorf("%q", sent)
				}
			} else if !strings.HasPrefix(sent, `Digest username="", `) || !strings.Contains(sent, `uri="/.well-known/est/simpleenroll"`) {
				t.Errorf("%q", sent)
			}
		}
	}
}

func TestLoginIsNotRepeated(t *testing.T) {
	for name, test := range map[string]struct {
		first, then string // challenges
		asked       int
	}{
		"a wrong password is sent once":           {`Basic realm="x"`, `Basic realm="x"`, 2},
		"a wrong one by digest, too":              {`Digest realm="x", nonce="1", qop="auth"`, `Digest realm="x", nonce="2", qop="auth"`, 2},
		"a stale nonce is exchanged once":         {`Digest realm="x", nonce="1", qop="auth"`, `Digest realm="x", nonce="2", qop="auth", stale=true`, 3},
		"a way that is not known is not answered": {`Bearer realm="x"`, ``, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, nil)
			s.handler[SimpleEnroll] = func(w http.ResponseWriter, r *http.Request) {
				w.Header()["WWW-Authenticate"] = []string{test.first}
				if r.Header.Get("Authorization") != "" {
					w.Header()["WWW-Authenticate"] = []string{test.then}
				}
				w.Header().Set("Est-Reason", "the password is  spent")
				w.WriteHeader(http.StatusUnauthorized)
			}
			c := s.client(t, func(c *ClientConfig) { c.Login = &Login{User: "u", Password: "p"} })
			_, err := c.Enroll(t.Context(), device(t))
			failed, ok := errors.AsType[*LoginError](err)
			if !ok || failed.Realm != "x" || failed.Text != "the password is spent" || len(s.visited()) != test.asked {
				t.Errorf("%v after %v", err, s.visited())
			}
		})
	}
	s := open(t, nil)
	s.handler[SimpleEnroll] = s.guarded(false, `Basic realm="x"`)
	_, err := s.client(t, nil).Enroll(t.Context(), device(t))
	if _, ok := errors.AsType[*LoginError](err); !ok || !strings.Contains(err.Error(), "give it one") {
		t.Errorf("without a login: %v", err)
	}
}

func TestLoginDoesNotTell(t *testing.T) {
	l := Login{User: "u", Password: "hunter2"}
	text, _ := json.Marshal(l)
	for _, shown := range []string{fmt.Sprint(l), fmt.Sprintf("%+v %#v", l, l), fmt.Sprint(&l), string(text)} {
		if strings.Contains(shown, "hunter2") {
			t.Errorf("%s", shown)
		}
	}
	for name, bad := range map[string]Login{"no password": {User: "u"}, "line break": {User: "u", Password: "p\n"}, "in the name": {User: "u\r", Password: "p"}} {
		if err := bad.check(); err == nil || strings.Contains(err.Error(), "p\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (&Login{User: "a:b", Password: "p"}).answer(&challenge{scheme: "basic"}, "GET", "/"); err == nil {
		t.Error("a colon in a user name is sent by Basic")
	}
}
