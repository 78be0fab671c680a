package estserver_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"testing"
	"time"

	"chancery/cms"
	"chancery/cms/cmc"
	"chancery/internal/certtest"
	"chancery/internal/estserver"
	"chancery/internal/limit"
)

// coded makes a message with an AuthenticatedData for each number of iterations.
func coded(t *testing.T, user, secret string, iterations ...int) *letter {
	l := newLetter(t).numbered().add(cmc.Identification(user))
	l.wrap.Authenticate = cms.Password{Passphrase: cms.Passphrase(secret), Iterations: iterations[0]}
	if len(iterations) > 1 {
		inner := coded(t, user, secret, iterations[1:]...)
		l.data.AddCMS(inner.der())
	}
	return l
}

// TestCodesAreBounded: what a stranger can have derived from a password is little, and it
// is refused before it is done.
func TestCodesAreBounded(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(nil))
	w.shares("alice", "correct horse", "*")
	w.ask(coded(t, "alice", "correct horse", 1000)).granted(nil)
	w.ask(coded(t, "alice", "correct horse", 600_000)).granted(nil)
	w.ask(coded(t, "alice", "correct horse", 600_001)).refused(http.StatusBadRequest, cmc.BadMessageCheck)
	w.ask(coded(t, "alice", "correct horse", 1000, 1000)).refused(http.StatusBadRequest, cmc.BadMessageCheck)
}

// TestCodesOfManySecrets: of a user with many secrets so many are tried as the iterations
// allow.
func TestCodesOfManySecrets(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(nil))
	for _, secret := range []string{"eldest", "older", "old", "new", "newest"} {
		w.sharesOnce("fleet", secret, "*")
		w.pass(time.Second)
	}
	w.ask(coded(t, "fleet", "eldest", 600_000)).refused(http.StatusBadRequest, cmc.BadMessageCheck)
	w.ask(coded(t, "fleet", "newest", 600_000)).granted(nil)
	w.ask(coded(t, "fleet", "eldest", 1000)).granted(nil)
}

// TestGuessedCodesAreCounted as guessed passwords are, and who has to wait is told so.
func TestGuessedCodesAreCounted(t *testing.T) {
	l, err := limit.New(limit.Rule{Name: "log-ins", Count: 2, Per: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	w := newCMCWorld(t, cmcLabel(nil))
	w.shares("alice", "correct horse", "*")
	w.config.Attempts = l.Allow
	w.front = w.serve(w.another().Handler())
	for range 3 {
		w.ask(coded(t, "alice", "wrong", 1000)).refused(http.StatusBadRequest, cmc.BadMessageCheck)
	}
	got := w.ask(coded(t, "alice", "correct horse", 1000))
	got.refused(http.StatusTooManyRequests, cmc.TryLater)
	if got.Header.Get("Retry-After") == "" {
		t.Error("nothing says when to come back")
	}
}

// TestOneTimeSecrets: a one-time password is kept, sealed, where that is asked for, and
// then it is a secret of CMC.
func TestOneTimeSecrets(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(nil))
	o := w.office()
	for _, cmcToo := range []bool{false, true} {
		made := done[estserver.OneTimeWanted, estserver.CredentialMade](o, "est.otp.add",
			estserver.OneTimeWanted{Grant: estserver.Grant{User: "u", Names: []string{"*", "CN=*"}}, CMC: cmcToo})
		k, err := w.store.CredentialByDigest(t.Context(), estserver.OneTimeDigest(made.Password))
		if err != nil || (k.Sealed != nil) != cmcToo {
			t.Fatalf("asked for %v: sealed %v, %v", cmcToo, k.Sealed != nil, err)
		}
		told := w.ask(coded(t, "u", made.Password, 1000))
		if cmcToo {
			told.granted(nil)
		} else {
			told.refused(http.StatusBadRequest, cmc.BadMessageCheck)
		}
	}
}

// TestLongKeysBeside: certificates with giant keys, which a stranger may enclose, are
// passed over.
func TestLongKeysBeside(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(func(l *estserver.Label) {
		l.Makers, l.Accept = []string{"acme"}, append(l.Accept, estserver.Way{estserver.ByMaker})
	}))
	giant := &rsa.PublicKey{N: new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 1<<18), big.NewInt(12345)), E: 1<<31 - 1}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: w.maker.root.Subject, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, w.maker.root, giant, w.maker.key)
	if err != nil {
		t.Fatal(err)
	}
	device := w.maker.device(t, pkix.Name{CommonName: "dev1"}, nil)
	key := certtest.Key(t)
	l := newLetter(t).numbered()
	ask := asking("dev1")
	ask.key = key
	l.pkcs10(ask)
	l.by(device).wrap.Certificates = append(l.wrap.Certificates, der)
	w.ask(l).granted(key)
}
