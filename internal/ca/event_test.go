package ca_test

import (
	"strings"
	"testing"
	"time"

	"chancery/internal/ca"
)

func TestWellFormedID(t *testing.T) {
	good := strings.Repeat("a2z7", 7)[:26]
	for text, want := range map[string]bool{
		good: true, ca.NewID(): true, strings.Repeat("a", 26): true,
		"": false, good[:25]: false, good + "a": false, strings.ToUpper(good): false,
		good[:25] + "1": false, good[:25] + "8": false, good[:25] + "0": false, good[:25] + "/": false, good[:25] + "=": false, good[:24] + "é": false,
	} {
		if got := ca.WellFormedID(text); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
	if a, b := ca.NewID(), ca.NewID(); a == b {
		t.Errorf("twice %s", a)
	}
}

// Ids of one moment begin alike, and those of others differently; none comes twice.
func TestTimedID(t *testing.T) {
	const begins = 9 // characters hold 45 of the 48 bits of time
	at := time.Date(2026, 11, 22, 11, 0, 0, 0, time.UTC)
	a, b := ca.TimedID(at), ca.TimedID(at)
	if !ca.WellFormedID(a) || a == b || a[:begins] != b[:begins] {
		t.Errorf("%s and %s at one moment", a, b)
	}
	for _, d := range []time.Duration{8 * time.Millisecond, time.Hour, 1000 * time.Hour, -100 * 365 * 24 * time.Hour} {
		if c := ca.TimedID(at.Add(d)); !ca.WellFormedID(c) || c[:begins] == a[:begins] {
			t.Errorf("%s at a moment, %s %v later", a, c, d)
		}
	}
}
