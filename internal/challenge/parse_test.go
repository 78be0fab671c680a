package challenge

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzParseAuthorization(f *testing.F) {
	right := append([]byte{4, 32}, bytes.Repeat([]byte{7}, 32)...)
	for _, b := range [][]byte{
		right, right[:33], right[2:], append(bytes.Clone(right), 0), nil, {4, 0},
		append([]byte{4, 0x81, 32}, right[2:]...),          // BER: the length in two bytes
		append([]byte{0x24, 0x80, 4, 32}, right[2:]...),    // BER: constructed, indefinite
		append([]byte{3, 33, 0}, right[2:]...),             // BIT STRING
		append([]byte{4, 34, 4, 32}, right[2:]...),         // wrapped once too often
		append([]byte{4, 0x84, 0, 0, 0, 32}, right[2:]...), // BER: leading zeros
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		digest, err := parseAuthorization(der)
		if err != nil {
			return
		}
		// There is exactly one encoding of a digest.
		if want := append([]byte{4, 32}, digest[:]...); !bytes.Equal(der, want) {
			t.Fatalf("%x was read as %x", der, digest)
		}
	})
}

func TestParseAuthorization(t *testing.T) {
	right := append([]byte{4, 32}, bytes.Repeat([]byte{7}, 32)...)
	if d, err := parseAuthorization(right); err != nil || !bytes.Equal(d[:], right[2:]) {
		t.Fatalf("%x, %v", d, err)
	}
	for i := range right {
		if _, err := parseAuthorization(right[:i]); err == nil {
			t.Errorf("the first %d bytes were accepted", i)
		}
	}
}

func FuzzSoleName(f *testing.F) {
	f.Add([]byte("\x30\x0b\x82\x09x.example"), "dns", "x.example")
	f.Add([]byte("\x30\x0d\x82\x09x.example\x82\x00"), "dns", "x.example")
	f.Add([]byte("\x30\x06\x87\x04\x7f\x00\x00\x01"), "ip", "127.0.0.1")
	f.Add([]byte("\x30\x00"), "dns", "x.example")
	f.Add([]byte("\x30\x05\x82\x03\xe2\x84\xaa"), "dns", "k")
	f.Fuzz(func(t *testing.T, der []byte, kind, value string) {
		if soleName(der, Target{Type: kind, Value: value}) != nil || len(der) < 4 {
			return
		}
		if kind != "ip" && (der[0] != 0x30 || !strings.EqualFold(string(der[len(der)-len(value):]), value)) {
			t.Fatalf("%x was taken for %q", der, value)
		}
	})
}

func FuzzPrintable(f *testing.F) {
	f.Add("plain", 2048)
	f.Add("\x1b[31m\u202e\xff"+strings.Repeat("ü", 3000), 100)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 10 + int(uint(limit)%4000)
		got := printable(s, limit)
		if len(got) > limit || !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\x1b\n\r\u202e") {
			t.Fatalf("%q became %q (limit %d)", s, got, limit)
		}
		if len(excerpt([]byte(s))) > 4*100+5 {
			t.Fatal("the excerpt is too long")
		}
	})
}
