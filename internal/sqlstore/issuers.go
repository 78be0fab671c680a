package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"chancery/internal/ca"
	"chancery/internal/sqldb"
)

// Issuers implements [ca.Hierarchy].
func (s *Store) Issuers(ctx context.Context) ([]ca.IssuerRecord, error) {
	certs := map[string][][]byte{}
	err := s.db.Query(ctx, `SELECT issuer, der FROM issuer_certificates ORDER BY n`, nil, func(row sqldb.Row) error {
		var issuer string
		var der []byte
		err := row.Scan(&issuer, &der)
		certs[issuer] = append(certs[issuer], der)
		return err
	})
	if err != nil {
		return nil, refuse(err)
	}
	var all []ca.IssuerRecord
	err = s.db.Query(ctx, `SELECT id, name, root, state, key_name, parent, shards, status_url, created FROM issuers`, nil, func(row sqldb.Row) error {
		var r ca.IssuerRecord
		var state string
		var created int64
		err := row.Scan(&r.ID, &r.Name, &r.Root, &state, &r.Key, &r.Parent, &r.Shards, &r.StatusURL, &created)
		r.State, r.Created, r.Certs = ca.State(state), instant(created), certs[r.ID]
		if len(r.Certs) > 0 { // one that was added between the two reads is seen next time
			all = append(all, r)
		}
		return err
	})
	return all, refuse(err)
}

// Change implements [ca.Hierarchy].
func (s *Store) Change(ctx context.Context, c ca.Change) error {
	var batch []sqldb.Statement
	for _, r := range c.Add {
		batch = append(batch, sqldb.Statement{
			SQL: `INSERT INTO issuers (id, name, root, state, key_name, parent, shards, status_url, created)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			Args: []any{r.ID, r.Name, r.Root, string(r.State), r.Key, r.Parent, r.Shards, r.StatusURL, millis(r.Created)},
			Want: 1, Label: errExists,
		})
		for n, der := range r.Certs {
			batch = append(batch, sqldb.Statement{
				SQL:  `INSERT INTO issuer_certificates (issuer, n, der) VALUES ($1, $2, $3)`,
				Args: []any{r.ID, n, der}, Want: 1, Label: errExists,
			})
		}
	}
	for issuer, der := range c.Cross {
		batch = append(batch, sqldb.Statement{
			SQL: `INSERT INTO issuer_certificates (issuer, n, der)
				SELECT issuer, MAX(n) + 1, $2 FROM issuer_certificates WHERE issuer = $1 GROUP BY issuer`,
			Args: []any{issuer, der}, Want: 1, Label: errStale,
		}, sqldb.Statement{ // what it revoked elsewhere stays on its CRLs as long as it lives
			SQL:  `UPDATE imported_revocations SET until = $1 WHERE issuer = $2 AND until < $1`,
			Args: []any{millis(c.RevokedUntil), issuer}, Want: sqldb.AnyRows,
		})
	}
	for _, id := range c.Retire {
		batch = append(batch, sqldb.Statement{
			SQL:  `UPDATE issuers SET state = $1 WHERE id = $2 AND state = $3`,
			Args: []any{string(ca.Retired), id, string(ca.Active)}, Want: 1, Label: errStale,
		})
	}
	batch = append(batch, importedRevocations(c)...)
	err := s.db.Batch(ctx, append(batch, record(c.Event))...)
	if errors.Is(err, errExists) || errors.Is(err, errStale) {
		return ca.Errorf(ca.Conflict, "the hierarchy was changed by somebody else meanwhile; look at it again: chancery ca list")
	}
	return refuse(err)
}

// importedAtOnce is how many revocations one statement writes. A CRL may have a
// hundred thousand, and SQLite takes long over statements with many arguments.
const importedAtOnce = 25

// importedRevocations writes what the imported authority revoked elsewhere: all
// that is known of it is what a CRL says. It stays on the CRL until its
// authority ends.
func importedRevocations(c ca.Change) []sqldb.Statement {
	var batch []sqldb.Statement
	for part := range slices.Chunk(c.Revoked, importedAtOnce) {
		args := []any{c.Add[0].ID, millis(c.RevokedUntil)}
		rows := make([]string, len(part))
		for n, e := range part {
			rows[n] = fmt.Sprintf("($1, $%d, $%d, $%d, $%d, $2)", 4*n+3, 4*n+4, 4*n+5, 4*n+6)
			args = append(args, e.Serial.Bytes(), millis(e.At), int64(e.Reason), c.ShardOf(e.Serial))
		}
		batch = append(batch, sqldb.Statement{
			SQL:  `INSERT INTO imported_revocations (issuer, serial, at, reason, shard, until) VALUES ` + strings.Join(rows, ", "),
			Args: args, Want: int64(len(part)), Label: errExists,
		})
	}
	return batch
}
