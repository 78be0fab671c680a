package acmeserver

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"strings"

	"chancery/acme"
	"chancery/internal/ca"
	"chancery/internal/nonce"
)

// maxBody is the most octets of a request: an order with a hundred long names
// has 30 KiB.
const maxBody = 64 << 10

// signing says which keys a resource takes (RFC 8555 §6.2).
type signing int

const (
	byAccount signing = iota // "kid": everything but the other two
	byKey                    // "jwk": newAccount
	byEither                 // revokeCert
)

// authenticate finds out who sent a POST (RFC 8555 §6.2 to §6.5). The cheap and
// stateless checks come first: a stranger costs a MAC before he costs a read or
// a signature. The nonce is spent last, so nothing unauthenticated spends one.
func (s *Server) authenticate(r *http.Request, takes signing) (*call, error) {
	jws, err := readJWS(r)
	if err != nil {
		return nil, err
	}
	token, err := s.Nonces.Check(jws.Nonce)
	if err != nil {
		return nil, acme.NewProblem(acme.TypeBadNonce, "%v; take the one that came with this answer", err)
	}
	// RFC 8555 §6.4: the server MUST compare, and SHOULD call a difference unauthorized.
	if jws.URL != s.Base+r.URL.RequestURI() {
		return nil, acme.Unauthorized("the request was signed for %.200q and sent to %.200q; sign the URL exactly as the server gave it",
			jws.URL, s.Base+r.URL.RequestURI())
	}
	c := &call{http: r, jws: jws, client: clientAddress(r)}
	if err := s.identify(r.Context(), c, takes); err != nil {
		return nil, err
	}
	if err := jws.Verify(c.key); err != nil {
		return nil, err
	}
	if !s.Seen.Spend(token) {
		return nil, acme.NewProblem(acme.TypeBadNonce, "the nonce was used before; take the one that came with this answer")
	}
	if c.account != nil {
		if err := active(c.account); err != nil {
			return nil, err
		}
	}
	// Clocks of replicas differ: what is spent is remembered a little longer than
	// any of them takes the nonce.
	c.once = &ca.Once{ID: token.ID(), Expires: token.Expires().Add(nonce.Skew)}
	return c, nil
}

// readJWS reads the body, bounded, and takes it apart.
func readJWS(r *http.Request) (*acme.JWS, error) {
	// RFC 8555 §6.2: MUST be application/jose+json, otherwise 415.
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != acme.JOSEMediaType {
		p := acme.Malformed("the Content-Type must be %s", acme.JOSEMediaType)
		p.Status = http.StatusUnsupportedMediaType
		return nil, p
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		p := acme.Malformed("the request is larger than %d octets; ask for fewer names at once", maxBody)
		p.Status = http.StatusRequestEntityTooLarge
		return nil, p
	case err != nil:
		return nil, acme.Malformed("the request's body broke off")
	}
	return acme.ParseJWS(body)
}

// identify finds the key that the signature is to be verified with. Of an
// account it tells no more than whether it exists: the rest is for its holder.
func (s *Server) identify(ctx context.Context, c *call, takes signing) error {
	switch {
	case c.jws.JWK != nil && takes == byAccount:
		return acme.Malformed("this resource wants the account's URL as \"kid\", not a \"jwk\"; get the URL from newAccount (RFC 8555 §6.2)")
	case c.jws.JWK == nil && takes == byKey:
		return acme.Malformed("this resource wants the key as \"jwk\", not a \"kid\" (RFC 8555 §6.2)")
	case c.jws.JWK != nil:
		c.key = c.jws.JWK
		return nil
	}
	id, ok := strings.CutPrefix(c.jws.KeyID, s.accountURL(""))
	if !ok || !ca.WellFormedID(id) {
		return acme.NewProblem(acme.TypeAccountDoesNotExist,
			"the \"kid\" is no account of this server; it must be exactly the Location that newAccount gave, which begins with %s", s.accountURL(""))
	}
	account, err := s.Accounts.Account(ctx, id)
	if ca.KindOf(err) == ca.NotFound {
		return acme.NewProblem(acme.TypeAccountDoesNotExist, "there is no such account; make one at newAccount")
	}
	if err != nil {
		return err
	}
	if c.key, err = s.keys.parse(account.Key); err != nil {
		// It was good when it was stored, so this is our fault and not the client's.
		return ca.Errorf(ca.Internal, "the stored key of account %s cannot be read: %v", id, err)
	}
	c.account = &account
	return nil
}

// active refuses accounts that have ended. RFC 8555 §7.3.6: a request from a
// deactivated account MUST be answered 401 and unauthorized.
func active(a *Account) error {
	if a.Status == acme.AccountValid {
		return nil
	}
	words := "the account was deactivated by its holder; make another, with another key"
	if a.Status == acme.AccountRevoked {
		words = "the account was closed by this authority; ask its administrators"
	}
	p := acme.Unauthorized("%s", words)
	p.Status = http.StatusUnauthorized
	return p
}

// clientAddress gives where the request came from; invalid if that is no IP address.
func clientAddress(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
