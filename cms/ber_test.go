package cms_test

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"runtime"
	"strings"
	"testing"

	"chancery/cms"
)

func TestDER(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"DER":                               {"3003020101", "3003020101"},
		"empty":                             {"3000", "3000"},
		"high tag":                          {"bf8105020500", "bf8105020500"},
		"indefinite":                        {"30800201010000", "3003020101"},
		"indefinite in indefinite":          {"3080308002010100000000", "30053003020101"},
		"long length":                       {"3081030201" + "01", "3003020101"},
		"longer length":                     {"30840000000402" + "8101" + "01", "3003020101"},
		"string in pieces":                  {"2408040101" + "0403020304", "040401020304"},
		"string in streamed pieces":         {"24800401010400040102" + "0000", "04020102"},
		"string in pieces of pieces":        {"2480248004010100000401020000", "04020102"},
		"no pieces":                         {"2400", "0400"},
		"bits in pieces":                    {"23800302000103020480" + "0000", "0303040180"},
		"bits in no pieces":                 {"23800000", "030100"},
		"UTF8String in pieces":              {"2c80040161040162" + "0000", "0c026162"},
		"context tag in pieces stays":       {"a080040101" + "0000", "a003040101"},
		"a length of 128":                   {"2480" + "0440" + strings.Repeat("aa", 64) + "0440" + strings.Repeat("aa", 64) + "0000", "048180" + strings.Repeat("aa", 128)},
		"a sequence grows over 127 by that": {"3080" + "04817c" + strings.Repeat("aa", 124) + "0500" + "0000", "308180" + "047c" + strings.Repeat("aa", 124) + "0500"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := cms.DER(unhex(t, c.in), cms.Limits{})
			if err != nil || hex.EncodeToString(got) != c.want {
				t.Errorf("%x, %v; want %s", got, err, c.want)
			}
		})
	}
}

func TestDERRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("3080", n) + strings.Repeat("0000", n) }
	for name, c := range map[string]struct {
		in   string
		kind cms.Kind
	}{
		"nothing":                   {"", cms.Malformed},
		"no length":                 {"30", cms.Malformed},
		"cut off":                   {"30030201", cms.Malformed},
		"child longer than parent":  {"30030202010100", cms.Malformed},
		"trailing":                  {"300000", cms.Malformed},
		"trailing after end":        {"3080000000", cms.Malformed},
		"no end":                    {"3080020101", cms.Malformed},
		"half an end":               {"308000", cms.Malformed},
		"end of nothing":            {"0000", cms.Malformed},
		"end in definite":           {"30020000", cms.Malformed},
		"primitive indefinite":      {"04800000", cms.Malformed},
		"reserved length":           {"30ff", cms.Malformed},
		"claimed 4 GiB":             {"3084ffffffff", cms.Malformed},
		"claimed 2^64":              {"3088ffffffffffffffff", cms.Malformed},
		"claimed 2^127 octets long": {"30fe" + strings.Repeat("ff", 126), cms.Malformed},
		"constructed INTEGER":       {"2203020101", cms.Malformed},
		"primitive SEQUENCE":        {"1000", cms.Malformed},
		"piece of another type":     {"2403020101", cms.Malformed},
		"piece of an empty bit":     {"23020300", cms.Malformed},
		"bits after unused ones":    {"2308030204800302" + "0001", cms.Malformed},
		"nine unused bits":          {"230403020901", cms.Malformed},
		"tag with leading zero":     {"bf800100", cms.Malformed},
		"tag that is too long":      {"bfffffffff7f00", cms.Malformed},
		"low tag in the long form":  {"bf1e00", cms.Malformed},
		"too deep":                  {deep(65), cms.TooLarge},
		"a string that is too deep": {strings.Repeat("2480", 65) + strings.Repeat("0000", 65), cms.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cms.DER(unhex(t, c.in), cms.Limits{})
			isKind(t, err, c.kind)
		})
	}
	if _, err := cms.DER(unhex(t, deep(64)), cms.Limits{}); err != nil {
		t.Errorf("64 deep: %v", err)
	}
	_, err := cms.DER(make([]byte, 11), cms.Limits{Size: 10})
	isKind(t, err, cms.TooLarge)
	_, err = cms.DER(unhex(t, "3080050005000000"), cms.Limits{Count: 2})
	isKind(t, err, cms.TooLarge)
}

// Others took seconds for 64 KiB of nested or piecewise BER (a copy at each level). Here the
// memory taken, which stands for the copies made, is a fixed multiple of the input.
func TestDERIsLinear(t *testing.T) {
	nested := func(n int) []byte { // as deep as allowed, again and again
		one := strings.Repeat("3080", 60) + strings.Repeat("0000", 60)
		in, _ := hex.DecodeString("3080" + strings.Repeat(one, n/240) + "0000")
		return in
	}
	pieces := func(n int) []byte {
		in, _ := hex.DecodeString("2480" + strings.Repeat("040101", n/3) + "0000")
		return in
	}
	for name, make := range map[string]func(int) []byte{"nested": nested, "pieces": pieces} {
		taken := func(n int) uint64 {
			in := make(n)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := cms.DER(in, cms.Limits{}); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			return after.TotalAlloc - before.TotalAlloc
		}
		if small, large := taken(1<<14), taken(1<<18); large > 64*small {
			t.Errorf("%s: %d octets for 16 KiB, %d for 256 KiB", name, small, large)
		}
	}
}

func FuzzDER(f *testing.F) {
	for _, seed := range []string{"3003020101", "30800201010000", "24800401010400040102" + "0000", "23800302000103020480" + "0000", "30840000000402" + "8101" + "01", "bf8105020500"} {
		in, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := cms.DER(in, cms.Limits{})
		if err != nil {
			return
		}
		again, err := cms.DER(out, cms.Limits{})
		if err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%x made %x, which makes %x: %v", in, out, again, err)
		}
		var raw asn1.RawValue
		if rest, err := asn1.Unmarshal(out, &raw); err != nil || len(rest) != 0 {
			t.Fatalf("%x made %x, which is no DER: %v", in, out, err)
		}
	})
}
