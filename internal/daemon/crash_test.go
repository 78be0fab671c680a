//go:build crashpoints

package daemon_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/ca"
	"chancery/internal/desk"
	"chancery/internal/peertest"

	"golang.org/x/crypto/ocsp"
)

// mostCommits bounds the search for the story's last commit.
const mostCommits = 60

// TestCrashOnTheRoad kills the server before and after each commit of a story
// from the account to the revocation; each time the client goes on with the
// server that is started next.
func TestCrashOnTheRoad(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		web := newSite(t)
		p := plan(t, web, url)
		launch(t, p).kill()
		w := &witness{held: map[ca.Serial][]byte{}}
		for _, when := range []string{"before", "after"} {
			crashes := 0
			for ; crashes < mostCommits; crashes++ {
				s := &story{t: t, web: web, plan: p, name: fmt.Sprintf("%s-%d.example", when, crashes+1), witness: w}
				if !s.run(fmt.Sprintf("%s:%d", when, crashes+1)) {
					break
				}
			}
			t.Logf("%s: the story went on after %d crashes", when, crashes)
			// Account, order, validation, intent, settlement, the OCSP responder's two, revocation.
			if crashes < 7 || crashes == mostCommits {
				t.Errorf("%d crashes %s a commit; the story has at least 7", crashes, when)
			}
		}
		w.check(t, p)
		wellSigned(t, p)
	})
}

// witness remembers what clients hold.
type witness struct {
	held  map[ca.Serial][]byte
	names []string
}

// story is one client's way from the account to the revocation.
type story struct {
	*witness
	t      *testing.T
	web    *site
	plan   setup
	name   string
	server *server
	died   bool // at the crash point
	client *acme.Client
	order  *acme.Order
	chain  *acme.Chain
}

// run tells the story against a server with a crash point, and says whether it
// was hit.
func (s *story) run(point string) bool {
	from := filepath.Join(s.t.TempDir(), "from")
	s.server = launch(s.t, s.plan, "CHANCERY_CRASH="+point, "CHANCERY_CRASH_FROM="+from)
	if err := os.WriteFile(from, nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.client = s.server.stranger()
	key := newKey(s.t)
	csr := csrFor(s.t, key, s.name)
	s.step("account", func(ctx context.Context) error {
		_, err := s.client.Register(ctx, acme.Registration{})
		return err
	})
	s.step("validation", s.prove)
	s.step("finalize", func(ctx context.Context) error { return s.finalize(ctx, csr) })
	s.step("download", s.download)
	s.holds(key)
	s.step("status", func(context.Context) error { return s.status(ocsp.Good) })
	s.step("revocation", func(ctx context.Context) error {
		err := s.client.Revoke(ctx, s.chain.Certificates[0].Raw, nil, nil)
		if s.died && acme.HasType(err, acme.TypeAlreadyRevoked) {
			return nil // the commit was survived, the answer was not
		}
		return err
	})
	s.step("status after revocation", func(context.Context) error { return s.status(ocsp.Revoked) })
	s.server.kill()
	return s.died
}

// step does something, and once more when the server died over it.
func (s *story) step(what string, do func(context.Context) error) {
	s.t.Helper()
	err := do(within(s.t, long))
	if err == nil {
		return
	}
	select {
	case <-s.server.dead:
	case <-time.After(long):
		s.t.Fatalf("%s, %s: %v\n%s", s.name, what, err, s.server.log)
	}
	if s.died {
		s.t.Fatalf("%s, %s: the server died without a crash point: %v\n%s", s.name, what, err, s.server.log)
	}
	s.died = true
	s.server = launch(s.t, s.plan)
	s.client = s.server.at(s.client)
	if err := do(within(s.t, long)); err != nil {
		s.t.Fatalf("%s, %s, after the restart: %v\n%s", s.name, what, err, s.server.log)
	}
}

// prove makes the order, if there is none yet, and proves its name.
func (s *story) prove(ctx context.Context) (err error) {
	if s.order == nil {
		order, challenge, err := s.web.order(ctx, s.client, s.name)
		if err != nil {
			return err
		}
		if _, err = s.client.Respond(ctx, challenge); err != nil {
			return err
		}
		s.order = order
	}
	s.order, err = s.client.WaitOrder(ctx, s.order.URL)
	return err
}

// finalize asks with the same CSR until the order is valid: what was begun
// before a crash is finished at once, not when its lease has lapsed.
func (s *story) finalize(ctx context.Context, csr []byte) error {
	o, err := s.client.Finalize(ctx, s.order, csr)
	if err != nil {
		return err
	}
	if o.Status != acme.OrderValid {
		return fmt.Errorf("finalize with the same CSR left the order %s", o.Status)
	}
	s.order = o
	return nil
}

func (s *story) download(ctx context.Context) (err error) {
	s.chain, err = s.client.Certificate(ctx, s.order.Certificate)
	return err
}

// holds notes what the client has now.
func (s *story) holds(key *ecdsa.PrivateKey) {
	leaf := s.chain.Certificates[0]
	if !key.PublicKey.Equal(leaf.PublicKey) || leaf.DNSNames[0] != s.name {
		s.t.Fatalf("%s: the certificate is for %v", s.name, leaf.DNSNames)
	}
	serial := ca.SerialOf(leaf.SerialNumber)
	if s.held[serial] != nil {
		s.t.Fatalf("%s: the serial number %s was given before", s.name, serial)
	}
	s.held[serial] = leaf.Raw
	s.names = append(s.names, s.name)
}

// status asks until OCSP says what is wanted: answers are remembered for seconds.
func (s *story) status(want int) (err error) {
	until(s.t, fmt.Sprintf("status %d of %s", want, s.name), func() bool {
		var got int
		got, err = s.server.ocsp(s.chain)
		return err != nil || got == want
	})
	return err
}

// check compares what the clients hold with the ledger, after all that was left
// unfinished has been recovered.
func (w *witness) check(t *testing.T, p setup) {
	left := recovered(t, p)
	db, ledger := p.store(t)
	defer db.Close()
	t.Logf("%d certificates are held, %d intents were left to recover", len(w.held), left)
	for serial, der := range w.held {
		record, err := ledger.BySerial(context.Background(), serial)
		if err != nil || !bytes.Equal(record.DER, der) {
			t.Errorf("a client holds %s, and the ledger has %v, %v", serial, record, err)
		}
		if record.RevokedAt.IsZero() {
			t.Errorf("%s was revoked, and the ledger does not know", serial)
		}
	}
	for _, name := range w.names {
		if n := number(t, db, `SELECT COUNT(*) FROM certificate_names WHERE name = $1`, "dns:"+name); n != 1 {
			t.Errorf("%s has %d certificates", name, n)
		}
	}
}

// wellSigned checks that every recorded certificate says what its row says and
// is signed by the issuer that the row names.
func wellSigned(t *testing.T, p setup) {
	db, ledger := p.store(t)
	defer db.Close()
	issuers := map[string]*x509.Certificate{}
	for _, i := range must[[]ca.IssuerRecord](t)(ledger.Issuers(context.Background())) {
		issuers[i.ID] = must[*x509.Certificate](t)(x509.ParseCertificate(i.Certs[0]))
	}
	records, _, err := ledger.List(context.Background(), ca.Query{Now: time.Now(), Limit: 1000})
	if err != nil || len(records) == 0 {
		t.Fatal("no records", err)
	}
	for _, r := range records {
		if !r.Settled() {
			if r.RevokedAt.IsZero() {
				t.Errorf("%s is not settled", r.Serial)
			}
			continue
		}
		full := must[ca.Record](t)(ledger.BySerial(context.Background(), r.Serial))
		cert, err := x509.ParseCertificate(full.DER)
		if err != nil || ca.SerialOf(cert.SerialNumber) != r.Serial {
			t.Errorf("the record %s has %v, %v", r.Serial, cert, err)
			continue
		}
		// An authority of a founding that was cut off has an issuer that never was.
		if above := issuers[r.Issuer]; above != nil {
			if err := cert.CheckSignatureFrom(above); err != nil {
				t.Errorf("%s: %v", r.Serial, err)
			}
		} else if r.Profile != "authority" {
			t.Errorf("%s was issued by %s, which is unknown", r.Serial, r.Issuer)
		}
	}
}

// TestCrashWhileFounding kills the very first start at each of its commits. The
// next start founds, or finds what was founded, and issues.
func TestCrashWhileFounding(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		web := newSite(t)
		for _, when := range []string{"before", "after"} {
			crashes := 0
			for ; crashes < mostCommits; crashes++ {
				p := plan(t, web, "")
				if url != "" {
					p.Database = peertest.Postgres(t)
				}
				if s := launch(t, p, fmt.Sprintf("CHANCERY_CRASH=%s:%d", when, crashes+1)); s != nil {
					s.kill()
					break
				}
				foundAgain(t, web, p)
			}
			t.Logf("%s: %d crashes", when, crashes)
			// Two certificates and the hierarchy's own commit, at least.
			if crashes < 5 || crashes == mostCommits {
				t.Errorf("%d crashes %s a commit; founding has at least 5", crashes, when)
			}
		}
	})
}

