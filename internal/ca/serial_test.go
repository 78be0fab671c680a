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
	for _, odd := range []time.Time{{}, time.Unix(-1, 0), time.Date(2109, 6, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if b := newSerial(odd).Bytes(); len(b) != 16 || b[0]&0xc0 != 0x40 {
			t.Errorf("at %v: % x", odd, b)
		}
	}
}
