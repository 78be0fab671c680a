package ca_test

import (
	"strings"
	"testing"

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
