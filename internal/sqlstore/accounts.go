package sqlstore

import (
	"context"
	"encoding/json"
	"errors"

	"chancery/internal/acmeserver"
	"chancery/internal/ca"
	"chancery/internal/sqldb"
)

// accountsSchema holds the ACME accounts. The thumbprint is UNIQUE: one key is
// one account's at most (RFC 8555 §7.3.5), also after the account ended.
var accountsSchema = []string{
	`CREATE TABLE acme_accounts (
		id TEXT NOT NULL PRIMARY KEY,
		jwk TEXT NOT NULL, thumb TEXT NOT NULL UNIQUE, status TEXT NOT NULL,
		contacts TEXT NOT NULL, agreed BIGINT NOT NULL,
		binding TEXT NOT NULL, binding_jws TEXT NOT NULL, created BIGINT NOT NULL)`,
	`CREATE INDEX acme_accounts_by_age ON acme_accounts (created)`,
}

const accountColumns = `id, jwk, thumb, status, contacts, agreed, binding, binding_jws, created`

// CreateAccount implements [acmeserver.Accounts].
func (s *Store) CreateAccount(ctx context.Context, a acmeserver.Account, binding *acmeserver.Binding, w acmeserver.Write) (stored acmeserver.Account, created bool, err error) {
	contacts, err := encodeContacts(a.Contacts)
	if err != nil {
		return acmeserver.Account{}, false, err
	}
	batch := append(spend(w.Once), sqldb.Statement{
		SQL: `INSERT INTO acme_accounts (` + accountColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		Args: []any{a.ID, string(a.Key), a.Thumb, a.Status, contacts, millis(a.AgreedAt),
			a.Binding, string(a.BindingJWS), millis(a.CreatedAt)},
		Want: 1, Label: errExists,
	})
	if binding != nil {
		batch = append(batch, useKey(binding.ID, a.ID, a.CreatedAt)...)
	}
	err = s.db.Batch(ctx, append(batch, record(w.Event))...)
	switch {
	case errors.Is(err, errExists):
		stored, err = s.AccountByThumb(ctx, a.Thumb)
		return stored, false, err
	case errors.Is(err, errStale):
		return acmeserver.Account{}, false, ca.Errorf(ca.Conflict, "the external account key was used, withdrawn or has expired meanwhile")
	case err != nil:
		return acmeserver.Account{}, false, refuse(err)
	}
	return a, true, nil
}

// Account implements [acmeserver.Accounts].
func (s *Store) Account(ctx context.Context, id string) (acmeserver.Account, error) {
	return s.account(ctx, `SELECT `+accountColumns+` FROM acme_accounts WHERE id = $1`, id)
}

// KeyCertified implements [acmeserver.Background].
func (s *Store) KeyCertified(ctx context.Context, id, hash []byte) (bool, error) {
	var one int64
	err := s.db.One(ctx, `SELECT 1 FROM certificates WHERE key_id = $1 AND key_hash = $2 LIMIT 1`, []any{id, hash}, &one)
	if errors.Is(err, sqldb.ErrNoRows) {
		return false, nil
	}
	return err == nil, refuse(err)
}

// AccountByThumb implements [acmeserver.Accounts].
func (s *Store) AccountByThumb(ctx context.Context, thumb string) (acmeserver.Account, error) {
	return s.account(ctx, `SELECT `+accountColumns+` FROM acme_accounts WHERE thumb = $1`, thumb)
}

func (s *Store) account(ctx context.Context, query, key string) (acmeserver.Account, error) {
	row := accountRow{}
	if err := s.db.One(ctx, query, []any{key}, row.columns()...); err != nil {
		return acmeserver.Account{}, missing(err, "there is no such account")
	}
	return row.account()
}

// accountRow is a row as accountColumns has it.
type accountRow struct {
	acmeserver.Account
	jwk, contacts, jws string
	agreed, created    int64
}

func (r *accountRow) columns() []any {
	return []any{&r.ID, &r.jwk, &r.Thumb, &r.Status, &r.contacts, &r.agreed, &r.Binding, &r.jws, &r.created}
}

func (r *accountRow) account() (acmeserver.Account, error) {
	a := r.Account
	a.Key, a.AgreedAt, a.CreatedAt = json.RawMessage(r.jwk), instant(r.agreed), instant(r.created)
	if r.jws != "" {
		a.BindingJWS = json.RawMessage(r.jws)
	}
	return a, json.Unmarshal([]byte(r.contacts), &a.Contacts)
}

// UpdateAccount implements [acmeserver.Accounts].
func (s *Store) UpdateAccount(ctx context.Context, a acmeserver.Account, w acmeserver.Write) error {
	contacts, err := encodeContacts(a.Contacts)
	if err != nil {
		return err
	}
	return s.changeAccount(ctx, w, sqldb.Statement{
		SQL:  `UPDATE acme_accounts SET contacts = $1, agreed = $2, status = $3 WHERE id = $4 AND status = 'valid'`,
		Args: []any{contacts, millis(a.AgreedAt), a.Status, a.ID}, Want: 1, Label: errStale,
	})
}

// ChangeKey implements [acmeserver.Accounts].
func (s *Store) ChangeKey(ctx context.Context, a acmeserver.Account, oldThumb string, w acmeserver.Write) error {
	// A thumbprint that another account has breaks UNIQUE, which bears the same label.
	return s.changeAccount(ctx, w, sqldb.Statement{
		SQL:  `UPDATE acme_accounts SET jwk = $1, thumb = $2 WHERE id = $3 AND thumb = $4 AND status = 'valid'`,
		Args: []any{string(a.Key), a.Thumb, a.ID, oldThumb}, Want: 1, Label: errStale,
	})
}

func (s *Store) changeAccount(ctx context.Context, w acmeserver.Write, change sqldb.Statement) error {
	err := s.db.Batch(ctx, append(spend(w.Once), change, record(w.Event))...)
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.Conflict, "the account was changed meanwhile; look at it again")
	}
	return refuse(err)
}

func encodeContacts(contacts []string) (string, error) {
	if len(contacts) == 0 {
		return "[]", nil
	}
	text, err := json.Marshal(contacts)
	return string(text), err
}
