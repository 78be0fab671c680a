package enroll_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"chancery/internal/enroll"
)

// An order that was finalized at one CA is not lost when the next one's begins: the next
// run takes the certificate that was issued, and orders no second one.
func TestFinalizedOrderOutlivesTheNextCAs(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(2)...)
	r.set("a.test", issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"))
	c := r.client("", func(cfg *enroll.Config) { cfg.Settings.Tries = 1 })
	var finalized atomic.Int64
	r.houses[0].set(func(w http.ResponseWriter, q *http.Request) bool {
		if strings.HasSuffix(q.URL.Path, "/finalize") {
			finalized.Add(1)
		}
		return finalized.Load() > 0 && !strings.HasSuffix(q.URL.Path, "/finalize") && everything(500, "broken")(w, q)
	})
	r.houses[1].set(problem("/finalize", 403, "caa"))
	for range 2 {
		out, err := c.Get(t.Context(), sheet("a.test"), enroll.Options{})
		if err == nil || len(out.Attempts) != 2 {
			t.Fatalf("%+v, %v", out.Attempts, err)
		}
	}
	rec := rec(t, c, "a.test")
	if rec.Pending != nil || len(rec.Kept) != 1 || !rec.Kept[0].Finalized {
		t.Fatalf("pending %+v, kept %+v", rec.Pending, rec.Kept)
	}
	r.reset()
	out := c.get(t, enroll.Options{}, "a.test")
	if out.Issued.Issuer != "ca1.test" || r.houses[0].orders.Load() != 0 || len(c.heard(enroll.EventResumed)) == 0 {
		t.Errorf("%s issued, %d new orders", out.Issued.Issuer, r.houses[0].orders.Load())
	}
	if after, err := c.vault.Record("a.test"); err != nil || len(after.Kept) != 0 {
		t.Errorf("%+v, %v", after.Kept, err)
	}
}
