package resolver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestSystemServers(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch example\n": "192.0.2.1:53 [2001:db8::1]:53",
		"nameserver nonsense\n": "",
		"":                      "",
	} {
		file := filepath.Join(dir, "resolv.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := systemServers(file)
		if strings.Join(got, " ") != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %v, %v; want %s", text, got, err, want)
		}
	}
	if _, err := systemServers(filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
}

func FuzzCanonicalName(f *testing.F) {
	for _, s := range []string{"", ".", "a", "A.Example.", "_acme-challenge.x.example", "a..b", "*.x", "x y", "ü", `a\.b`, strings.Repeat("a", 64)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := canonicalName(s)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Kind != BadName {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if again, err := canonicalName(n + "."); err != nil || again != n {
			t.Fatalf("%q gives %q, which gives %q, %v", s, n, again, err)
		}
		if _, ok := dns.IsDomainName(n); !ok {
			t.Fatalf("%q passed, but is no domain name", n)
		}
	})
}

func FuzzHostsRecords(f *testing.F) {
	f.Add("127.0.0.1 localhost x.example # y\n", "x.example")
	f.Add("::1%lo x.example\n1.2.3 x.example\n", "x.example")
	f.Fuzz(func(t *testing.T, text, name string) {
		v6, v4 := hostsRecords(strings.NewReader(text), name)
		for _, rr := range v6 {
			if rr.Header().Rrtype != dns.TypeAAAA {
				t.Fatal("not AAAA")
			}
		}
		a := Answer{Records: append(v6, v4...)}
		if len(a.Records) > 0 && (len(a.Addresses()) == 0 || !strings.Contains(strings.ToLower(text), strings.TrimSuffix(name, "."))) {
			t.Fatalf("%q has no address for %q", text, name)
		}
	})
}

func FuzzUnescape(f *testing.F) {
	for _, s := range []string{"", "plain", `\"`, "\\", `\\`, `\065`, `\999`, `a\06`, "\x00ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := unescape(s); len(got) > len(s) {
			t.Fatalf("%q grew to %q", s, got)
		}
		// What the library makes of bytes from the wire must come back the same.
		if len(s) > 255 {
			s = s[:255]
		}
		wire := append([]byte{0, 0, 16, 0, 1, 0, 0, 0, 0, byte((len(s) + 1) >> 8), byte(len(s) + 1), byte(len(s))}, s...)
		rr, _, err := dns.UnpackRR(wire, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&Answer{Records: []dns.RR{rr}}).Texts()[0]; got != s {
			t.Fatalf("%q came back as %q", s, got)
		}
	})
}
