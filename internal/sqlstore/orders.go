package sqlstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"chancery/internal/acmeserver"
	"chancery/internal/ca"
	"chancery/internal/sqldb"
)

// ordersSchema holds what internal/acmeserver keeps of orders. An order's id is
// its letters as bytes, so that pages can be ordered by it on every engine.
// sweep is when the order may be looked at for deletion, 0 when it stays.
var ordersSchema = []string{
	`CREATE TABLE orders (
		id BYTEA NOT NULL PRIMARY KEY, request TEXT NOT NULL, account TEXT NOT NULL,
		names TEXT NOT NULL, authorizations TEXT NOT NULL, profile TEXT NOT NULL,
		created BIGINT NOT NULL, expires BIGINT NOT NULL,
		not_before BIGINT NOT NULL, not_after BIGINT NOT NULL,
		replaces TEXT, sweep BIGINT NOT NULL)`,
	`CREATE INDEX orders_by_account ON orders (account, created, id)`,
	`CREATE INDEX orders_replacing ON orders (replaces, created) WHERE replaces IS NOT NULL`,
	`CREATE INDEX orders_to_sweep ON orders (sweep) WHERE sweep > 0`,
	`CREATE TABLE authorizations (
		id TEXT NOT NULL PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL,
		status TEXT NOT NULL, token TEXT NOT NULL, offered TEXT NOT NULL,
		created BIGINT NOT NULL, expires BIGINT NOT NULL,
		method TEXT NOT NULL, processing BIGINT NOT NULL, attempts BIGINT NOT NULL,
		validated BIGINT NOT NULL, problem TEXT NOT NULL, detail TEXT NOT NULL,
		version BIGINT NOT NULL)`,
	`CREATE INDEX authorizations_valid ON authorizations (account, name, expires) WHERE status = 'valid'`,
	`CREATE INDEX authorizations_processing ON authorizations (processing) WHERE processing > 0`,
	`CREATE INDEX authorizations_to_sweep ON authorizations (expires) WHERE validated = 0`,
}

// endedSchema finds proofs that ended, to sweep them.
var endedSchema = []string{
	`CREATE INDEX authorizations_ended ON authorizations (expires) WHERE validated > 0`,
}

// heldSchema is for names that were proven and wait for a customer's word.
var heldSchema = []string{
	`ALTER TABLE authorizations ADD COLUMN proven BIGINT NOT NULL DEFAULT 0`,
	`CREATE INDEX authorizations_held ON authorizations (account) WHERE proven > 0 AND status = 'pending'`,
}

const orderColumns = `id, account, names, authorizations, profile, created, expires, not_before, not_after, replaces`

// scanOrder reads orderColumns, and what follows them into more.
func scanOrder(row sqldb.Row, o *acmeserver.Order, more ...any) error {
	var id []byte
	var replaces *string
	var names, authorizations string
	var created, expires, from, to int64
	dest := []any{&id, &o.Account, &names, &authorizations, &o.Profile, &created, &expires, &from, &to, &replaces}
	if err := row.Scan(append(dest, more...)...); err != nil {
		return err
	}
	o.ID, o.Authorizations = string(id), strings.Fields(authorizations)
	o.CreatedAt, o.Expires, o.NotBefore, o.NotAfter = instant(created), instant(expires), instant(from), instant(to)
	if replaces != nil {
		o.Replaces = *replaces
	}
	var err error
	o.Identifiers, err = splitNames(names)
	return err
}

// CreateOrder implements [acmeserver.Orders].
func (s *Store) CreateOrder(ctx context.Context, o *acmeserver.Order, fresh []acmeserver.Authorization, w acmeserver.Write) error {
	batch := spend(w.Once)
	if o != nil {
		batch = append(batch, sqldb.Statement{
			SQL: `INSERT INTO orders (` + orderColumns + `, request, sweep)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
			Args: []any{[]byte(o.ID), o.Account, joinNames(o.Identifiers), strings.Join(o.Authorizations, " "), o.Profile,
				millis(o.CreatedAt), millis(o.Expires), millis(o.NotBefore), millis(o.NotAfter),
				orNull(o.Replaces), o.RequestID(), millis(o.Expires)},
			Want: 1,
		})
	}
	if w.MostPending > 0 && len(fresh) > 0 {
		batch = append(batch, room(fresh, w))
	}
	for _, a := range fresh {
		problem, err := encodeProblem(&a)
		if err != nil {
			return err
		}
		batch = append(batch, sqldb.Statement{
			SQL: `INSERT INTO authorizations (` + authorizationColumns + `)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
			Args: []any{a.ID, a.Account, a.Identifier.String(), string(a.Status), a.Token, strings.Join(a.Offered, " "), millis(a.CreatedAt), millis(a.Expires),
				a.Method, millis(a.Processing), a.Attempts, millis(a.Validated), problem, a.Detail, a.Version, millis(a.Proven)},
			Want: 1,
		})
	}
	err := s.db.Batch(ctx, append(batch, record(w.Event))...)
	if errors.Is(err, errCrowded) {
		return s.crowded(ctx, fresh, w)
	}
	return refuse(err)
}

