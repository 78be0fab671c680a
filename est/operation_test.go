package est

import (
	"net/url"
	"strings"
	"testing"
)

func TestLabels(t *testing.T) {
	for _, good := range []string{"a", "factory-7", "arbitraryLabel1", "A.b_c~d", "cacert", "crtsx", "7", strings.Repeat("x", 64)} {
		if err := CheckLabel(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	bad := append([]string{"", ".", "..", "a/b", "a b", "a%41", "%63acerts", "é", "a+b", "a@b", "CaCerts", strings.Repeat("x", 65)}, Registered...)
	for _, label := range bad {
		if err := CheckLabel(label); !Is(err, Malformed) {
			t.Errorf("%q: got %v, want it refused", label, err)
		}
	}
}

func TestPaths(t *testing.T) {
	for _, test := range []struct {
		path, label string
		op          Operation
	}{
		{"/.well-known/est/cacerts", "", CACerts},
		{"/.well-known/est/simpleenroll", "", SimpleEnroll},
		{"/.well-known/est/arbitraryLabel1/simplereenroll", "arbitraryLabel1", SimpleReenroll}, // RFC 7030 §3.2.2
		{"/.well-known/est/L/fullcmc", "L", FullCMC},
		{"/.well-known/est/L/serverkeygen", "L", ServerKeyGen},
		{"/.well-known/est/L/csrattrs", "L", CSRAttributes},
	} {
		label, op, err := ParsePath(test.path)
		if err != nil || label != test.label || op != test.op {
			t.Errorf("%s: got %q, %q, %v", test.path, label, op, err)
		}
		base := &url.URL{Scheme: "https", Host: "est.example:8443", Path: "/elsewhere", User: url.User("u")}
		if got := URL(base, test.label, test.op).String(); got != "https://est.example:8443"+test.path {
			t.Errorf("made %s of %s", got, test.path)
		}
	}
	for path, label := range map[string]string{
		"/.well-known/est/%63acerts": "", "/%2Ewell-known/%65st/cacerts": "", "/.well-known/est/a%7Eb%2d%5F%37/cacerts": "a~b-_7",
	} {
		if got, op, err := ParsePath(path); err != nil || got != label || op != CACerts {
			t.Errorf("%s: got %q, %q, %v", path, got, op, err)
		}
	}
	for _, path := range []string{
		"/.well-known/est%2fcacerts", "/.well-known/est/%2e/cacerts", "/.well-known/est/%2e%2E/cacerts", "/.well-known/est/%00/cacerts", "/.well-known/est/%", "/.well-known/est/cacert%7",
		"/.well-known/est/%+1/cacerts", "/.well-known/est/%2563acerts", "/.well-known/est/a+b/cacerts", "/.well-known/est/a/cacerts/",
		"", "/", "/.well-known/est", "/.well-known/est/", "/.well-known/est/cacerts/", "/.well-known/est//cacerts",
		"/.well-known/est/a/b/cacerts", "/.well-known/est/cacerts/cacerts", "/.well-known/est/pal/cacerts",
		"/.well-known/est/a%2fb/cacerts", "/.well-known/est/CACERTS", "/.well-known/est/label",
		"/.well-known/est/crts", "/x/.well-known/est/cacerts", "/.well-known/est/../est/cacerts",
	} {
		if label, op, err := ParsePath(path); !Is(err, Malformed) {
			t.Errorf("%q: got %q, %q, %v, want it refused", path, label, op, err)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add("/.well-known/est/cacerts")
	f.Add("/.well-known/est/label/simpleenroll")
	f.Add("/.well-known/est/%6c/csrattrs")
	f.Fuzz(func(t *testing.T, path string) {
		label, op, err := ParsePath(path)
		if err != nil {
			return
		}
		if label != "" && CheckLabel(label) != nil {
			t.Fatalf("%q gave the label %q", path, label)
		}
		again := URL(&url.URL{}, label, op).EscapedPath()
		if l, o, err := ParsePath(again); again != plainly(path) || l != label || o != op || err != nil {
			t.Fatalf("%q came back as %q", path, again)
		}
	})
}
