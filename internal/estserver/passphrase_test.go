package estserver_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chancery/cms"
	"chancery/cms/cmc"
	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/estserver"
	"chancery/internal/limit"
)

// forgetful is a store of passphrases whose next writes fail.
type forgetful struct {
	estserver.Passphrases
	fail, kept atomic.Int32
}

// KeepPassphrase implements [estserver.Passphrases].
func (f *forgetful) KeepPassphrase(ctx context.Context, k estserver.Passphrase, e ca.Event) error {
	if f.fail.Add(-1) >= 0 {
		return errors.New("the database went away")
	}
	f.kept.Add(1)
	return f.Passphrases.KeepPassphrase(ctx, k, e)
}

// revokes asks by CMC, by the secret alone.
func (w *cmcWorld) revokes(cert *x509.Certificate, secret string) *told {
	l := newLetter(w.t, revocationOf(cert, 1, secret)).numbered()
	l.wrap.Signers = append(l.wrap.Signers, cms.Signing{NoSignature: true, KeyID: []byte{1}})
	return w.ask(l)
}

// became gives the events that say that the passphrase of a certificate was kept or lost.
func (w *world) became(what string, cert *x509.Certificate) []map[string]string {
	w.t.Helper()
	return w.details("certificate.revocation-challenge-"+what, string(ca.SerialOf(cert.SerialNumber)))
}

// TestPassphraseRevokes: RFC 7894's revocationChallenge revokes the certificate that it
// came with the request for, by whatever operation, and no other (RFC 5272 §6.11).
func TestPassphraseRevokes(t *testing.T) {
	waits := cmcLabel(func(l *estserver.Label) { l.Name, l.Manual, l.PendingLife, l.Names = "waits", true, 24*time.Hour, nil })
	w := newCMCWorld(t, cmcLabel(func(l *estserver.Label) { l.Names = []string{"own", "*.iot.example"} }), waits)
	c := w.client(w.device)
	with := func(name, passphrase string) wish { return of(t, "", name).with(est.RevocationChallenge(passphrase)) }
	byCMC := func(path string, k wish, crmf bool) *told {
		l := newLetter(t).numbered()
		if crmf {
			l.crmf(k, nil)
		} else {
			l.pkcs10(k)
		}
		return w.askAt(path, l.by(w.device).der())
	}
	approved := func(k wish, crmf bool) *x509.Certificate {
		token := byCMC("waits/fullcmc", k, crmf).statuses[0].Pend.Token
		w.decide(string(token), estserver.Approved, "")
		return w.askAt("waits/fullcmc", newLetter(t, cmc.QueryPending(token)).numbered().by(w.device).der()).granted(k.key)
	}
	first := granted(t, c.post("simpleenroll", with("a.iot.example", "lost, alas, lost").der(t)))
	again := with("b.iot.example", "größer & länger")
	all := map[string]*x509.Certificate{
		"größer & länger":   byCMC("fullcmc", again, false).granted(again.key),
		"as it was renewed": granted(t, c.post("simplereenroll", like(w.device).with(est.RevocationChallenge("as it was renewed")).der(t))),
		"asked in crmf":     nil, "waited a while": nil, "waited in crmf": nil,
	}
	k := with("c.iot.example", "asked in crmf")
	all["asked in crmf"] = byCMC("fullcmc", k, true).granted(k.key)
	all["waited a while"] = approved(with("d.iot.example", "waited a while"), false)
	all["waited in crmf"] = approved(with("e.iot.example", "waited in crmf"), true)
	plain := granted(t, c.post("simpleenroll", of(t, "", "f.iot.example").der(t)))

	w.revokes(plain, "lost, alas, lost").refused(http.StatusForbidden, cmc.BadIdentity)
	w.revokes(first, "").refused(http.StatusForbidden, cmc.BadIdentity)
	w.revokes(first, "as it was renewed").refused(http.StatusForbidden, cmc.BadIdentity)
	w.revokes(first, "lost, alas, lost ").refused(http.StatusForbidden, cmc.BadIdentity)
	if !w.record(plain).RevokedAt.IsZero() || !w.record(first).RevokedAt.IsZero() {
		t.Fatal("revoked without right")
	}
	all["lost, alas, lost"] = first
	for passphrase, cert := range all {
		if d := w.detail(cert); d["revocation_challenge"] != "asked" || len(w.became("kept", cert)) != 1 || strings.Contains(w.log.String(), passphrase) {
			t.Errorf("%s: %v", passphrase, d)
		}
		w.revokes(cert, passphrase).granted(nil)
		if w.record(cert).RevokedAt.IsZero() {
			t.Errorf("%q did not revoke", passphrase)
		}
		kept, err := w.store.Passphrase(t.Context(), ca.SerialOf(cert.SerialNumber))
		if err != nil || strings.Contains(kept.Hash, passphrase) || !strings.HasPrefix(kept.Hash, "$argon2id$") {
			t.Errorf("%q is kept as %q, %v", passphrase, kept.Hash, err)
		}
	}
}

