package est

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func TestKeyIdentifiers(t *testing.T) {
	for text, want := range map[string]string{
		"hex:6b31": "k1", "hex:6B:31": "k1", "6b31": "k1", "6b:31": "k1", " 00AA ": "\x00\xaa",
		"device-7": "device-7", "k1": "k1", "6b3": "6b3", "6b:3": "6b:3", "a:b": "a:b", "größe 7": "größe 7", "6b 31": "6b 31",
		"hex:ff": "\xff", strings.Repeat("ab", 128): strings.Repeat("\xab", 128), strings.Repeat("x", 128): strings.Repeat("x", 128),
		// Refused.
		"": "", "hex:": "", "hex:6": "", "hex:k1": "", "hex:6b::31": "", "a\nb": "", "\xff": "",
		strings.Repeat("x", 129): "", "hex:" + strings.Repeat("00", 129): "",
	} {
		got, err := ParseKeyIdentifier(text)
		if string(got) != want || (err != nil) != (want == "") || err != nil && !Is(err, Malformed) {
			t.Errorf("%q is read as %q, %v", text, got, err)
		}
	}
}

func FuzzParseKeyIdentifier(f *testing.F) {
	for _, seed := range []string{"hex:6b31", "00:11:aa", "device-7", "hex:", "a:b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseKeyIdentifier(text)
		if err != nil {
			return
		}
		if len(id) == 0 || len(id) > keyIdentifierMax {
			t.Fatalf("%q has %d octets", text, len(id))
		}
		again, err := ParseKeyIdentifier("hex:" + hex.EncodeToString(id))
		if err != nil || !bytes.Equal(again, id) {
			t.Fatalf("%q is read as %x, and that as %x, %v", text, id, again, err)
		}
	})
}
