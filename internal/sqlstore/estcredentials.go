package sqlstore

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"chancery/internal/ca"
	"chancery/internal/estserver"
	"chancery/internal/sqldb"
)

const credentialColumns = `id, login, one_time, labels, names, hash, digest, ha1, realm, request, created, expires, sealed`

// credentials reads what follows FROM.
func (s *Store) credentials(ctx context.Context, rest string, args ...any) ([]estserver.Credential, error) {
	var found []estserver.Credential
	err := s.db.Query(ctx, `SELECT `+credentialColumns+` FROM est_credentials`+rest, args, func(row sqldb.Row) error {
		var c estserver.Credential
		var id []byte
		var labels, names, ha1 string
		var created, expires int64
		err := row.Scan(&id, &c.User, &c.OneTime, &labels, &names, &c.Hash, &c.Digest, &ha1, &c.Realm, &c.Request, &created, &expires, &c.Sealed)
		if err != nil {
			return err
		}
		c.ID, c.Created, c.Expires = string(id), instant(created), instant(expires)
		err = errors.Join(json.Unmarshal([]byte(labels), &c.Labels), json.Unmarshal([]byte(names), &c.Names), json.Unmarshal([]byte(ha1), &c.HA1))
		found = append(found, c)
		return err
	})
	return found, err
}

// Credentials implements [estserver.Credentials].
func (s *Store) Credentials(ctx context.Context, q estserver.CredentialQuery) ([]estserver.Credential, error) {
	found, err := s.credentials(ctx, ` WHERE login = $1 AND one_time = 0`, q.User)
	room := q.Limit - len(found)
	if err != nil || room <= 0 {
		return found, refuse(err)
	}
	const live = ` WHERE login = $1 AND one_time = 1 AND (expires = 0 OR expires > $2) ORDER BY created DESC, id DESC LIMIT $3`
	more, err := s.credentials(ctx, live, q.User, millis(q.Now), room)
	if err == nil && len(more) == room && !q.Spent.IsZero() {
		if more, err = s.credentials(ctx, live, q.User, millis(q.Now), manyIDs); err == nil {
			more, err = s.unspent(ctx, more, millis(q.Spent))
		}
	}
	return append(found, more[:min(room, len(more))]...), refuse(err)
}

// unspent leaves out one-time passwords that got a certificate before a moment.
func (s *Store) unspent(ctx context.Context, list []estserver.Credential, before int64) ([]estserver.Credential, error) {
	args := []any{before}
	for i := range list {
		args = append(args, estserver.OneTimeRequest(list[i].ID))
	}
	spent := map[string]bool{}
	err := s.db.Query(ctx, `SELECT request FROM certificates WHERE intended < $1 AND settled > 0 AND request IN (`+marks(2, len(list))+`)`, args, func(row sqldb.Row) error {
		var request string
		err := row.Scan(&request)
		spent[request] = true
		return err
	})
	return slices.DeleteFunc(list, func(c estserver.Credential) bool { return spent[estserver.OneTimeRequest(c.ID)] }), err
}

// CredentialByDigest implements [estserver.Credentials].
func (s *Store) CredentialByDigest(ctx context.Context, digest []byte) (estserver.Credential, error) {
	found, err := s.credentials(ctx, ` WHERE digest = $1 AND one_time = 1`, digest)
	if err == nil && len(found) == 0 {
		err = sqldb.ErrNoRows
	}
	if err != nil {
		return estserver.Credential{}, missing(err, "there is no such one-time password")
	}
	return found[0], nil
}

