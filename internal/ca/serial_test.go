package ca

import (
	"testing"
	"time"
)

// TestSerials: of one length, positive without an octet for the sign, in the order of
// time, and different within one step of it.
func TestSerials(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	last, seen := Serial(""), map[Serial]bool{}
	for i := range 1000 {
		s := newSerial(at.Add(time.Duration(i) * 16 * time.Millisecond))
		if b := s.Bytes(); len(b) != 16 || b[0]&0xc0 != 0x40 {
			t.Fatalf("%s is not 16 octets that begin with 01", s)
		}
		if s <= last {
			t.Fatalf("%s does not follow %s", s, last)
		}
		last = s
		seen[newSerial(at)] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d different ones of 1000", len(seen))
	}
	// Of one instant, the first 40 bits are the same in all, and each of the other 88 is
	// both 0 and 1 in 1000 draws (that chance has it otherwise: 2^-992).
	first := newSerial(at).Bytes()
	var ever, always [16]byte
	copy(always[:], first)
	for s := range seen {
		b := s.Bytes()
		for i := range b {
			ever[i], always[i] = ever[i]|b[i], always[i]&b[i]
		}
	}
	for i := range first {
		if i < 5 && (ever[i] != first[i] || always[i] != first[i]) {
			t.Errorf("octet %d is not the instant's alone: ever %08b, always %08b, first %08b", i, ever[i], always[i], first[i])
		}
		if i >= 5 && (ever[i] != 0xff || always[i] != 0) {
			t.Errorf("octet %d is not random: the bits %08b are ever set, %08b always", i, ever[i], always[i])
		}
	}
	for _, odd := range []time.Time{{}, time.Unix(-1, 0), time.Date(2109, 6, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if b := newSerial(odd).Bytes(); len(b) != 16 || b[0]&0xc0 != 0x40 {
			t.Errorf("at %v: % x", odd, b)
		}
	}
}
