package estserver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/estserver"
)

func body(der []byte) io.Reader { return bytes.NewReader(est.Encode(der, est.Wrapped)) }

func manualLabel() estserver.Label {
	l := plainLabel()
	l.Manual, l.PendingLife, l.RetryAfter, l.Names = true, 24*time.Hour, 90*time.Second, nil
	return l
}

// waits checks a 202 and gives the request that waits.
func (w *world) waits(r *reply) estserver.Pending {
	w.t.Helper()
	if r.StatusCode != http.StatusAccepted || r.Header.Get("Retry-After") == "" || r.Header.Get("Content-Length") == "" || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain") {
		w.t.Fatalf("%s: %s\n%s", r.Status, r.words(), r.head)
	}
	rows, _, err := w.store.ListRequests(context.Background(), estserver.RequestQuery{State: estserver.Undecided, Now: w.now(), Limit: 10})
	if err != nil || len(rows) == 0 || !strings.Contains(r.words(), rows[0].ID) {
		w.t.Fatalf("%d rows, %v; the answer is %q", len(rows), err, r.words())
	}
	return rows[0]
}

func (w *world) decide(id string, state estserver.RequestState, reason string) {
	w.t.Helper()
	by := ca.Principal{Room: "admin", ID: "carol"}
	_, err := w.store.DecideRequest(context.Background(), estserver.Decision{ID: id, State: state, Reason: reason, By: by, At: w.now(), Expires: w.now().Add(24 * time.Hour)},
		by.Event(w.now(), "est.decided", id))
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestApproval: a request waits, is known again on another connection with another
// binding and on another replica, and a repeat after the word gets the certificate,
// the same ever after (RFC 7030 §4.2.3).
func TestApproval(t *testing.T) {
	w := newWorld(t, nil, manualLabel())
	w.standing("alice", "p")
	c := w.basic("alice", "p")
	ask := asking("gw", "gw.example").keyed(t)
	got := c.linked("simpleenroll", ask, est.ChallengePassword)
	if got.Header.Get("Retry-After") != "90" {
		t.Errorf("Retry-After is %q", got.Header.Get("Retry-After"))
	}
	row := w.waits(got)
	// Who names no User-Agent gets no words: Bouncy Castle would take the answer for cut.
	c.noAgent = true
	if got := c.linked("simpleenroll", ask, est.ChallengePassword); got.StatusCode != http.StatusAccepted || got.Header.Get("Retry-After") != "90" ||
		got.Header.Get("Content-Length") != "0" || got.words() != "" {
		t.Errorf("%s %q %q", got.Status, got.words(), got.head)
	}
	c.noAgent = false
	if row.Identity != "user:alice" || row.Operation != "simpleenroll" || len(row.Names) != 1 || row.Subject != `CN="gw"` || len(row.CSR) == 0 || row.Address == "" {
		t.Errorf("%+v", row)
	}
	replica := w.serve(w.another().Handler())
	for i := range 4 { // each on a connection of its own
		c.front, c.maxTLS = nil, tls.VersionTLS12
		if i%2 == 0 {
			c.front, c.maxTLS = replica, tls.VersionTLS13
		}
		if again := w.waits(c.linked("simpleenroll", ask, est.IdentityLinking)); again.ID != row.ID {
			t.Error("a repeat made another request")
		}
	}
	before := w.issued()
	w.decide(row.ID, estserver.Approved, "")
	first := granted(t, c.linked("simpleenroll", ask, est.ChallengePassword))
	c.front = nil
	if again := granted(t, c.linked("simpleenroll", ask, est.IdentityLinking)); !again.Equal(first) || w.issued() != before+1 {
		t.Error("a repeat got another certificate")
	}
	if d := w.detail(first); !strings.Contains(d["evidence"], "by approval") || !strings.Contains(d["evidence"], "admin:carol") || d["request"] != row.IssueID() {
		t.Errorf("%v", d)
	}
	// Anything else is another request.
	for name, ask := range map[string]wish{"key": asking("gw", "gw.example"), "names": asking("gw", "gw2.example"), "subject": asking("gw2", "gw.example")} {
		if other := w.waits(c.post("simpleenroll", ask.der(t))); other.ID == row.ID {
			t.Errorf("another %s is taken for the same request", name)
		}
	}
	w.standing("bob", "p")
	if other := w.waits(w.basic("bob", "p").post("simpleenroll", ask.der(t))); other.ID == row.ID {
		t.Error("another user's is taken for the same request")
	}
}

// TestRefusal: the reason, as long as it is kept; then it may be asked anew.
func TestRefusal(t *testing.T) {
	w := newWorld(t, nil, manualLabel())
	w.standing("alice", "p")
	c := w.basic("alice", "p")
	ask := asking("gw", "gw.example").keyed(t).der(t)
	row := w.waits(c.post("simpleenroll", ask))
	w.decide(row.ID, estserver.Refused, "not yours")
	refused(t, c.post("simpleenroll", ask), http.StatusForbidden, "not yours")
	w.pass(25 * time.Hour)
	again := w.waits(c.post("simpleenroll", ask))
	if again.ID == row.ID {
		t.Error("it is the old request")
	}
	w.pass(25 * time.Hour) // undecided until it expired
	if third := w.waits(c.post("simpleenroll", ask)); third.ID == again.ID {
		t.Error("it is the expired request")
	}
}

// TestApprovalWithinPatterns: where the label names patterns, nobody is asked about
// anything else, nor about what the core would refuse.
func TestApprovalWithinPatterns(t *testing.T) {
	l := manualLabel()
	l.Names, l.PendingLimit = []string{"*.iot.example", "CN=*"}, 2
	w := newWorld(t, nil, l)
	w.standing("alice", "p")
	c := w.basic("alice", "p")
	refused(t, c.post("simpleenroll", asking("gw", "gw.example").der(t)), http.StatusForbidden, "gw.example")
	email := asking("gw")
	email.EmailAddresses = []string{"gw@iot.example"}
	refused(t, c.post("simpleenroll", email.der(t)), http.StatusForbidden)
	w.waits(c.post("simpleenroll", asking("gw", "a.iot.example").der(t)))
	w.waits(c.post("simpleenroll", asking("gw", "b.iot.example").der(t)))
	refused(t, c.post("simpleenroll", asking("gw", "c.iot.example").der(t)), http.StatusTooManyRequests, "wait for a decision")
}
