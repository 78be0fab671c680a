package sqlstore

import (
	"context"
	"crypto/sha256"
	"encoding/asn1"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"

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

// keyIDOf gives a certificate's subject key identifier, nil when there is none. It looks
// for nothing else, as each certificate that is settled passes here.
func keyIDOf(der []byte) []byte {
	var certificate, tbs, list cryptobyte.String
	in := cryptobyte.String(der)
	// The rest of what stands before the extensions has context-specific tags of other
	// numbers, or none (RFC 5280 §4.1).
	extensions := casn1.Tag(3).ContextSpecific().Constructed()
	if !in.ReadASN1(&certificate, casn1.SEQUENCE) || !certificate.ReadASN1(&tbs, casn1.SEQUENCE) {
		return nil
	}
	for !tbs.PeekASN1Tag(extensions) {
		var tag casn1.Tag
		if !tbs.ReadAnyASN1Element(new(cryptobyte.String), &tag) {
			return nil
		}
	}
	if !tbs.ReadASN1(&tbs, extensions) || !tbs.ReadASN1(&list, casn1.SEQUENCE) {
		return nil
	}
	for !list.Empty() {
		var extension, id cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !list.ReadASN1(&extension, casn1.SEQUENCE) || !extension.ReadASN1ObjectIdentifier(&oid) {
			return nil
		}
		if !oid.Equal(subjectKeyID) {
			continue
		}
		if !extension.SkipOptionalASN1(casn1.BOOLEAN) || !extension.ReadASN1(&extension, casn1.OCTET_STRING) ||
			!extension.ReadASN1(&id, casn1.OCTET_STRING) || len(id) == 0 {
			return nil
		}
		return id
	}
	return nil
}

// subjectKeyID is id-ce-subjectKeyIdentifier (RFC 5280 §4.2.1.2).
var subjectKeyID = asn1.ObjectIdentifier{2, 5, 29, 14}

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
	good, change := s.standings.know(serial)
	if good {
		return time.Time{}, 0, nil
	}
	var revoked, reason int64
	err := s.db.One(ctx, `SELECT revoked, reason FROM certificates WHERE serial = $1 AND settled > 0`, []any{serial.Bytes()}, &revoked, &reason)
	if err == nil && revoked == 0 && s.db.Engine() == sqldb.SQLite {
		s.standings.learn(serial, change)
	}
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
