package acmeserver

import (
	"context"
	"net/http"

	"chancery/acme"
	"chancery/internal/ca"
)

// changeKey replaces an account's key (RFC 8555 §7.3.5). Orders and
// authorisations hang on the account and do not notice.
func (s *Server) changeKey(ctx context.Context, c *call) (*answer, error) {
	newKey, err := checkKeyChange(c)
	if err != nil {
		return nil, err
	}
	// Step 9. The store checks again when it writes: its word is the last.
	if err := s.keyIsFree(ctx, newKey); err != nil {
		return nil, err
	}
	if err := s.keyOfNoCertificate(ctx, newKey); err != nil {
		return nil, err
	}
	changed := *c.account
	changed.Thumb = newKey.Thumbprint()
	if changed.Key, err = newKey.MarshalJSON(); err != nil {
		return nil, err
	}
	w := c.write(s.Clock(), "account.key-changed", changed.ID)
	w.Event.Detail = map[string]string{"old": c.account.Thumb, "new": changed.Thumb}
	err = s.Accounts.ChangeKey(ctx, changed, c.account.Thumb, w)
	if ca.KindOf(err) == ca.Conflict {
		if taken := s.keyIsFree(ctx, newKey); taken != nil {
			return nil, taken
		}
	}
	if err != nil {
		return nil, err
	}
	return &answer{location: s.accountURL(changed.ID), body: s.accountObject(&changed)}, nil
}

// keyOfNoCertificate refuses an account the key of a certificate, ended or not. RFC 8555
// §11.1: the two are never to be the same.
func (s *Server) keyOfNoCertificate(ctx context.Context, key *acme.Key) error {
	id, err := ca.KeyID(key.Public())
	if err != nil {
		return nil // no certificate of ours can have such a key
	}
	hash, err := ca.KeyHash(key.Public())
	if err != nil {
		return nil
	}
	taken, err := s.Background.KeyCertified(ctx, id, hash)
	if err == nil && taken {
		return acme.NewProblem(acme.TypeBadPublicKey, "this is the key of a certificate; make another key for the account (RFC 8555 §11.1)")
	}
	return err
}

// checkKeyChange does steps 2 to 8 of §7.3.5 and gives the new key.
func checkKeyChange(c *call) (*acme.Key, error) {
	if c.jws.PostAsGet() {
		return nil, acme.Malformed("the payload of a key change is a JWS signed with the new key (RFC 8555 §7.3.5); it is empty")
	}
	inner, err := acme.ParseInnerJWS(c.jws.Payload)
	if err != nil {
		return nil, err
	}
	if err := inner.Verify(inner.JWK); err != nil {
		return nil, err
	}
	var in acme.KeyChange
	if err := acme.DecodePayload(inner.Payload, &in); err != nil {
		return nil, err
	}
	switch {
	case inner.URL != c.jws.URL:
		return nil, acme.Malformed("the inner JWS is for another \"url\" than the outer")
	case in.Account != c.jws.KeyID:
		return nil, acme.Malformed("\"account\" must be the account that signed the outer JWS, exactly as its \"kid\"")
	case !in.OldKey.Equal(c.key):
		return nil, acme.Malformed("\"oldKey\" is not the account's key; was it changed before?")
	}
	return inner.JWK, nil
}

// keyIsFree refuses a key that has an account. RFC 8555 §7.3.5: SHOULD be 409
// with the account's URL; who asks has shown that the key is his.
func (s *Server) keyIsFree(ctx context.Context, key *acme.Key) error {
	holder, err := s.Accounts.AccountByThumb(ctx, key.Thumbprint())
	if ca.KindOf(err) == ca.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	p := acme.Malformed("the new key is the key of an account already; make a fresh one")
	p.Status = http.StatusConflict
	return &refusal{problem: p, location: s.accountURL(holder.ID)}
}
