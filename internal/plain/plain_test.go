package plain_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"chancery/internal/plain"
)

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"plain text, ä, 漢, 🙂": "plain text, ä, 漢, 🙂",
		"\x1b[31m":            `\x1b[31m`,
		"a\nb\tc":             `a\nb\tc`,
		"\xff":                `\xff`,
		"\ufffd":              "\ufffd",
		"right\u202eleft":     `right\u202eleft`,
		"\u200e\u200f\u061c":  `\u200e\u200f\u061c`,
		"\u2028\u2029":        `\u2028\u2029`,
		"zero\u200bwidth":     `zero\u200bwidth`,
		"\u00ad\u00a0\u3000":  `\u00ad\u00a0\u3000`,
		"\u3164\u115f":        `\u3164\u115f`,
		"\U000e0041":          `\U000e0041`,
		"\u2066x\u2069\ufeff": `\u2066x\u2069\ufeff`,
		"\u0085\u009b":        `\u0085\u009b`,
	} {
		if got := plain.Line(text, -1); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if got := plain.Line("ääää", 2); got != "ää…" {
		t.Errorf("%q", got)
	}
	if got := plain.Folded(" a\r\n\tb \u2028c"); got != `a b \u2028c` {
		t.Errorf("%q", got)
	}
}

func FuzzLine(f *testing.F) {
	for _, seed := range []string{"plain", "two\nlines", "\x1b[31mred", "\xff\xfe", "\u202eright", "\u3164\u200b\U000e0001", strings.Repeat("ä", 400)} {
		f.Add(seed, 300)
	}
	f.Fuzz(func(t *testing.T, text string, most int) {
		got := plain.Line(text, most)
		if !utf8.ValidString(got) || most >= 0 && utf8.RuneCountInString(got) > 10*min(most, len(text))+1 {
			t.Errorf("%d of %q became %q", most, text, got)
		}
		for _, r := range got {
			if !plain.Visible(r) || unicode.IsControl(r) {
				t.Errorf("%U is left in %q", r, got)
			}
		}
		if again := plain.Line(got, -1); again != got {
			t.Errorf("%q became %q", got, again)
		}
	})
}
