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

// While a wrong PIN cannot be kept in its file none is tried unattended, the wrong one or
// another; what was wrong is in the file as soon as that can be written, and counts.
func TestWrongPINsThatCannotBeKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not there yet")
	kept := filepath.Join(dir, "refused.json")
	secret := "1234"
	o := Options{Refused: kept, Read: func(string) ([]byte, error) { return []byte(secret), nil }, Ask: func(context.Context, string) ([]byte, error) { return []byte("typed"), nil }}
	tokens := New(o)
	g := tokens.giver("file:/pin")
	for _, secret = range []string{"1234", "1235"} {
		if secret == "1235" { // the file is damaged, and not only out of reach
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(kept, []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		g.Wrong(device, []byte(secret))
		if err := tokens.forgot(); err == nil {
			t.Error("nobody is told")
		}
		for range 2 {
			if got, err := g.PIN(t.Context(), device); !fault.Is(err, fault.NoPIN) || !strings.Contains(err.Error(), kept) || strings.Contains(err.Error(), secret) {
				t.Errorf("the wrong one: %q, %v", got, err)
			}
		}
		other := device
		other.ID = "pkcs11 2 T"
		if got, err := tokens.giver("file:/another").PIN(t.Context(), other); !fault.Is(err, fault.NoPIN) {
			t.Errorf("another token's: %q, %v", got, err)
		}
		if got, err := tokens.giver("").PIN(t.Context(), device); err != nil || string(got) != "typed" {
			t.Errorf("a person's: %q, %v", got, err)
		}
	}
	if err := os.Remove(kept); err != nil {
		t.Fatal(err)
	}
	secret = "4711"
	if got, err := g.PIN(t.Context(), device); err != nil || string(got) != "4711" || tokens.forgot() != nil {
		t.Errorf("when it can be kept: %q, %v, %v", got, err, tokens.forgot())
	}
	for _, secret = range []string{"1234", "1235"} {
		for name, tokens := range map[string]*Tokens{"the same process": tokens, "the next": New(o)} {
			if _, err := tokens.giver("file:/pin").PIN(t.Context(), device); !fault.Is(err, fault.WrongPIN) {
				t.Errorf("%s, %s: %v", name, secret, err)
			}
		}
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
