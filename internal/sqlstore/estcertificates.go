package sqlstore

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"strconv"
	"strings"
	"time"

	"chancery/internal/ca"
	"chancery/internal/estserver"
	"chancery/internal/sqldb"
)

// likeness is what a certificate has in common with those that renew it, whatever the
// order of its names: the first half of the SHA-256 of subject and names. One that
// names nothing is like no other, nil.
func likeness(subject string, names []ca.Identifier) []byte {
	if subject == "" && len(names) == 0 {
		return nil
	}
	lines := make([]string, len(names), len(names)+1)
	for i, n := range names {
		lines[i] = n.String()
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(append(slices.Compact(lines), subject), "\n")))
	return sum[:16]
}

// keyIDOf gives a certificate's subject key identifier, nil when there is none.
func keyIDOf(der []byte) []byte {
	c, err := x509.ParseCertificate(der)
	if err != nil || len(c.SubjectKeyId) == 0 {
		return nil
	}
	return c.SubjectKeyId
}

// estRoom is the room whose certificates have an index by asker.
const estRoom = "est"

// fewCertificates is how many are given of those alike.
const fewCertificates = 10

// Renewable implements [estserver.Certificates].
func (s *Store) Renewable(ctx context.Context, q estserver.Renewal) ([]ca.Record, error) {
	like := likeness(q.Subject, q.Names)
	if like == nil || len(q.Profiles) == 0 {
		return nil, nil
	}
	var c conditions
	c.add(`alike = %s AND settled > 0 AND revoked = 0 AND not_after > %s`, like, millis(q.After))
	names := make([]string, len(q.Profiles))
	for i, p := range q.Profiles {
		names[i] = c.next(p)
	}
	c.parts = append(c.parts, `profile IN (`+strings.Join(names, ", ")+`)`)
	return s.newest(ctx, &c)
}

// ByKeyID implements [estserver.Certificates].
func (s *Store) ByKeyID(ctx context.Context, id []byte, now time.Time) ([]ca.Record, error) {
	var c conditions
	c.add(`key_id = %s AND settled > 0 AND revoked = 0 AND not_after >= %s`, id, millis(now))
	return s.newest(ctx, &c)
}

// newest reads the few newest certificates of which the conditions are true.
func (s *Store) newest(ctx context.Context, c *conditions) ([]ca.Record, error) {
	var found []ca.Record
	err := s.db.Query(ctx, `SELECT `+recordColumns+` FROM certificates`+c.where()+` ORDER BY intended DESC LIMIT `+strconv.Itoa(fewCertificates), c.args,
		func(row sqldb.Row) error {
			var r ca.Record
			err := scanRecord(row, &r)
			found = append(found, r)
			return err
		})
	return found, refuse(err)
}

// Standing implements [estserver.Certificates].
func (s *Store) Standing(ctx context.Context, serial ca.Serial) (time.Time, ca.Reason, error) {
	var revoked, reason int64
	err := s.db.One(ctx, `SELECT revoked, reason FROM certificates WHERE serial = $1 AND settled > 0`, []any{serial.Bytes()}, &revoked, &reason)
	return instant(revoked), ca.Reason(reason), missing(err, "no certificate with this serial number was issued here")
}

// CountIssued implements [estserver.Certificates]. Those that are being made count;
// those that came to nothing do not.
func (s *Store) CountIssued(ctx context.Context, by ca.Principal, since time.Time) (int, error) {
	room, args := `room = $3`, []any{by.ID, millis(since), by.Room}
	if by.Room == estRoom { // written out, as the index is of this room alone
		room, args = `room = '`+estRoom+`'`, args[:2]
	}
	var n int
	err := s.db.One(ctx, `SELECT COUNT(*) FROM certificates WHERE actor = $1 AND intended >= $2 AND (settled > 0 OR revoked = 0) AND `+room, args, &n)
	return n, refuse(err)
}

// Note implements [estserver.Certificates].
func (s *Store) Note(ctx context.Context, e ca.Event) error {
	return refuse(s.db.Batch(ctx, record(e)))
}
