package enroll_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/internal/enroll"
)

// A stranger's directory of a mebibyte costs that CA, for good or not, and nobody else.
func TestLargeDirectoryHarmsNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(2)...)
	c := r.client("")
	r.set("a.test", issue("ca1.test"))
	r.set("b.test", issue("ca2.test"))
	body := `{"newNonce":"https://ca1.test/n","newAccount":"https://ca1.test/a","newOrder":"https://ca1.test/o","meta":{"caaIdentities":["ca1.test","` + strings.Repeat("<", 1<<20-3000) + `"]}}`
	r.houses[0].set(only("/.well-known/acme", func(w http.ResponseWriter, q *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(body))
		return true
	}))
	if _, err := c.Get(t.Context(), sheet("a.test"), enroll.Options{}); err == nil {
		t.Error("issued")
	}
	c.get(t, enroll.Options{}, "b.test")
	r.reset()
	c.get(t, enroll.Options{}, "a.test") // the stranger mended it
}

// The damaged record of one CA is told, and costs that CA alone; the directory beside it
// is had again.
func TestDamagedCA(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(2)...)
	c := r.client("")
	r.set("a.test", issue("ca1.test"))
	r.set("b.test", issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"))
	c.get(t, enroll.Options{}, "a.test")
	files, err := filepath.Glob(filepath.Join(c.vault.Dir(), "cas", "*", "*.json"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	record, kept := files[0], files[1] // by name
	for _, f := range []string{kept, record} {
		if err := os.WriteFile(f, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		if f == kept {
			c.get(t, enroll.Options{Force: true}, "a.test")
		}
	}
	out := c.get(t, enroll.Options{}, "b.test")
	if out.Issued.Issuer != "ca2.test" || !strings.Contains(out.Attempts[0].Error, record) {
		t.Errorf("%+v", out)
	}
	if told := c.told("damaged-file"); len(told) != 1 || !strings.Contains(told[0].Text, record) {
		t.Errorf("told %+v", told)
	}
	if _, err := c.Get(t.Context(), sheet("a.test"), enroll.Options{Force: true}); err == nil || !strings.Contains(err.Error(), record) {
		t.Error(err)
	}
	rep, err := c.Discover(t.Context(), sheet("b.test"), enroll.Options{})
	if err != nil || len(rep.Offers) != 2 || rep.Offers[0].Usable || !strings.Contains(rep.Offers[0].Why, record) || !rep.Offers[1].Usable {
		t.Errorf("%+v, %v", rep.Offers, err)
	}
}

// An owner who names hundreds of CAs costs no more than one who names a few.
func TestManyCAs(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(1)...)
	c := r.client("", func(cfg *enroll.Config) { cfg.Settings.Tries = 1 })
	all := []string{issue("ca1.test", "priority=200")}
	for i := range 200 {
		all = append(all, issue(fmt.Sprintf("x%d.test", i), fmt.Sprintf("priority=%d", i)))
	}
	r.set("a.test", all...)
	rep, err := c.Discover(t.Context(), sheet("a.test"), enroll.Options{})
	if err != nil || len(rep.Offers) != 16 || !strings.Contains(strings.Join(rep.Notes, "\n"), "185 offers are left out") {
		t.Errorf("%d offers, %v, %v", len(rep.Offers), rep.Notes, err)
	}
	out, err := c.Get(t.Context(), sheet("a.test"), enroll.Options{})
	if err == nil || len(out.Attempts) != 16 || out.Attempts[0].Issuer != "x0.test" || len(err.Error()) > 16<<10 {
		t.Errorf("%d attempts, %v", len(out.Attempts), err)
	}
	if cas, err := c.vault.CAs(); err != nil || len(cas) > 16 {
		t.Errorf("%d records, %v", len(cas), err)
	}
	c.clock.add(40 * 24 * time.Hour)
	r.set("a.test", issue("ca1.test"))
	c.get(t, enroll.Options{}, "a.test")
	if cas, err := c.vault.CAs(); err != nil || len(cas) != 1 {
		t.Errorf("%d records after a month, %v", len(cas), err)
	}
}

// Terms that change at each look are one message a day, and so many are kept.
func TestTermsToAndFro(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(1)...)
	c := r.client("")
	r.set("a.test", issue("ca1.test"))
	day := time.Date(2030, 1, 1, 1, 0, 0, 0, time.UTC)
	c.clock.add(day.Sub(c.clock.Now()))
	looks := func(n int, apart time.Duration, terms func(int) string) {
		for i := range n {
			r.houses[0].setMeta(func(m map[string]any) { m["termsOfService"] = terms(i) })
			r.houses[0].set(problem("/new-order", 403, "rejectedIdentifier"))
			if _, err := c.Get(t.Context(), sheet("a.test"), enroll.Options{Force: true}); err == nil {
				t.Fatal("issued")
			}
			c.clock.add(apart)
		}
	}
	looks(50, 10*time.Minute, func(i int) string { return fmt.Sprintf("https://ca1.test/terms/%d", i) })
	if n := len(c.told("terms-changed")); n != 1 {
		t.Errorf("%d messages in a day", n)
	}
	if cas, _ := c.vault.CAs(); len(cas) != 1 || len(cas[0].Terms) != 32 {
		t.Errorf("%d terms are kept", len(cas[0].Terms))
	}
	c.clock.add(24 * time.Hour)
	looks(4, 25*time.Hour, func(i int) string { return []string{"https://ca1.test/a", "https://ca1.test/b"}[i%2] })
	ids := map[string]bool{}
	for _, n := range c.told("terms-changed") {
		ids[n.ID] = true
	}
	if len(ids) != 5 {
		t.Errorf("%d messages of changes to and fro", len(ids))
	}
}

// A page to visit is one message while it is wanted, another when it is wanted again, and
// a CA cannot ask for a new one at each look.
func TestVisits(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(1)...)
	c := r.client("")
	r.set("a.test", issue("ca1.test"))
	wants := func(times int) {
		r.houses[0].set(problem("/new-order", 403, "userActionRequired"))
		for range times {
			c.clock.add(time.Minute)
			if _, err := c.Get(t.Context(), sheet("a.test"), enroll.Options{Force: true}); err == nil {
				t.Fatal("issued")
			}
		}
	}
	ids := func() int {
		all := map[string]bool{}
		for _, n := range c.told("action-required") {
			all[n.ID] = true
		}
		return len(all)
	}
	if wants(3); ids() != 1 {
		t.Errorf("%d messages", ids())
	}
	r.reset()
	c.get(t, enroll.Options{Force: true}, "a.test")
	if wants(3); ids() != 2 {
		t.Errorf("%d messages, wanted again", ids())
	}
	for i := range 20 {
		n := i
		r.houses[0].set(func(w http.ResponseWriter, q *http.Request) bool {
			return problem("/new-order", 403, fmt.Sprintf("userActionRequired\",\"instance\":\"https://ca1.test/%d", n))(w, q)
		})
		_, _ = c.Get(t.Context(), sheet("a.test"), enroll.Options{Force: true})
	}
	if ids() > 5 {
		t.Errorf("%d messages in a day", ids())
	}
}
