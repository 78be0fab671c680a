package manual

import (
	"errors"
	"maps"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func TestComments(t *testing.T) {
	got := Comments("package x\n\n// T is.\ntype T struct {\n\t// One line,\n\t// and another.\n\tA, B int\n\tc bool\n}\n\ntype U int\n\ntype V struct{\n// In V.\nA T }\n")
	want := map[string]string{"T.A": "One line,\nand another.", "T.B": "One line,\nand another.", "T.c": "", "V.A": "In V."}
	if !maps.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got := Comments("no Go"); len(got) != 0 {
		t.Errorf("of no Go: %q", got)
	}
}

func TestRemark(t *testing.T) {
	var out strings.Builder
	Remark(&out, "# ", "one\n  two\n")
	Remark(&out, "", "three")
	Remark(&out, "", "")
	if got := out.String(); got != "# # one\n# # two\n# three\n" {
		t.Errorf("got %q", got)
	}
}

func TestLiteral(t *testing.T) {
	for _, test := range []struct {
		value any
		want  string
	}{
		{"a", `"a"`}, {"<&>", `"<&>"`}, {"\x7f\n\"", `"\u007f\n\""`}, {3, "3"}, {true, "true"}, {0.5, "0.5"},
		{[]string{"a", "b"}, `["a","b"]`}, {[]string{}, "[]"}, {netip.MustParsePrefix("10.0.0.0/8"), `"10.0.0.0/8"`},
	} {
		if got, err := Literal(test.value); err != nil || got != test.want {
			t.Errorf("%v: %s, %v", test.value, got, err)
		}
	}
	if got, err := Literal(math.NaN()); err == nil {
		t.Errorf("not a number: %s", got)
	}
}

// Whatever the text, TOML reads it back.
func FuzzLiteral(f *testing.F) {
	for _, text := range []string{"", "a", "\x7f", "\x00\u2028\"\\", "é", "'''"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		literal, err := Literal(text)
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ A string }
		if err := toml.Unmarshal([]byte("A = "+literal+"\n"), &got); err != nil {
			t.Fatalf("%s: %v", literal, err)
		}
		if want := strings.ToValidUTF8(text, "\ufffd"); got.A != want && strings.ToValidUTF8(text, "") == text {
			t.Errorf("%q came back as %q", text, got.A)
		}
	})
}

func TestProblems(t *testing.T) {
	for _, test := range []struct {
		problem Problem
		want    string
	}{
		{Problem{Source: "f", Line: 2, Column: 3, Key: "a.b", Text: "x"}, "f:2:3: a.b: x"},
		{Problem{Source: "command line", Key: "a", Text: "x"}, "command line: a: x"},
		{Problem{Line: 2, Text: "x"}, "x"},
	} {
		if got := test.problem.Error(); got != test.want {
			t.Errorf("%+v: %q", test.problem, got)
		}
	}
	all := Problems{{Text: "e"}, {Line: 2, Column: 1, Text: "c"}, {Line: 1, Column: 2, Key: "b", Text: "b"}, {Key: "a", Text: "d"}, {Line: 1, Column: 2, Key: "a", Text: "a"}}
	all.Sort()
	if got := all.Error(); got != "a: a\nb: b\nc\ne\na: d" {
		t.Errorf("sorted: %q", got)
	}
	if one, ok := errors.AsType[Problem](error(all)); !ok || one.Text != "a" {
		t.Errorf("the first is %+v", one)
	}
}
