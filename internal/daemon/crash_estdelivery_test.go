//go:build crashpoints

package daemon_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"chancery/est"
	"chancery/internal/admin"
	"chancery/internal/ca"
	"chancery/internal/desk"
	"chancery/internal/estserver"
	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
)

// TestCrashOverADelivery kills the server before and after each commit of the delivery of
// a key to a user, for whom each request is another. When the next server has looked, each
// certificate is either good, and its device has the key, or revoked; one that is revoked
// though its device has the key is one whose delivery was not recorded as ended.
func TestCrashOverADelivery(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		p := plan(t, newSite(t), url)
		p.Keys = true
		launch(t, p).kill()
		unknown := 0
		// User, intent, settlement, the delivery's end.
		crashesOf(t, 4, func(when string, n int) bool {
			s := &deliveryStory{keyStory{name: fmt.Sprintf("%s-%d.example", when, n), pathStory: pathStory{t: t, plan: p}}}
			s.begin(fmt.Sprintf("%s:%d", when, n))
			if s.run() {
				unknown++
			}
			return s.died
		})
		t.Logf("%d certificates were revoked though their key had arrived", unknown)
		wellSigned(t, p)
	})
}

// deliveryStory is a user's, who gets a key and goes.
type deliveryStory struct{ keyStory }

// run tells whether the certificate whose key arrived had to be revoked.
func (s *deliveryStory) run() (unknown bool) {
	order := s.user()
	s.step("key", func() error { return s.obtain(order) })
	s.end() // with the handler, which goes on when the client has its answer
	db, store := s.plan.store(s.t)
	serial := ca.SerialOf(s.last.SerialNumber)
	unknown = underWay(s.t, store)[serial]
	db.Close()
	if unknown && !s.died {
		s.t.Errorf("%s: nobody died, and the end of the delivery was not recorded", s.name)
	}
	s.later()
	defer s.server.kill()
	want := []ca.Serial{serial}
	if unknown {
		want = nil
	}
	until(s.t, fmt.Sprintf("of the certificates for %s just %v are good", s.name, want), func() bool {
		found := must[desk.Found](s.t)(ask[desk.Search, desk.Found](s.server, "cert.list", desk.Search{Name: s.name, State: "valid", Limit: 100}))
		return len(found.Certificates) == len(want) && (unknown || found.Certificates[0].Serial == serial)
	})
	return unknown
}

// user makes a user and gives what he asks for.
func (s *keyStory) user() asking {
	user := estserver.UserWanted{Grant: estserver.Grant{User: strings.Split(s.name, ".")[0]}, Password: "a very long word that nobody guesses"}
	s.step("user", func() error {
		_, err := ask[estserver.UserWanted, estserver.CredentialMade](s.server, "est.user.add", user)
		if refused, ok := errors.AsType[*admin.Error](err); ok && s.died && refused.Kind == string(ca.Conflict) {
			return nil // the commit was survived, the answer was not
		}
		return err
	})
	return asking{operation: est.ServerKeyGen, csr: csrFor(s.t, newKey(s.t), s.name), user: user.User, password: user.Password}
}

// obtain asks for a key.
func (s *keyStory) obtain(order asking) error {
	status, header, body, err := s.post(order)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		s.t.Fatalf("%s: %d %s", s.name, status, body)
	}
	s.receives(header, body)
	return nil
}

// underWay gives the certificates whose delivery was begun, or lost, and not dealt with.
func underWay(t *testing.T, store *sqlstore.Store) map[ca.Serial]bool {
	t.Helper()
	all := map[ca.Serial]bool{}
	for _, state := range []estserver.DeliveryState{estserver.DeliveryBegun, estserver.DeliveryLost} {
		for _, id := range must[[][]byte](t)(store.Deliveries(context.Background(), state, nil, 1000)) {
			all[must[ca.Record](t)(store.ByRequest(context.Background(), string(id[sha256.Size:]))).Serial] = true
		}
	}
	return all
}