// Order implements [acmeserver.Orders].
func (s *Store) Order(ctx context.Context, id string) (acmeserver.Order, error) {
	orders, err := s.orders(ctx, `SELECT `+orderColumns+` FROM orders WHERE id = $1`, []byte(id))
	if err == nil && len(orders) == 0 {
		err = sqldb.ErrNoRows
	}
	if err != nil {
		return acmeserver.Order{}, missing(err, "there is no such order; it may have been deleted after it expired")
	}
	return orders[0], nil
}

func (s *Store) orders(ctx context.Context, query string, args ...any) ([]acmeserver.Order, error) {
	var orders []acmeserver.Order
	err := s.db.Query(ctx, query, args, func(row sqldb.Row) error {
		var o acmeserver.Order
		err := scanOrder(row, &o)
		orders = append(orders, o)
		return err
	})
	return orders, err
}

// Replacing implements [acmeserver.Background].
func (s *Store) Replacing(ctx context.Context, certID string) ([]acmeserver.Order, error) {
	orders, err := s.orders(ctx, `SELECT `+orderColumns+` FROM orders WHERE replaces = $1 ORDER BY created DESC LIMIT 20`, certID)
	return orders, refuse(err)
}

const authorizationColumns = `id, account, name, status, token, offered, created, expires, method, processing, attempts, validated, problem, detail, version, proven`

// scanAuthorization reads authorizationColumns.
func scanAuthorization(row sqldb.Row, a *acmeserver.Authorization) error {
	var name, problem, offered string
	var created, expires, processing, validated, proven int64
	err := row.Scan(&a.ID, &a.Account, &name, &a.Status, &a.Token, &offered, &created, &expires,
		&a.Method, &processing, &a.Attempts, &validated, &problem, &a.Detail, &a.Version, &proven)
	if err != nil {
		return err
	}
	a.CreatedAt, a.Expires, a.Processing, a.Validated = instant(created), instant(expires), instant(processing), instant(validated)
	a.Proven = instant(proven)
	a.Offered = strings.Fields(offered)
	if problem != "" {
		if err := json.Unmarshal([]byte(problem), &a.Problem); err != nil {
			return fmt.Errorf("problem of authorisation %s: %w", a.ID, err)
		}
	}
	kind, value, _ := strings.Cut(name, ":")
	a.Identifier, err = ca.ParseIdentifier(kind, value)
	return err
}

func encodeProblem(a *acmeserver.Authorization) (string, error) {
	if a.Problem == nil {
		return "", nil
	}
	text, err := json.Marshal(a.Problem)
	return string(text), err
}

// manyIDs is how many ids one read asks for; both engines take more.
const manyIDs = 1000

// Authorizations implements [acmeserver.Orders].
func (s *Store) Authorizations(ctx context.Context, ids []string) ([]acmeserver.Authorization, error) {
	found := make(map[string]acmeserver.Authorization, len(ids))
	for part := range slices.Chunk(ids, manyIDs) {
		err := s.authorizations(ctx, `id IN (`+marks(1, len(part))+`)`, anys(part), func(a acmeserver.Authorization) { found[a.ID] = a })
		if err != nil {
			return nil, refuse(err)
		}
	}
	list := make([]acmeserver.Authorization, len(ids))
	for i, id := range ids {
		a, ok := found[id]
		if !ok {
			return nil, &ca.Error{Kind: ca.NotFound, Detail: "there is no such authorization; it may have been deleted after it expired"}
		}
		list[i] = a
	}
	return list, nil
}