// TestNoPassphrase: a plain enrolment has nothing kept.
func TestNoPassphrase(t *testing.T) {
	store := &forgetful{}
	w := newWorld(t, func(c *estserver.Config) { store.Passphrases, c.Passphrases = c.Passphrases, store }, plainLabel())
	w.standing("alice", "p", "*")
	c := w.basic("alice", "p")
	granted(t, c.post("simpleenroll", asking("a", "a.example").der(t)))
	if n := store.kept.Load(); n != 0 {
		t.Errorf("%d passphrases are kept", n)
	}
}

// TestPassphraseIsNotLost: nobody is given a certificate whose passphrase is not kept; the
// repeat gets the same one.
func TestPassphraseIsNotLost(t *testing.T) {
	store := &forgetful{}
	w := newWorld(t, func(c *estserver.Config) { store.Passphrases, c.Passphrases = c.Passphrases, store }, plainLabel())
	w.standing("alice", "p", "*")
	c := w.basic("alice", "p")
	der := asking("a", "a.example").with(est.RevocationChallenge("rrrrrrrrrrrr")).der(t)
	before := w.issued()
	store.fail.Store(1)
	if got := c.post("simpleenroll", der); got.StatusCode != http.StatusInternalServerError {
		t.Fatalf("%s: %s", got.Status, got.words())
	}
	if n := w.happened("certificate.revocation-challenge-kept"); n != 0 {
		t.Errorf("%d events say that a passphrase was kept, and none was", n)
	}
	cert := granted(t, c.post("simpleenroll", der))
	if n := len(w.became("kept", cert)); n != 1 {
		t.Errorf("%d events say that it was kept", n)
	}
	if _, err := w.store.Passphrase(t.Context(), ca.SerialOf(cert.SerialNumber)); err != nil || w.issued() != before+1 {
		t.Errorf("%d certificates, %v", w.issued()-before, err)
	}
}

// TestPassphraseOfRepeats: who repeats a request gets the same certificate, and what revokes
// it is kept once, until it is another.
func TestPassphraseOfRepeats(t *testing.T) {
	store := &forgetful{}
	w := newWorld(t, func(c *estserver.Config) { store.Passphrases, c.Passphrases = c.Passphrases, store }, plainLabel())
	w.oneTime("dev", "once", "*")
	c := w.basic("dev", "once")
	ask := asking("a", "a.example").keyed(t)
	for n, passphrase := range []string{"rrrrrrrrrrrr", "rrrrrrrrrrrr", "rrrrrrrrrrrr", "ssssssssssss", "ssssssssssss"} {
		cert := granted(t, c.post("simpleenroll", ask.with(est.RevocationChallenge(passphrase)).der(t)))
		want := 1 + n/3
		if got := len(w.became("kept", cert)); got != want || int(store.kept.Load()) != want {
			t.Errorf("after %d requests, %d events, kept %d times; want %d", n+1, got, store.kept.Load(), want)
		}
	}
}

// TestPassphraseOfMadeKeys: a key that is made here is delivered, whatever becomes of the
// passphrase, but for one that is no text.
func TestPassphraseOfMadeKeys(t *testing.T) {
	store := &forgetful{}
	w := newKeyWorld(t, func(c *estserver.Config) { store.Passphrases, c.Passphrases = c.Passphrases, store }, keyLabel(nil))
	kept := plain(t, w.generate(est.RevocationChallenge("rrrrrrrrrrrr"))).cert
	if _, err := w.store.Passphrase(t.Context(), ca.SerialOf(kept.SerialNumber)); err != nil {
		t.Error(err)
	}
	store.fail.Store(1)
	lost := plain(t, w.generate(est.RevocationChallenge("rrrrrrrrrrrr"))).cert
	if d := w.detail(lost); d["revocation_challenge"] != "asked" || len(w.became("lost", lost)) != 1 || len(w.became("kept", lost)) != 0 || len(w.became("kept", kept)) != 1 {
		t.Errorf("the history has %v, lost %v, kept %v", d, w.became("lost", lost), w.became("kept", lost))
	}
	if !strings.Contains(w.log.String(), "could not be kept") {
		t.Error("that a passphrase was lost is not in the log")
	}
	der := like(w.device).with(est.RevocationChallenge("passphrase")).der(t)
	text := bytes.Index(der, []byte("passphrase")) - 2
	der[text] = 0x04 // an OCTET STRING; the signature is nobody's to look at here
	refused(t, w.client(w.device).post("serverkeygen", der), http.StatusBadRequest, "revocationChallenge")
}

