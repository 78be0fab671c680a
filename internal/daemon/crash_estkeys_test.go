//go:build crashpoints

package daemon_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"chancery/est"
	"chancery/internal/admin"
	"chancery/internal/ca"
	"chancery/internal/estserver"
)

// crashesOf tells stories, each with the server dying at another commit, until one is
// told without a death, and wants at least so many.
func crashesOf(t *testing.T, least int, tell func(when string, n int) (died bool)) {
	t.Helper()
	for _, when := range []string{"before", "after"} {
		crashes := 0
		for crashes < mostCommits && tell(when, crashes+1) {
			crashes++
		}
		t.Logf("%s: the story went on after %d crashes", when, crashes)
		if crashes < least || crashes == mostCommits {
			t.Errorf("%d crashes %s a commit; the story has at least %d", crashes, when, least)
		}
	}
}

// TestCrashOverAnEnrolment kills the server before and after each commit of enrolments by
// a user's password and of their renewals. What a client holds is in the ledger, what
// was begun is finished, and a repeat is one more certificate at most.
func TestCrashOverAnEnrolment(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		p := plan(t, newSite(t), url)
		p.Keys = true
		launch(t, p).kill()
		w := &witness{held: map[ca.Serial][]byte{}}
		told := map[string]int{}
		crashesOf(t, 4, func(when string, n int) bool { // two intents, two settlements
			s := &enrolmentStory{name: fmt.Sprintf("%s-%d.example", when, n), pathStory: pathStory{t: t, plan: p}}
			s.begin(fmt.Sprintf("%s:%d", when, n))
			s.run(w)
			s.server.kill()
			told[s.name] = 2
			if s.died {
				told[s.name]++
			}
			return s.died
		})
		recovered(t, p)
		wellSigned(t, p)
		db, ledger := p.store(t)
		defer db.Close()
		for serial, der := range w.held {
			if record, err := ledger.BySerial(context.Background(), serial); err != nil || !bytes.Equal(record.DER, der) {
				t.Errorf("a client holds %s, and the ledger has %v, %v", serial, record, err)
			}
		}
		for name, most := range told {
			if n := number(t, db, `SELECT COUNT(*) FROM certificate_names WHERE name = $1`, "dns:"+name); n < 2 || n > most {
				t.Errorf("%s has %d certificates; it asked %d times", name, n, most)
			}
		}
	})
}

// pathStory is a device's way through a server that dies once.
type pathStory struct {
	t      *testing.T
	plan   setup
	server *server
	died   bool
}