// AddCredential implements [estserver.Credentials].
func (s *Store) AddCredential(ctx context.Context, c estserver.Credential, e ca.Event) error {
	var texts [3]string
	for i, v := range []any{c.Labels, c.Names, c.HA1} {
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		texts[i] = string(text)
	}
	var batch []sqldb.Statement
	if c.Replaces != "" {
		batch = append(batch, sqldb.Statement{
			SQL: `DELETE FROM est_credentials WHERE id = $1 AND login = $2 AND one_time = 0`, Args: []any{[]byte(c.Replaces), c.User}, Want: 1, Label: errStale,
		})
	}
	err := s.db.Batch(ctx, append(batch, sqldb.Statement{
		SQL: `INSERT INTO est_credentials (` + credentialColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '', $10, $11, $12)`,
		Args: []any{[]byte(c.ID), c.User, c.OneTime, texts[0], texts[1], c.Hash, c.Digest, texts[2], c.Realm,
			millis(c.Created), millis(c.Expires), c.Sealed},
		Want: 1, Label: errExists,
	}, record(e))...)
	switch {
	case errors.Is(err, errExists):
		return ca.Errorf(ca.Conflict, "there is such a user or password already; give the user another password: chancery est user add --replace, or remove him first: chancery est user remove")
	case errors.Is(err, errStale):
		return ca.Errorf(ca.Conflict, "the user's password was replaced or removed by somebody else just now; look first: chancery est user list")
	}
	return refuse(err)
}

// RemoveCredential implements [estserver.Credentials].
func (s *Store) RemoveCredential(ctx context.Context, id string, e ca.Event) error {
	err := s.db.Batch(ctx, sqldb.Statement{
		SQL: `DELETE FROM est_credentials WHERE id = $1`, Args: []any{[]byte(id)}, Want: 1, Label: errStale,
	}, record(e))
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.NotFound, "there is no such user or password, or not any more")
	}
	return refuse(err)
}

// ListCredentials implements [estserver.Credentials].
func (s *Store) ListCredentials(ctx context.Context, cursor string, limit int) ([]estserver.Credential, string, error) {
	var c conditions
	return page(paging{cursor: cursor, limit: limit, key: "id", only: &c}, func(rest string) ([]estserver.Credential, error) {
		return s.credentials(ctx, rest, c.args...)
	}, func(r *estserver.Credential) place { return place{millis(r.Created), []byte(r.ID)} })
}

// SpendNonce implements [estserver.Nonces]. Spent nonces of all rooms are kept, and
// swept, together.
func (s *Store) SpendNonce(ctx context.Context, id []byte, expires time.Time) error {
	return refuse(s.db.Batch(ctx, spend(&ca.Once{ID: nonceOfEST(id), Expires: expires})...))
}

// Spent implements [estserver.Nonces].
func (s *Store) Spent(ctx context.Context, id []byte) (bool, error) {
	var one int64
	err := s.db.One(ctx, `SELECT 1 FROM spent WHERE token = $1`, []any{nonceOfEST(id)}, &one)
	if errors.Is(err, sqldb.ErrNoRows) {
		return false, nil
	}
	return err == nil, refuse(err)
}

func nonceOfEST(id []byte) []byte { return append([]byte("est:"), id...) }

// SweepEST implements [estserver.Sweeper]. What there is nothing of is not written for.
func (s *Store) SweepEST(ctx context.Context, before time.Time, limit int) (int, error) {
	total := int64(0)
	for _, step := range []func(int64, int) (int64, error){
		func(before int64, limit int) (int64, error) { return s.sweepRequests(ctx, before, limit) },
		func(before int64, limit int) (int64, error) { return s.sweepPasswords(ctx, before, limit) },
	} {
		n, err := step(millis(before), limit)
		if err != nil {
			return int(total), refuse(err)
		}
		total += n
	}
	return int(total), nil
}

// sweepRequests deletes by id what it found first: a request cannot come back to life.
func (s *Store) sweepRequests(ctx context.Context, before int64, limit int) (int64, error) {
	var ids, askers []any
	err := s.db.Query(ctx, `SELECT id, identity FROM est_requests WHERE expires < $1 ORDER BY expires LIMIT $2`, []any{before, min(limit, manyIDs)}, func(row sqldb.Row) error {
		var id, asker string
		err := row.Scan(&id, &asker)
		ids, askers = append(ids, id), append(askers, asker)
		return err
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	list := marks(1, len(ids))
	return int64(len(ids)), s.db.Batch(ctx, freePasswords(list, ids...), sqldb.Statement{
		SQL: `DELETE FROM est_requests WHERE id IN (` + list + `)`, Args: ids, Want: sqldb.AnyRows,
	}, sqldb.Statement{
		SQL: `DELETE FROM est_askers WHERE identity IN (` + list + `) AND NOT EXISTS
			(SELECT 1 FROM est_requests r WHERE r.identity = est_askers.identity AND r.state = 'pending')`, Args: askers, Want: sqldb.AnyRows,
	})
}

func (s *Store) sweepPasswords(ctx context.Context, before int64, limit int) (int64, error) {
	const ended = ` FROM est_credentials WHERE one_time = 1 AND expires > 0 AND expires < $1`
	var one int64
	err := s.db.One(ctx, `SELECT 1`+ended+` LIMIT 1`, []any{before}, &one)
	if errors.Is(err, sqldb.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return s.db.Exec(ctx, `DELETE`+ended+` AND id IN (SELECT id`+ended+` LIMIT $2)`, before, limit)
}
