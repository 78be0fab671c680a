package acmeserver

import (
	"context"
	"encoding/json"

	"chancery/acme"
	"chancery/internal/ca"
)

// verifyBinding checks an external account binding in the steps of RFC 8555
// §7.3.4. Without a binding, or where this server has no registry and thus does
// not verify bindings, it gives nil.
func (s *Server) verifyBinding(ctx context.Context, c *call, raw json.RawMessage) (*Binding, error) {
	if len(raw) == 0 || string(raw) == "null" {
		if c.at.RequireEAB {
			return nil, acme.NewProblem(acme.TypeExternalAccountRequired,
				"this server opens accounts only for those it knows: ask its administrators for a key id and an HMAC key, and give both to your client")
		}
		return nil, nil
	}
	if s.Registry == nil {
		return nil, nil
	}
	jws, err := acme.ParseMAC(raw)
	if err != nil {
		return nil, err
	}
	if jws.URL != c.jws.URL {
		return nil, acme.Malformed("the external account binding was made for %.200q, not for this URL", jws.URL)
	}
	key, err := s.Registry.Key(ctx, jws.KeyID)
	if ca.KindOf(err) == ca.NotFound {
		return nil, errBinding()
	}
	if err != nil {
		return nil, err
	}
	if err := jws.VerifyMAC(key.Secret); err != nil {
		return nil, errBinding()
	}
	if !jws.Key.Equal(c.key) {
		return nil, acme.Malformed("the external account binding is for another account key than the one that signed the request")
	}
	// Only who has the secret learns what the key is for and what became of it.
	if !key.Takes(jws.Algorithm) {
		return nil, acme.Unauthorized("this external account key is for the algorithm %s alone, and the binding was made with %s; tell your client", key.Algorithm, jws.Algorithm)
	}
	if !key.Usable(s.Clock()) {
		return nil, errBindingSpent()
	}
	return &Binding{ID: key.ID}, nil
}

// bound refuses orders of accounts without an external binding at a directory
// that wants one: the account may have been opened by another directory, or
// before this one wanted it.
func (c *call) bound() error {
	if !c.at.RequireEAB || c.account.Binding != "" {
		return nil
	}
	return acme.NewProblem(acme.TypeExternalAccountRequired,
		"orders at %s need an account with an external account binding, and this one was opened without: ask the administrators for a key id and an HMAC key, and open another account with them, with another account key", c.at.url)
}

// errBinding is the same for an unknown key and a wrong one, so that key ids
// cannot be tried out.
func errBinding() error {
	return acme.Unauthorized("the external account binding does not verify; check that key id and HMAC key are those that the administrators gave out, the latter in base64url")
}

func errBindingSpent() error {
	return acme.Unauthorized("the external account key was used for an account already, withdrawn or has expired; ask the administrators for another")
}
