package guard

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"chancery/internal/plain"
)

func FuzzShown(f *testing.F) {
	for _, seed := range []string{"plain", "two\nlines", "\x1b[31m", "\xff", "\u202e\u200b\u061c", strings.Repeat("ä", 400)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := Shown(text)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !plain.Visible(r) }) || utf8.RuneCountInString(got) > 10*maxShown+1 {
			t.Errorf("%q became %q", text, got)
		}
	})
}

// What passes is what it seems to be: https, to the host that stands there, and the same
// when it is written and read again.
func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{"https://ca.example/dir", "http://ca.example/", "https://u:p@ca.example/", "https://ca.example:0/", "https://[::1]/", "https:ca.example",
		"https://ca.example\\@evil.example/", "https://ca.example/\n", "//ca.example/", "https://%63a.example/", "https:///x", "HTTPS://CA.EXAMPLE"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		err := CheckURL(raw)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return !plain.Visible(r) }) {
				t.Errorf("%q", err)
			}
			return
		}
		u, err := url.Parse(raw)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || len(raw) > maxURL {
			t.Fatalf("%q passed: %v, %v", raw, u, err)
		}
		again, err := url.Parse(u.String())
		if err != nil || again.Host != u.Host {
			t.Errorf("%q leads to %q, written again to %v, %v", raw, u.Host, again, err)
		}
	})
}
