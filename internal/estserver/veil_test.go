package estserver_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/cms/cmc"
	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/certtest"
	"chancery/internal/estserver"
	"chancery/internal/sqldb"
)

// kept gives all that the database has of requests and events, as text.
func (w *world) kept() string {
	w.t.Helper()
	all := ""
	for _, query := range []string{
		`SELECT id, csr, passphrase FROM est_requests`, `SELECT id, CAST(subject AS BLOB), detail FROM events`,
	} {
		err := w.db.Query(w.t.Context(), query, nil, func(row sqldb.Row) error {
			var id, more string
			var der []byte
			err := row.Scan(&id, &der, &more)
			all += id + " " + string(der) + " " + more + "\n"
			return err
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return all
}

// TestWaitingKeepsNoSecret: of a request that waits, neither the database nor its approver
// has what is secret in it, at any time; the rest is as it came.
func TestWaitingKeepsNoSecret(t *testing.T) {
	const secret = "only the holder's"
	l := cmcLabel(func(l *estserver.Label) { l.Manual, l.PendingLife, l.Names = true, 24*time.Hour, nil })
	w := newCMCWorld(t, l)
	o := w.office()
	c := w.client(w.device)
	with := func(name string) wish { return of(t, "", name).with(est.RevocationChallenge(secret)) }
	hides := func(when, id string) []byte {
		t.Helper()
		shown := done[estserver.Named, estserver.RequestShown](o, "est.requests.show", estserver.Named{ID: id})
		block, _ := pem.Decode([]byte(shown.CSR))
		if block == nil || bytes.Contains(block.Bytes, []byte(secret)) || strings.Contains(w.kept(), secret) {
			t.Fatalf("%s, the secret is there: %s", when, shown.CSR)
		}
		return block.Bytes
	}
	byCMC := func(values ...cmc.Value) *letter { return newLetter(t, values...).numbered() }
	tokenOf := func(l *letter) string {
		t.Helper()
		return string(w.ask(l.by(w.device)).statuses[0].Pend.Token)
	}

	simple := with("a.iot.example")
	id := w.waits(c.post("simpleenroll", simple.der(t))).ID
	csr, err := x509.ParseCertificateRequest(hides("waiting", id))
	if err != nil || len(csr.DNSNames) != 1 || csr.DNSNames[0] != "a.iot.example" || csr.CheckSignature() == nil {
		t.Errorf("the approver sees %+v, %v", csr, err)
	}
	again := w.waits(c.post("simpleenroll", simple.der(t)))
	if again.ID != id || again.Passphrase != "" {
		t.Errorf("the repeat is %+v", again)
	}
	w.decide(id, estserver.Approved, "")
	hides("approved", id)
	all := map[string]*x509.Certificate{id: granted(t, c.post("simpleenroll", simple.der(t)))}
	letters := map[string]*letter{"pkcs10": byCMC(), "crmf": byCMC()}
	keys := map[string]wish{"pkcs10": with("b.iot.example"), "crmf": with("c.iot.example")}
	letters["pkcs10"].pkcs10(keys["pkcs10"])
	letters["crmf"].crmf(keys["crmf"], nil)
	for form, l := range letters {
		id := tokenOf(l)
		hides(form+" waiting", id)
		w.decide(id, estserver.Approved, "")
		all[id] = w.ask(byCMC(cmc.QueryPending(id)).by(w.device)).granted(keys[form].key)
	}
	for id, cert := range all {
		hides("issued", id)
		w.revokes(cert, secret).granted(nil)
	}
}

// TestWaitingOfBefore: what a release before kept as it came, the approver sees without
// its secrets, and it revokes the certificate.
func TestWaitingOfBefore(t *testing.T) {
	const secret = "only the holder's"
	l := cmcLabel(func(l *estserver.Label) { l.Manual, l.PendingLife, l.Names = true, 24*time.Hour, nil })
	w := newCMCWorld(t, l)
	k := of(t, "", "a.iot.example").with(est.RevocationChallenge(secret))
	letter := newLetter(t).numbered()
	letter.pkcs10(k)
	id := string(w.ask(letter.by(w.device)).statuses[0].Pend.Token)
	if _, err := w.db.Exec(t.Context(), `UPDATE est_requests SET csr = $1, passphrase = '' WHERE id = $2`, k.der(t), id); err != nil {
		t.Fatal(err)
	}
	shown := done[estserver.Named, estserver.RequestShown](w.office(), "est.requests.show", estserver.Named{ID: id})
	if block, _ := pem.Decode([]byte(shown.CSR)); block == nil || bytes.Contains(block.Bytes, []byte(secret)) {
		t.Errorf("the approver sees %s", shown.CSR)
	}
	w.decide(id, estserver.Approved, "")
	cert := w.ask(newLetter(t, cmc.QueryPending(id)).numbered().by(w.device)).granted(k.key)
	w.revokes(cert, secret).granted(nil)
}

// TestVeiled: what can be a secret is gone, and nothing else.
func TestVeiled(t *testing.T) {
	for name, test := range map[string]struct {
		der    []byte
		secret string
	}{
		"revocation": {asking("a", "a.example").with(est.RevocationChallenge("größer")).der(t), "größer"},
		"one-time":   {asking("a", "a.example").with(est.OTPChallenge("word")).der(t), "word"},
		"password":   {asking("a", "a.example").with(est.ChallengePassword("word")).der(t), "word"},
		"link":       {asking("a", "a.example").with(est.IdentityLinking("link")).der(t), ""},
		"none":       {asking("a", "a.example").der(t), ""},
	} {
		got, err := estserver.Veiled(test.der)
		want := bytes.ReplaceAll(test.der, []byte(test.secret), bytes.Repeat([]byte("*"), len(test.secret)))
		if test.secret == "" {
			want = test.der
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %x, %v; want %x", name, got, err, want)
		}
	}
	whole := asking("a", "a.example").with(est.RevocationChallenge("r")).der(t)
	for _, der := range [][]byte{nil, {0x30, 0}, whole[:len(whole)/2], []byte("no request")} {
		if got, err := estserver.Veiled(der); err == nil {
			t.Errorf("%x became %x", der, got)
		}
	}
}

// FuzzVeiled: whatever is veiled is as long as before, and veiled for good; what is given
// stays as it is.
func FuzzVeiled(f *testing.F) {
	f.Add(asking("a", "a.example").with(est.RevocationChallenge("secret")).der(f))
	f.Add(asking("a").with(est.OTPChallenge("a"), est.ChallengePassword("b")).der(f))
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		was := bytes.Clone(der)
		once, err := estserver.Veiled(der)
		if !bytes.Equal(der, was) {
			t.Fatal("the request was written to")
		}
		if err != nil {
			return
		}
		twice, err := estserver.Veiled(once)
		if err != nil || !bytes.Equal(once, twice) || len(once) != len(der) {
			t.Fatalf("%x became %x, and that %x, %v", der, once, twice, err)
		}
		if p, err := est.ParseRequest(once); err == nil {
			if text, has, err := p.RevocationChallenge(); err == nil && has && strings.Trim(text, "*⨪") != "" {
				t.Fatalf("%q is left", text)
			}
		}
	})
}

// TestQuotaComesFirst: who got enough is told so, and has nothing hashed for it.
func TestQuotaComesFirst(t *testing.T) {
	l := plainLabel()
	l.Quota, l.QuotaPer = 1, time.Hour
	w := newWorld(t, nil, l)
	w.standing("alice", "p", "*")
	c := w.basic("alice", "p")
	ask := asking("a", "a.example").with(est.RevocationChallenge("rrrrrrrrrrrr")).der(t)
	granted(t, c.post("simpleenroll", ask))
	defer w.server.Crowd()()
	refused(t, c.post("simpleenroll", ask), http.StatusTooManyRequests, "1 certificates")
}

// TestOneTimeRevokesLaterOne: a one-time password revokes what it got also when that is
// not the first, as the key of an earlier one was lost on the way.
func TestOneTimeRevokesLaterOne(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(nil))
	mine := w.oneTime("dev", "once")
	w.oneTime("dev", "another")
	for _, attempt := range []string{"", ".1", ".19"} {
		key := certtest.Key(t)
		r, err := w.authority.Issue(t.Context(), ca.Request{ID: estserver.OneTimeRequest(mine.ID) + attempt, By: ca.Principal{Room: "est", ID: ":user:dev"},
			Key: key.Public(), Subject: ca.Subject{CommonName: mine.ID}, Profile: "device"})
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(r.DER)
		if err != nil {
			t.Fatal(err)
		}
		w.revokes(cert, "another").refused(http.StatusForbidden, cmc.BadIdentity)
		w.revokes(cert, "once").granted(nil)
	}
}
