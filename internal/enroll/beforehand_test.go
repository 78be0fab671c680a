package enroll_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"
)

// What cannot be proven is ruled out before any CA is asked, and discover says it as get.
func TestWildcardByHTTPAlone(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("wild.example", issue("ca1.test"))
	c := r.client("")
	sheet := vault.Sheet{Names: []string{"*.wild.example"}}
	rep, err := c.Discover(t.Context(), sheet, enroll.Options{})
	if err == nil || !strings.Contains(rep.Error, "dns-01 or dns-persist-01 alone") || len(rep.Offers) != 0 || len(rep.Judged) != 1 {
		t.Errorf("discover: %+v, %v", rep, err)
	}
	if out, err := c.Get(t.Context(), sheet, enroll.Options{}); err == nil || out.Result != enroll.Failed || !strings.Contains(err.Error(), "dns-01 or dns-persist-01 alone") {
		t.Errorf("get: %s, %v", out.Result, err)
	}
	if left, err := os.ReadDir(filepath.Join(c.vault.Dir(), "certificates")); err != nil || len(left) != 0 {
		t.Errorf("left of the first run, which failed: %v, %v", left, err)
	}
	if n := r.houses[0].seen.Load(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// Notes say what a record that is of no use lacks: a challenge, a binding, or a letter.
func TestNotesOfRecords(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test", "validationmethods=dns-01"), issue("ca1.test", "validationmethods=ca-ev"), `0 isue "ca2.test"`)
	rep, _ := r.client("").Discover(t.Context(), vault.Sheet{Names: []string{"shop.example"}}, enroll.Options{})
	notes := strings.Join(rep.Notes, "\n")
	for _, want := range []string{"set up dns-01", "kind ca-ev from ca1.test takes an external account binding", `was "issue" meant`} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note with %q in:\n%s", want, notes)
		}
	}
	if strings.Contains(notes, "kind dns-01") {
		t.Errorf("a challenge is called a kind:\n%s", notes)
	}
}
