package sqlstore

import (
	"context"
	"errors"
	"time"

	"chancery/internal/ca"
	"chancery/internal/registry"
	"chancery/internal/sqldb"
)

// errSuspended marks what is not done for a customer who is suspended or unknown.
var errSuspended = errors.New("customer suspended or unknown")

// served is the statement without which nothing happens to a customer who is
// suspended or unknown. It holds his row, so that what is counted for him in the
// same transaction is counted exactly.
func served(customer string) sqldb.Statement {
	return sqldb.Statement{
		SQL:  `UPDATE customers SET suspended = 0 WHERE id = $1 AND suspended = 0`,
		Args: []any{customer}, Want: 1, Label: errSuspended,
	}
}

// unserved gives served's refusal its words, and other errors as refuse does.
func unserved(err error) error {
	if errors.Is(err, errSuspended) {
		return ca.Errorf(ca.Denied, "the customer is suspended or unknown; see: chancery customer list")
	}
	return refuse(err)
}

const customerColumns = `id, name, suspended, passphrase, room, actor, created`

// CreateCustomer implements [registry.CustomerStore].
func (s *Store) CreateCustomer(ctx context.Context, c registry.Customer, event ca.Event) error {
	return refuse(s.db.Batch(ctx, sqldb.Statement{
		SQL: `INSERT INTO customers (id, name, suspended, passphrase, failures, blocked, room, actor, created)
			VALUES ($1, $2, 0, '', 0, 0, $3, $4, $5)`,
		Args: []any{c.ID, c.Name, c.By.Room, c.By.ID, millis(c.CreatedAt)}, Want: 1, Label: errExists,
	}, record(event)))
}

// Customer implements [registry.CustomerStore].
func (s *Store) Customer(ctx context.Context, id string) (registry.Customer, error) {
	found, err := s.customers(ctx, ` WHERE id = $1`, id)
	if err == nil && len(found) == 0 {
		err = sqldb.ErrNoRows
	}
	if err != nil {
		return registry.Customer{}, missing(err, "there is no such customer; see: chancery customer list")
	}
	return found[0], nil
}