// TestShortPassphrase: what could be guessed revokes nothing, as it is not taken.
func TestShortPassphrase(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(func(l *estserver.Label) { l.Names = []string{"own", "*.iot.example"} }))
	w.ask(newLetter(t)) // has the responder certified
	before := w.issued()
	c := w.client(w.device)
	for n, short := range []string{"x", "größer, nur"} {
		with := func() wish { return of(t, "", fmt.Sprintf("s%d.iot.example", n)).with(est.RevocationChallenge(short)) }
		refused(t, c.post("simpleenroll", with().der(t)), http.StatusBadRequest, "12 are the least", "openssl rand -hex 16")
		for _, crmf := range []bool{false, true} {
			l := newLetter(t).numbered()
			if crmf {
				l.crmf(with(), nil)
			} else {
				l.pkcs10(with())
			}
			a := w.ask(l.by(w.device))
			if a.refused(http.StatusBadRequest, cmc.BadRequest); !strings.Contains(a.String(), "12 are the least") {
				t.Errorf("the answer is %s", a)
			}
		}
	}
	if w.issued() != before {
		t.Error("something was issued")
	}
	granted(t, c.post("simpleenroll", of(t, "", "l.iot.example").with(est.RevocationChallenge("größer, nur.")).der(t)))
}

// TestRevocationAttempts: wrong secrets hold back who guesses those of one certificate, not
// his neighbours behind one address; and no certificate gives more guesses at a password.
func TestRevocationAttempts(t *testing.T) {
	rule := func(count int) estserver.Limit {
		l, err := limit.New(limit.Rule{Name: "log-ins", Count: count, Per: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return l.Allow
	}
	w := newCMCWorld(t, cmcLabel(func(l *estserver.Label) { l.Names = []string{"*.iot.example"} }))
	w.config.Attempts, w.config.AddressAttempts = rule(3), rule(5)
	w.front = w.serve(w.another().Handler())
	w.standing("alice", "by which it was got", "*")
	get := func(name, passphrase string) *x509.Certificate {
		return granted(t, w.basic("alice", "by which it was got").post("simpleenroll", asking("", name).with(est.RevocationChallenge(passphrase)).der(t)))
	}
	mine, other, third := get("a.iot.example", "the secret of a"), get("b.iot.example", "the secret of b"), get("c.iot.example", "the secret of c")
	later := func(a *told) {
		t.Helper()
		a.refused(http.StatusTooManyRequests, cmc.TryLater)
		for _, words := range []string{"wait 2", "own key", "administrators"} {
			if !strings.Contains(a.String(), words) {
				t.Errorf("%q does not say %q", a, words)
			}
		}
		if a.Header.Get("Retry-After") == "" {
			t.Error("nothing says when to come back")
		}
	}
	// Somebody behind the same address is held back for his guesses at passwords.
	ask := asking("", "d.iot.example").der(t)
	for i := range 6 {
		refused(t, w.basic(fmt.Sprint("user", i), "Summer2026").post("simpleenroll", ask), http.StatusUnauthorized)
	}
	refused(t, w.basic("alice", "by which it was got").post("simpleenroll", ask), http.StatusTooManyRequests, "wait 12m0s")
	w.revokes(mine, "the secret of a").granted(nil)

	// The password itself cannot be tried there meanwhile, and what is wrong counts.
	for range 4 {
		a := w.revokes(other, "by which it was got")
		a.refused(http.StatusTooManyRequests, cmc.TryLater)
	}
	later(w.revokes(other, "the secret of b"))
	w.revokes(third, "the secret of c").granted(nil)
	w.pass(time.Hour)
	w.revokes(other, "by which it was got").granted(nil)
	for _, cert := range []*x509.Certificate{mine, other, third} {
		if w.record(cert).RevokedAt.IsZero() {
			t.Errorf("%v is not revoked", cert.DNSNames)
		}
	}

	// Guesses at the password count for its user, whatever certificate they are made with.
	more := []*x509.Certificate{get("e.iot.example", "the secret of e"), get("f.iot.example", "the secret of f")}
	for i := range 4 {
		w.revokes(more[i%2], "Summer2026Summer").refused(http.StatusForbidden, cmc.BadIdentity)
	}
	w.revokes(more[0], "by which it was got").refused(http.StatusTooManyRequests, cmc.TryLater)
	w.revokes(more[1], "the secret of f").granted(nil)
}