// TestCrashOverALostKey kills the server before and after each commit of a start that
// finds a delivery which was cut off. It is never forgotten before its certificate is
// revoked, and that is revoked once.
func TestCrashOverALostKey(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		p := plan(t, newSite(t), url)
		p.Keys = true
		s := &lostStory{keyStory{name: "lost.example", pathStory: pathStory{t: t, plan: p, server: launch(t, p)}}}
		if err := s.obtain(s.user()); err != nil {
			t.Fatal(err)
		}
		s.end()
		crashesOf(t, 2, func(when string, n int) bool { // lost, revoked; forgotten may come when all is seen
			return s.run(fmt.Sprintf("%s:%d", when, n))
		})
	})
}

// lostStory is what comes after the server died over a key.
type lostStory struct{ keyStory }

// run lets a start find that the delivery was cut off long ago, and tells whether the
// server died over it.
func (s *lostStory) run(point string) bool {
	serial := s.cutOff()
	s.server = launch(s.t, s.plan, "CHANCERY_CRASH="+point)
	s.died = s.server == nil
	if !s.died {
		s.revoked(point)
		s.end()
	}
	db, store := s.plan.store(s.t)
	r := must[ca.Record](s.t)(store.BySerial(context.Background(), serial))
	if r.RevokedAt.IsZero() && !underWay(s.t, store)[serial] {
		s.t.Errorf("%s: the certificate is good, and nobody knows that its key was lost", point)
	}
	db.Close()
	if s.died {
		s.server = launch(s.t, s.plan)
		if !s.revoked(point) {
			s.t.Fatalf("%s: the server died without a crash point\n%s", point, s.server.log)
		}
		s.end()
		s.died = true
	}
	db, _ = s.plan.store(s.t)
	defer db.Close()
	if n := number(s.t, db, revocations, string(serial)); n != 1 {
		s.t.Errorf("%s: it was revoked %d times", point, n)
	}
	return s.died
}

const revocations = `SELECT COUNT(*) FROM events WHERE kind = 'certificate.revoked' AND subject = $1 AND room = 'est' AND actor = 'undelivered'`

// cutOff makes the certificate good, and its delivery one that was begun.
func (s *lostStory) cutOff() ca.Serial {
	s.t.Helper()
	db, store := s.plan.store(s.t)
	defer db.Close()
	serial := ca.SerialOf(s.last.SerialNumber)
	r := must[ca.Record](s.t)(store.BySerial(context.Background(), serial))
	id := estserver.DeliveryID(r.KeyHash, r.Request)
	once := estserver.DeliveryBegun.Once(id)
	err := db.Batch(context.Background(),
		sqldb.Statement{SQL: `DELETE FROM spent WHERE token = $1`, Args: []any{estserver.DeliveryLost.Once(id).ID}, Want: sqldb.AnyRows},
		sqldb.Statement{SQL: `INSERT INTO spent (token, expires) VALUES ($1, $2)`, Args: []any{once.ID, once.Expires.UnixMilli()}, Want: 1},
		sqldb.Statement{SQL: `UPDATE certificates SET intended = 1, revoked = 0, reason = 0 WHERE serial = $1`, Args: []any{serial.Bytes()}, Want: 1},
		sqldb.Statement{SQL: `DELETE FROM events WHERE kind = 'certificate.revoked' AND subject = $1`, Args: []any{string(serial)}, Want: sqldb.AnyRows})
	if err != nil {
		s.t.Fatal(err)
	}
	return serial
}

// revoked waits until the certificate is; false: the server died before it could say so.
func (s *lostStory) revoked(point string) (seen bool) {
	s.t.Helper()
	until(s.t, point+": the certificate is revoked", func() bool {
		found, err := ask[desk.Search, desk.Found](s.server, "cert.list", desk.Search{Name: s.name, State: "revoked", Limit: 10})
		if err != nil {
			<-s.server.dead
			s.died = true
			return true
		}
		seen = len(found.Certificates) == 1
		return seen
	})
	return seen
}