// customers reads customers, newest first, with three questions however many
// they are.
func (s *Store) customers(ctx context.Context, where string, args ...any) ([]registry.Customer, error) {
	var found []registry.Customer
	at := map[string]int{}
	err := s.db.Query(ctx, `SELECT `+customerColumns+` FROM customers`+where+` ORDER BY created DESC`, args, func(row sqldb.Row) error {
		var c registry.Customer
		var suspended, created int64
		var passphrase string
		err := row.Scan(&c.ID, &c.Name, &suspended, &passphrase, &c.By.Room, &c.By.ID, &created)
		c.State, c.SuspendedAt, c.CreatedAt, c.CanSignIn = registry.Active, instant(suspended), instant(created), passphrase != ""
		if suspended > 0 {
			c.State = registry.Suspended
		}
		at[c.ID] = len(found)
		found = append(found, c)
		return err
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	below := ` WHERE customer IN (SELECT id FROM customers` + where + `)`
	err = s.db.Query(ctx, `SELECT customer, address, added, verified, how FROM customer_contacts`+below+` ORDER BY added`, args, func(row sqldb.Row) error {
		var customer string
		var c registry.Contact
		var added, verified int64
		err := row.Scan(&customer, &c.Address, &added, &verified, &c.How)
		c.AddedAt, c.VerifiedAt = instant(added), instant(verified)
		if i, known := at[customer]; known {
			found[i].Contacts = append(found[i].Contacts, c)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = s.db.Query(ctx, `SELECT customer, kind, organization, country, locality, province, serial, category, jurisdiction, until, room, actor, at
		FROM customer_vettings`+below+` ORDER BY at`, args, func(row sqldb.Row) error {
		var customer string
		var v registry.Vetting
		var until, when int64
		err := row.Scan(&customer, &v.Kind, &v.Subject.Organization, &v.Subject.Country, &v.Subject.Locality, &v.Subject.Province,
			&v.Subject.Serial, &v.Subject.Category, &v.Subject.Jurisdiction, &until, &v.By.Room, &v.By.ID, &when)
		v.Until, v.At = instant(until), instant(when)
		if i, known := at[customer]; known {
			found[i].Vettings = append(found[i].Vettings, v)
		}
		return err
	})
	return found, err
}

// SetSuspended implements [registry.CustomerStore].
func (s *Store) SetSuspended(ctx context.Context, id string, at time.Time, event ca.Event) error {
	change := sqldb.Statement{SQL: `UPDATE customers SET suspended = $1 WHERE id = $2 AND suspended = 0`, Args: []any{millis(at), id}, Want: 1, Label: errStale}
	if at.IsZero() {
		change = sqldb.Statement{SQL: `UPDATE customers SET suspended = 0 WHERE id = $1 AND suspended > 0`, Args: []any{id}, Want: 1, Label: errStale}
	}
	err := s.db.Batch(ctx, change, record(event))
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.Conflict, "the customer is so already")
	}
	return refuse(err)
}

// SetVetting implements [registry.CustomerStore].
func (s *Store) SetVetting(ctx context.Context, customer string, v registry.Vetting, event ca.Event) error {
	return unserved(s.db.Batch(ctx, served(customer), sqldb.Statement{
		SQL: `INSERT INTO customer_vettings (customer, kind, organization, country, locality, province, serial, until, room, actor, at, category, jurisdiction)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
			ON CONFLICT (customer, kind) DO UPDATE SET organization = $3, country = $4, locality = $5, province = $6, serial = $7,
				until = $8, room = $9, actor = $10, at = $11, category = $12, jurisdiction = $13`,
		Args: []any{customer, v.Kind, v.Subject.Organization, v.Subject.Country, v.Subject.Locality, v.Subject.Province, v.Subject.Serial,
			millis(v.Until), v.By.Room, v.By.ID, millis(v.At), v.Subject.Category, v.Subject.Jurisdiction}, Want: 1,
	}, record(event)))
}

// SetPassphrase implements [registry.SignInStore].
func (s *Store) SetPassphrase(ctx context.Context, customer, hash string, event ca.Event) error {
	err := s.db.Batch(ctx, sqldb.Statement{
		SQL:  `UPDATE customers SET passphrase = $1, failures = 0, blocked = 0 WHERE id = $2`,
		Args: []any{hash, customer}, Want: 1, Label: errStale,
	}, record(event))
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.NotFound, "there is no such customer; see: chancery customer list")
	}
	return refuse(err)
}

// SignInState implements [registry.SignInStore].
func (s *Store) SignInState(ctx context.Context, customer string) (registry.SignInState, error) {
	var state registry.SignInState
	var suspended, blocked int64
	err := s.db.One(ctx, `SELECT passphrase, suspended, failures, blocked FROM customers WHERE id = $1`, []any{customer},
		&state.Hash, &suspended, &state.Failures, &blocked)
	state.Suspended, state.Blocked = suspended > 0, instant(blocked)
	return state, missing(err, "there is no such customer")
}

// BeginSignIn implements [registry.SignInStore].
func (s *Store) BeginSignIn(ctx context.Context, customer string, t registry.SignInTry) error {
	err := s.db.Batch(ctx, sqldb.Statement{
		SQL:  `UPDATE customers SET failures = $1, blocked = $2 WHERE id = $3 AND failures = $4 AND blocked = $5`,
		Args: []any{t.Was.Failures + 1, millis(t.Blocked), customer, t.Was.Failures, millis(t.Was.Blocked)},
		Want: 1, Label: errStale,
	}, record(t.Event))
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.Conflict, "somebody signs in at the same moment")
	}
	return refuse(err)
}

// SignedIn implements [registry.SignInStore].
func (s *Store) SignedIn(ctx context.Context, customer string, event ca.Event) error {
	return refuse(s.db.Batch(ctx, sqldb.Statement{
		SQL: `UPDATE customers SET failures = 0, blocked = 0 WHERE id = $1`, Args: []any{customer}, Want: 1,
	}, record(event)))
}