// foundAgain starts after a crash, and looks at what there is.
func foundAgain(t *testing.T, web *site, p setup) {
	t.Helper()
	begin := time.Now()
	s := launch(t, p)
	if took := time.Since(begin); took > long {
		t.Errorf("the start after a crash took %s", took)
	}
	all := must[desk.Authorities](t)(ask[struct{}, desk.Authorities](s, "ca.list", struct{}{}))
	active := map[string]int{}
	for _, a := range all.Authorities {
		if a.State == ca.Active && a.HasKey {
			active[a.Name]++
		}
	}
	if len(all.Authorities) != 2 || active["root"] != 1 || active[ca.DefaultLine] != 1 {
		t.Errorf("the authorities are %+v", all.Authorities)
	}
	if _, err := web.obtain(within(t, long), s.client(), newKey(t), "first.example"); err != nil {
		t.Error(err, s.log)
	}
	s.kill()
	recovered(t, p)
	wellSigned(t, p)
}

// recovered makes the leases of what a crash left lapse, and lets a server do
// what it does then. It gives how much was left.
func recovered(t *testing.T, p setup) (left int) {
	t.Helper()
	db, _ := p.store(t)
	left = number(t, db, `SELECT COUNT(*) FROM certificates WHERE settled = 0 AND revoked = 0`)
	alter(t, db, `UPDATE certificates SET lease = 1 WHERE settled = 0`)
	db.Close()
	s := start(t, p)
	until(t, "the recovery of what is unfinished", func() bool { return len(s.list("pending")) == 0 })
	s.close()
	return left
}

// list gives all certificates of the server in a state.
func (s *server) list(state string) []desk.Certificate {
	s.t.Helper()
	found := must[desk.Found](s.t)(ask[desk.Search, desk.Found](s, "cert.list", desk.Search{State: state, Limit: 1000}))
	return found.Certificates
}
