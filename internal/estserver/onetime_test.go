package estserver_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/estserver"
)

// TestOneTime: it is good for one certificate; a repeat with the same key gets that,
// another key none (RFC 7030 §6).
func TestOneTime(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	w.oneTime("dev", "once", "dev.example", "CN=dev")
	c := w.basic("dev", "once")
	refused(t, w.basic("other", "once").post("simpleenroll", asking("dev", "dev.example").der(t)), http.StatusUnauthorized)
	refused(t, c.post("simpleenroll", asking("dev", "elsewhere.example").der(t)), http.StatusForbidden, "elsewhere.example")
	refused(t, c.post("simpleenroll", []byte{0x30, 0x00}), http.StatusBadRequest)
	ask := asking("dev", "dev.example").keyed(t)
	first := granted(t, c.post("simpleenroll", ask.der(t)))
	again := granted(t, c.post("simpleenroll", ask.der(t)))
	if !first.Equal(again) {
		t.Error("a repeat got another certificate")
	}
	before := w.issued()
	refused(t, c.post("simpleenroll", asking("dev", "dev.example").der(t)), http.StatusForbidden, "one-time password got a certificate already")
	fewer := asking("dev")
	fewer.key = ask.key
	refused(t, c.post("simpleenroll", fewer.der(t)), http.StatusForbidden, "one-time password got a certificate already")
	if got := w.issued(); got != before {
		t.Errorf("%d certificates became %d", before, got)
	}
	w.revoke(first)
	refused(t, c.post("simpleenroll", ask.der(t)), http.StatusForbidden, "revoked")
	w.pass(48 * time.Hour)
	refused(t, c.post("simpleenroll", ask.der(t)), http.StatusUnauthorized)
}

// TestOneTimeAtOnce: of many connections at once, one key wins.
func TestOneTimeAtOnce(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	w.oneTime("dev", "once", "*")
	before := w.issued()
	const n = 8
	answers := make(chan int, n)
	for range n {
		der := asking("dev", "dev.example").der(t)
		go func() {
			req, _ := http.NewRequestWithContext(context.Background(), http.MethodPost, w.front.URL+root+"simpleenroll", body(der))
			req.Header.Set("Content-Type", "application/pkcs10")
			req.SetBasicAuth("dev", "once")
			res, err := w.front.Client().Do(req)
			if err != nil {
				answers <- 0
				return
			}
			res.Body.Close()
			answers <- res.StatusCode
		}()
	}
	got := map[int]int{}
	for range n {
		got[<-answers]++
	}
	if got[http.StatusOK] != 1 || got[http.StatusForbidden] != n-1 || w.issued() != before+1 {
		t.Errorf("%v, %d certificates more", got, w.issued()-before)
	}
}

// TestOneTimeUnderApproval: a 202 does not spend it, it is bound to the request while
// that waits, a refusal gives it back, and issuance spends it for every label.
func TestOneTimeUnderApproval(t *testing.T) {
	manual := manualLabel()
	manual.Name = "manual"
	w := newWorld(t, nil, plainLabel(), manual)
	w.oneTime("dev", "once", "*")
	c := w.basic("dev", "once")
	ask, other := asking("dev", "dev.example").keyed(t), asking("dev", "dev.example").keyed(t)
	row := w.waits(c.post("manual/simpleenroll", ask.der(t)))
	w.waits(c.post("manual/simpleenroll", ask.der(t)))
	refused(t, c.post("manual/simpleenroll", other.der(t)), http.StatusForbidden, "belongs to a request that waits")
	refused(t, c.post("simpleenroll", ask.der(t)), http.StatusForbidden, "belongs to a request that waits")
	w.decide(row.ID, estserver.Refused, "not this key")
	refused(t, c.post("manual/simpleenroll", ask.der(t)), http.StatusForbidden, "not this key")
	row = w.waits(c.post("manual/simpleenroll", other.der(t)))
	w.decide(row.ID, estserver.Approved, "")
	first := granted(t, c.post("manual/simpleenroll", other.der(t)))
	if again := granted(t, c.post("manual/simpleenroll", other.der(t))); !again.Equal(first) {
		t.Error("a repeat got another certificate")
	}
	refused(t, c.post("simpleenroll", ask.der(t)), http.StatusForbidden)
	refused(t, c.post("manual/simpleenroll", asking("dev", "dev.example").der(t)), http.StatusForbidden, "got a certificate already")

	// The other way round: spent without approval, it begins no request.
	w.oneTime("dev", "twice", "*")
	c = w.basic("dev", "twice")
	granted(t, c.post("simpleenroll", asking("dev", "dev.example").der(t)))
	refused(t, c.post("manual/simpleenroll", asking("dev", "dev.example").der(t)), http.StatusForbidden, "got a certificate already")
}

// TestSecretsInRequests: otpChallenge anywhere, challengePassword where the label
// reads it so (RFC 7894, and as other authorities use it).
func TestSecretsInRequests(t *testing.T) {
	secret, both := plainLabel(), plainLabel()
	secret.Name, secret.ChallengeSecret = "secret", true
	both.Name, both.Accept = "both", []estserver.Way{{estserver.ByPassword, estserver.ByOneTime}}
	w := newWorld(t, nil, plainLabel(), secret, both)
	w.standing("alice", "p", "*")
	nobody := w.client(nil)
	once := func() string {
		password := ca.NewID()
		w.oneTime("", password, "*")
		return password
	}
	ask := asking("alice", "a.example")
	cert := granted(t, nobody.post("simpleenroll", ask.with(est.OTPChallenge(once())).der(t)))
	if d := w.detail(cert); d["via"] != "challenge" || d["one_time_password"] == "" {
		t.Errorf("%v", d)
	}
	spent := once()
	granted(t, nobody.post("secret/simpleenroll", ask.with(est.ChallengePassword(spent)).der(t)))
	refused(t, nobody.post("secret/simpleenroll", ask.with(est.ChallengePassword(spent)).der(t)), http.StatusForbidden, "already")
	granted(t, nobody.post("secret/simpleenroll", ask.with(est.ChallengePassword("p")).der(t)))
	refused(t, nobody.post("secret/simpleenroll", ask.with(est.ChallengePassword("q")).der(t)), http.StatusForbidden, "challengePassword is not a secret")
	refused(t, nobody.post("secret/simpleenroll", asking("bob", "a.example").with(est.ChallengePassword("p")).der(t)), http.StatusForbidden, "not a secret")
	refused(t, nobody.post("simpleenroll", ask.with(est.OTPChallenge("guessed")).der(t)), http.StatusForbidden, "otpChallenge")
	// Where challengePassword is linking, no password in it is one.
	refused(t, nobody.post("simpleenroll", ask.with(est.ChallengePassword("p")).der(t)), http.StatusUnauthorized)
	// A wrong one beside a right password is wrong (RFC 7894 §4).
	alice := w.basic("alice", "p")
	refused(t, alice.post("simpleenroll", ask.with(est.OTPChallenge("guessed")).der(t)), http.StatusForbidden, "otpChallenge")
	refused(t, alice.post("both/simpleenroll", ask.der(t)), http.StatusForbidden, "password+one-time")
	last := once()
	granted(t, alice.post("both/simpleenroll", ask.with(est.OTPChallenge(last)).der(t)))
	refused(t, alice.post("both/simpleenroll", ask.with(est.OTPChallenge(last)).der(t)), http.StatusForbidden, "already")
}