func (s *pathStory) begin(point string) {
	s.t.Helper()
	from := filepath.Join(s.t.TempDir(), "from")
	s.server = launch(s.t, s.plan, "CHANCERY_CRASH="+point, "CHANCERY_CRASH_FROM="+from)
	if err := os.WriteFile(from, nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// step does something, and once more, a minute later as far as the server knows, when
// the server died over it.
func (s *pathStory) step(what string, do func() error) {
	s.t.Helper()
	err := do()
	if err == nil {
		return
	}
	select {
	case <-s.server.dead:
	case <-time.After(long):
		s.t.Fatalf("%s: %v\n%s", what, err, s.server.log)
	}
	if s.died {
		s.t.Fatalf("%s: the server died without a crash point: %v\n%s", what, err, s.server.log)
	}
	s.died = true
	s.later()
	if err := do(); err != nil {
		s.t.Fatalf("%s, after the restart: %v\n%s", what, err, s.server.log)
	}
}

// later starts the server anew, for which the last answer was long ago.
func (s *pathStory) later() {
	s.t.Helper()
	db, _ := s.plan.store(s.t)
	alter(s.t, db, `UPDATE certificates SET intended = 1 WHERE room = 'est'`)
	db.Close()
	s.server = launch(s.t, s.plan)
}

// end stops the server as an administrator does, which lets it finish what it does, and
// notes whether it came to that.
func (s *pathStory) end() {
	s.server.child.Process.Signal(syscall.SIGTERM)
	<-s.server.dead
	if status := s.server.child.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() && status.Signal() == syscall.SIGKILL {
		s.died = true
	}
}

// asking is a request of a device.
type asking struct {
	operation      est.Operation
	csr            []byte
	user, password string
	shown          *tls.Certificate
}

// post gives the answer to a request; those of 500 and above are errors.
func (s *pathStory) post(a asking) (int, http.Header, []byte, error) {
	c := s.server.http()
	config := c.Transport.(counting).next.(*http.Transport).TLSClientConfig
	config.ServerName = "localhost"
	if a.shown != nil {
		config.Certificates = []tls.Certificate{*a.shown}
	}
	defer c.CloseIdleConnections()
	r := must[*http.Request](s.t)(http.NewRequest(http.MethodPost, "https://"+net.JoinHostPort("localhost", "443")+est.WellKnown+"/"+string(a.operation), strings.NewReader(base64.StdEncoding.EncodeToString(a.csr))))
	r.Header.Set("Content-Type", est.PKCS10)
	if a.password != "" {
		r.SetBasicAuth(a.user, a.password)
	}
	res, err := c.Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= http.StatusInternalServerError {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	return res.StatusCode, res.Header, body, err
}

type enrolmentStory struct {
	pathStory
	name string
}

// run enrols by a password and renews with another key.
func (s *enrolmentStory) run(w *witness) {
	user := estserver.UserWanted{Grant: estserver.Grant{User: strings.Split(s.name, ".")[0]}, Password: "a very long word that nobody guesses"}
	s.step("user", func() error {
		_, err := ask[estserver.UserWanted, estserver.CredentialMade](s.server, "est.user.add", user)
		if refused, ok := errors.AsType[*admin.Error](err); ok && s.died && refused.Kind == string(ca.Conflict) {
			return nil // the commit was survived, the answer was not
		}
		return err
	})
	key := newKey(s.t)
	var cert *x509.Certificate
	obtain := func(a asking) func() error {
		return func() error {
			status, _, body, err := s.post(a)
			if err != nil {
				return err
			}
			if status != http.StatusOK {
				s.t.Fatalf("%s: %s: %d %s", s.name, a.operation, status, body)
			}
			cert = bag(s.t, body)[0]
			serial := ca.SerialOf(cert.SerialNumber)
			if w.held[serial] != nil {
				s.t.Fatalf("the serial number %s was given before", serial)
			}
			w.held[serial] = cert.Raw
			return nil
		}
	}
	s.step("enrolment", obtain(asking{operation: est.SimpleEnroll, csr: csrFor(s.t, key, s.name), user: user.User, password: user.Password}))
	first := &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	next := newKey(s.t)
	s.step("renewal", obtain(asking{operation: est.SimpleReenroll, csr: csrFor(s.t, next, s.name), shown: first}))
	if !next.PublicKey.Equal(cert.PublicKey) {
		s.t.Errorf("%s: the renewed certificate has another key", s.name)
	}
}

// TestCrashOverAKey kills the server before and after each commit of the delivery of a
// key that it made for a one-time password. No key is sent twice, the password is good
// for one certificate that is not revoked, and it is the one whose key the device has.
func TestCrashOverAKey(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		p := plan(t, newSite(t), url)
		p.Keys = true
		launch(t, p).kill()
		// Password, the key's mark, intent, settlement, the delivery's mark.
		crashesOf(t, 5, func(when string, n int) bool {
			s := &keyStory{name: fmt.Sprintf("%s-%d.example", when, n), pathStory: pathStory{t: t, plan: p}}
			s.begin(fmt.Sprintf("%s:%d", when, n))
			s.run()
			return s.died
		})
		wellSigned(t, p)
	})
}

type keyStory struct {
	pathStory
	name string
	keys []crypto.Signer
	last *x509.Certificate
}

func (s *keyStory) run() {
	var made estserver.CredentialMade
	s.step("password", func() (err error) {
		made, err = ask[estserver.OneTimeWanted, estserver.CredentialMade](s.server, "est.otp.add", estserver.OneTimeWanted{})
		return err
	})
	order := asking{operation: est.ServerKeyGen, csr: csrFor(s.t, newKey(s.t), s.name), password: made.Password}
	s.step("key", func() error { return s.obtain(order) })
	s.end()
	s.later()
	status, header, body, err := s.post(order)
	switch {
	case err == nil && status == http.StatusForbidden && len(s.keys) == 1:
	case err == nil && status == http.StatusOK && s.died: // nobody could know that the first was delivered
		s.receives(header, body)
	default:
		s.t.Fatalf("%s: the repeat: %d %s, %v\n%s", s.name, status, body, err, s.server.log)
	}
	for _, one := range s.keys[:len(s.keys)-1] {
		if s.keys[len(s.keys)-1].Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(one.Public()) {
			s.t.Errorf("%s: a key was sent twice", s.name)
		}
	}
	s.server.kill()
	s.one()
}

// receives reads the key and its certificate.
func (s *keyStory) receives(header http.Header, body []byte) {
	s.t.Helper()
	parts := must[[]est.Part](s.t)(est.ParseMultipart(header.Get("Content-Type"), body))
	if len(parts) != 2 {
		s.t.Fatalf("%s: %d parts", s.name, len(parts))
	}
	key := must[any](s.t)(x509.ParsePKCS8PrivateKey(parts[0].Body)).(crypto.Signer)
	s.last = bag(s.t, []byte(base64.StdEncoding.EncodeToString(parts[1].Body)))[0]
	if !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(s.last.PublicKey) || s.last.DNSNames[0] != s.name {
		s.t.Errorf("%s: the certificate is for %v, or not the key's", s.name, s.last.DNSNames)
	}
	s.keys = append(s.keys, key)
}

// one checks that of all certificates one is good.
func (s *keyStory) one() {
	s.t.Helper()
	db, ledger := s.plan.store(s.t)
	defer db.Close()
	good := `SELECT COUNT(*) FROM certificates c JOIN certificate_names n ON n.serial = c.serial WHERE n.name = $1 AND c.revoked = 0`
	if n := number(s.t, db, good, "dns:"+s.name); n != 1 {
		s.t.Errorf("%s: one password has %d certificates that are not revoked", s.name, n)
	}
	record, err := ledger.BySerial(context.Background(), ca.SerialOf(s.last.SerialNumber))
	if err != nil || !record.RevokedAt.IsZero() || !bytes.Equal(record.DER, s.last.Raw) {
		s.t.Errorf("%s: of the certificate whose key the device has the ledger says %+v, %v", s.name, record, err)
	}
}
