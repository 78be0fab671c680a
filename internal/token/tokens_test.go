package token

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chancery/internal/token/fault"
	"chancery/internal/token/pin"
)

var device = pin.Question{Of: `the token "T"`, ID: "pkcs11 1 T"}

// A PIN that was wrong is not given again, by this process or the next, and its file does
// not tell it.
func TestWrongPINs(t *testing.T) {
	kept := filepath.Join(t.TempDir(), "refused.json")
	secret := "1234"
	read := func(source string) ([]byte, error) {
		if source != "file:/pin" {
			return nil, errors.New("no such file")
		}
		return []byte(secret), nil
	}
	first := New(Options{Read: read, Refused: kept})
	g := first.giver("file:/pin")
	got, err := g.PIN(t.Context(), device)
	if err != nil || string(got) != "1234" {
		t.Fatalf("%q, %v", got, err)
	}
	g.Wrong(device, got)
	for name, tokens := range map[string]*Tokens{"the same process": first, "the next": New(Options{Read: read, Refused: kept})} {
		if _, err := tokens.giver("file:/pin").PIN(t.Context(), device); !fault.Is(err, fault.WrongPIN) || !strings.Contains(err.Error(), kept) || strings.Contains(err.Error(), "1234") {
			t.Errorf("%s: %v", name, err)
		}
		other := device
		other.ID = "pkcs11 2 T"
		if _, err := tokens.giver("file:/pin").PIN(t.Context(), other); err != nil {
			t.Errorf("%s: another token: %v", name, err)
		}
	}
	if text, err := os.ReadFile(kept); err != nil || strings.Contains(string(text), "1234") {
		t.Errorf("%s, %v", text, err)
	}
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	secret = "4711"
	if _, err := g.PIN(t.Context(), device); err != nil {
		t.Errorf("a new PIN: %v", err)
	}
	for range mostRefusals + 5 {
		g.Wrong(device, []byte("x"))
	}
	if len(first.wrong.list) != mostRefusals {
		t.Errorf("%d are kept", len(first.wrong.list))
	}
	if err := os.WriteFile(kept, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := g.PIN(t.Context(), device); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("damaged: %v", err)
	}
}

func TestWhoGivesPINs(t *testing.T) {
	var asked []string
	ask := func(_ context.Context, of string) ([]byte, error) {
		asked = append(asked, of)
		return []byte("4711"), nil
	}
	read := func(string) ([]byte, error) { return nil, errors.New("permission denied") }
	last, free := device, device
	last.Last, free.Free = true, true
	for name, test := range map[string]struct {
		o      Options
		source string
		q      pin.Question
		want   string
		kind   fault.Kind
	}{
		"nobody":               {Options{Read: read}, "", device, "", fault.NoPIN},
		"somebody":             {Options{Read: read, Ask: ask}, "", device, "4711", ""},
		"a file":               {Options{Read: read, Ask: ask}, "file:/x", device, "", fault.NoPIN},
		"the last try, a file": {Options{Read: read, Ask: ask}, "file:/x", last, "", fault.Locked},
		"the last try":         {Options{Read: read, Ask: ask}, "", last, "4711", ""},
		"none may be wanted":   {Options{Read: read, Ask: ask}, "", free, "", ""},
	} {
		got, err := New(test.o).giver(test.source).PIN(t.Context(), test.q)
		if string(got) != test.want || test.kind == "" && err != nil || test.kind != "" && !fault.Is(err, test.kind) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if len(asked) != 2 || !slices.ContainsFunc(asked, func(of string) bool { return strings.Contains(of, "one more wrong PIN locks") }) {
		t.Errorf("asked %q", asked)
	}
	tokens := New(Options{})
	if _, err := tokens.Open(t.Context(), Ref{}); err == nil {
		t.Error("no key is opened")
	}
	if err := tokens.Close(); err != nil {
		t.Error(err)
	}
}
