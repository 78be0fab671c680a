package registry

import (
	"strings"
	"testing"
)

func FuzzParseDomain(f *testing.F) {
	for _, text := range []string{"example.org", " Example.ORG ", "*.example.org", "xn--bcher-kva.example", "a..b", "", "10.0.0.1", "org", "MÜNCHEN.example", "mün chen.example", "\xff.example", "*.ü.example", strings.Repeat("a.", 120) + "b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, err := ParseDomain(text)
		if err != nil {
			return
		}
		if again, err := ParseDomain(name); err != nil || again != name {
			t.Errorf("%q became %q and then %q, %v", text, name, again, err)
		}
		d := Domain{Name: name}
		if len(d.Record()) > 253 || strings.ContainsAny(name, " *\x00\n") {
			t.Errorf("%q became %q", text, name)
		}
		all := covers(name)
		if all[0] != name || len(all) != strings.Count(name, ".")+1 {
			t.Errorf("%q is covered by %q", name, all)
		}
		for _, above := range all[1:] {
			if !strings.HasSuffix(name, "."+above) {
				t.Errorf("%q is covered by %q", name, above)
			}
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	for _, text := range []string{"a@example.org", "mailto:A@Example.ORG", "MAILTO:%41@example.org", "a@b@example.org", "mailto:a@example.org?cc=b@example.org",
		"mailto:a%", "a%40b@example.org", "", "a\r\nBcc: b@example.org@example.org"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		address, err := ParseAddress(text)
		if err != nil {
			return
		}
		if again, err := ParseAddress(address); err != nil || again != address {
			t.Errorf("%q became %q and then %q, %v", text, address, again, err)
		}
		local, domain, ok := strings.Cut(address, "@")
		if !ok || local == "" || domain != strings.ToLower(domain) || strings.ContainsAny(address, "\r\n\x00 ,;:<>\"") {
			t.Errorf("%q became %q", text, address)
		}
	})
}

func FuzzParseHashed(f *testing.F) {
	good := hashed{salt: make([]byte, saltOctets), key: make([]byte, hashOctets)}
	f.Add(good.String())
	f.Add(good.String() + "=")
	f.Add(strings.Replace(good.String(), "m=32768", "m=4294967295", 1))
	f.Add("$argon2id$")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHashed(text)
		if err == nil && h.String() != text {
			t.Errorf("%q became %q", text, h)
		}
	})
}

func TestWaits(t *testing.T) {
	for failures, want := range map[int]string{0: "0s", 4: "0s", 5: "30s", 6: "1m0s", 7: "2m0s", 11: "32m0s", 12: "1h0m0s", 1000: "1h0m0s"} {
		if got := waitAfter(failures); got.String() != want {
			t.Errorf("after %d failures %s, want %s", failures, got, want)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	for _, text := range []string{SignIn{"id", "horse"}.String(), SignIn{"id", "horse"}.GoString(), Key{ID: "id", Secret: []byte("horse"), Sealed: []byte("horse")}.GoString()} {
		if strings.Contains(text, "horse") {
			t.Error(text)
		}
	}
}