// ValidAuthorizations implements [acmeserver.Orders].
func (s *Store) ValidAuthorizations(ctx context.Context, account string, names []ca.Identifier, until time.Time) ([]acmeserver.Authorization, error) {
	if len(names) == 0 {
		return nil, nil
	}
	args := []any{account, millis(until)}
	for _, n := range names {
		args = append(args, n.String())
	}
	best := map[ca.Identifier]acmeserver.Authorization{}
	where := `status = 'valid' AND account = $1 AND expires > $2 AND name IN (` + marks(3, len(names)) + `)`
	err := s.authorizations(ctx, where, args, func(a acmeserver.Authorization) {
		if known, ok := best[a.Identifier]; !ok || a.Expires.After(known.Expires) {
			best[a.Identifier] = a
		}
	})
	if err != nil {
		return nil, refuse(err)
	}
	var list []acmeserver.Authorization
	for _, n := range names {
		if a, ok := best[n]; ok {
			list = append(list, a)
		}
	}
	return list, nil
}

func (s *Store) authorizations(ctx context.Context, where string, args []any, each func(acmeserver.Authorization)) error {
	return s.db.Query(ctx, `SELECT `+authorizationColumns+` FROM authorizations WHERE `+where, args, func(row sqldb.Row) error {
		var a acmeserver.Authorization
		err := scanAuthorization(row, &a)
		if err == nil {
			each(a)
		}
		return err
	})
}

// UpdateAuthorization implements [acmeserver.Orders].
func (s *Store) UpdateAuthorization(ctx context.Context, a acmeserver.Authorization, w acmeserver.Write) error {
	problem, err := encodeProblem(&a)
	if err != nil {
		return err
	}
	batch := append(spend(w.Once), sqldb.Statement{
		SQL: `UPDATE authorizations SET status = $1, expires = $2, method = $3, processing = $4, attempts = $5,
			validated = $6, problem = $7, detail = $8, proven = $9, version = version + 1 WHERE id = $10 AND version = $11`,
		Args: []any{string(a.Status), millis(a.Expires), a.Method, millis(a.Processing), a.Attempts,
			millis(a.Validated), problem, a.Detail, millis(a.Proven), a.ID, a.Version},
		Want: 1, Label: errStale,
	})
	err = s.db.Batch(ctx, append(batch, record(w.Event))...)
	if errors.Is(err, errStale) {
		return &ca.Error{Kind: ca.Conflict, Detail: "the authorization changed meanwhile; look at it again"}
	}
	return refuse(err)
}

// HeldAuthorizations implements [acmeserver.Background].
func (s *Store) HeldAuthorizations(ctx context.Context, account string, now time.Time) ([]acmeserver.Authorization, error) {
	var list []acmeserver.Authorization
	where := `proven > 0 AND status = 'pending' AND account = $1 AND expires > $2`
	err := s.authorizations(ctx, where, []any{account, millis(now)}, func(a acmeserver.Authorization) { list = append(list, a) })
	return list, refuse(err)
}

// ClaimValidations implements [acmeserver.Background].
func (s *Store) ClaimValidations(ctx context.Context, now, until time.Time, limit int) ([]acmeserver.Authorization, error) {
	// Looking first keeps the usual case, nothing to do, free of a commit.
	var first int64
	err := s.db.One(ctx, `SELECT processing FROM authorizations WHERE processing > 0 AND processing < $1 LIMIT 1`, []any{millis(now)}, &first)
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, refuse(err)
	}
	var c claims
	if err := s.db.Batch(ctx, c.statements(now, until, limit)...); err != nil {
		return nil, refuse(err)
	}
	return c.list, nil
}

// claims collects the authorisations that a batch claimed.
type claims struct{ list []acmeserver.Authorization }

// statements claims up to limit authorisations. An engine may run the batch
// again from the first row, and then claim others: whoever has taken one of the
// first ones meanwhile is at it. So the batch begins with a row that forgets
// what an earlier run had.
func (c *claims) statements(now, until time.Time, limit int) []sqldb.Statement {
	return []sqldb.Statement{{
		SQL: `SELECT 1`, Want: 1,
		Scan: func(sqldb.Row) error { c.list = nil; return nil },
	}, {
		SQL: `UPDATE authorizations SET processing = $1, version = version + 1
			WHERE processing > 0 AND processing < $2 AND id IN
			(SELECT id FROM authorizations WHERE processing > 0 AND processing < $2 ORDER BY processing LIMIT $3)
			RETURNING ` + authorizationColumns,
		Args: []any{millis(until), millis(now), limit}, Want: sqldb.AnyRows,
		Scan: func(row sqldb.Row) error {
			var a acmeserver.Authorization
			err := scanAuthorization(row, &a)
			c.list = append(c.list, a)
			return err
		},
	}}
}

// orNull stores no text as NULL, which a partial index leaves out.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// marks gives n placeholders, the first numbered from.
func marks(from, n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = "$" + strconv.Itoa(from+i)
	}
	return strings.Join(list, ", ")
}

func anys[T any](list []T) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}
