package spelling

import "testing"

func TestEdits(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0},
		{"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"ab", "ba", 2}, {"listen", "listem", 1},
	} {
		if got := Edits(test.a, test.b); got != test.want {
			t.Errorf("%q to %q: %d edits, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"acme.max_names", "log.level", "listen.public", "listen.status"}
	for _, test := range []struct{ word, want string }{
		{"acme.max_name", "acme.max_names"},
		{"log.levle", "log.level"},
		{"acme.level", "log.level"}, // in another section
		{"level", "log.level"},
		{"listen.stauts", "listen.status"},
		{"colour", ""},
		{"", ""},
	} {
		if got := Nearest(test.word, known); got != test.want {
			t.Errorf("%q: %q was meant, want %q", test.word, got, test.want)
		}
	}
	if got := Nearest("x", nil); got != "" {
		t.Errorf("of no words, %q", got)
	}
}

func FuzzEdits(f *testing.F) {
	f.Add("acme.max_names", "acme.max_name")
	f.Add("", "x")
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a) > 200 || len(b) > 200 {
			return
		}
		d := Edits(a, b)
		if d != Edits(b, a) || d > max(len(a), len(b)) || d < max(len(a), len(b))-min(len(a), len(b)) || (d == 0) != (a == b) {
			t.Errorf("%q to %q: %d edits", a, b, d)
		}
	})
}
