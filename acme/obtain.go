package acme

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Solver puts the answer to a challenge where the server will look for it. The
// identifier is the one that was ordered: that of a wildcard has its "*.". A challenge of
// type dns-persist-01 has neither token nor key authorisation.
type Solver interface {
	// Types are the challenges that it can meet for an identifier, the preferred first.
	Types(identifier Identifier) []ChallengeType
	// Present returns once the answer can be seen from outside.
	Present(ctx context.Context, identifier Identifier, challenge Challenge, keyAuth string) error
	// CleanUp takes away what Present put there; it is called once for each successful Present.
	CleanUp(ctx context.Context, identifier Identifier, challenge Challenge, keyAuth string) error
}

// ObtainRequest says which certificate to get.
type ObtainRequest struct {
	Identifiers []Identifier
	// Profile, Replaces, NotBefore and NotAfter are as in NewOrder; all may be zero.
	Profile             string
	Replaces            string
	NotBefore, NotAfter time.Time
	// Key is the certificate's own key, not the account's; a CSR with the identifiers is
	// made with it.
	Key crypto.Signer
	// CSR, in DER, is sent instead if it is not empty.
	CSR    []byte
	Solver Solver
}

// cleanUpTime is what CleanUp may take, even after the context has ended.
const cleanUpTime = 30 * time.Second

// Obtain walks the whole way from order to certificate (RFC 8555 §7.4, §7.5): the
// account must be registered. Besides *Problem, *AuthorizationError and *OrderError it
// returns the solver's errors, wrapped. The certificate is checked to be for the CSR's
// key. A failed clean-up is reported together with the chain, which is good all the same.
func (c *Client) Obtain(ctx context.Context, request ObtainRequest) (*Chain, error) {
	csr, err := request.csr()
	if err != nil {
		return nil, err
	}
	if err := c.notOwnKey(csr); err != nil {
		return nil, err
	}
	order, err := c.NewOrder(ctx, NewOrder{Identifiers: request.Identifiers, Profile: request.Profile,
		Replaces: request.Replaces, NotBefore: request.NotBefore, NotAfter: request.NotAfter})
	if err != nil {
		return nil, err
	}
	job := &solving{client: c, solver: request.Solver}
	err = job.authorize(ctx, order)
	cleanUpErr := job.cleanUp(ctx)
	if err != nil {
		return nil, errors.Join(err, cleanUpErr)
	}
	chain, err := c.collect(ctx, order, csr)
	if err != nil {
		return nil, errors.Join(err, cleanUpErr)
	}
	return chain, cleanUpErr
}

// notOwnKey refuses a CSR for the account's key: RFC 8555 §11.1: clients MUST check.
func (c *Client) notOwnKey(csr *x509.CertificateRequest) error {
	signer, _ := c.identity()
	if signer == nil {
		return nil
	}
	if own, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); ok && own.Equal(csr.PublicKey) {
		return errors.New("acme: a certificate must not have the account's own key (RFC 8555 §11.1); make another")
	}
	return nil
}

// collect finalizes an order whose authorisations are valid and fetches the result.
func (c *Client) collect(ctx context.Context, order *Order, csr *x509.CertificateRequest) (*Chain, error) {
	order, err := c.WaitOrder(ctx, order.URL)
	if err != nil {
		return nil, err
	}
	if order.Status == OrderReady {
		if order, err = c.Finalize(ctx, order, csr.Raw); err != nil {
			return nil, err
		}
	}
	if order.Status != OrderValid {
		if order, err = c.waitIssued(ctx, order); err != nil {
			return nil, err
		}
	}
	chain, err := c.Certificate(ctx, order.Certificate)
	if err != nil {
		return nil, err
	}
	type equal interface{ Equal(crypto.PublicKey) bool }
	if pub, ok := chain.Certificates[0].PublicKey.(equal); !ok || !pub.Equal(csr.PublicKey) {
		return nil, errors.New("acme: the certificate that came is not for the key of the CSR")
	}
	return chain, nil
}

// waitIssued waits for valid; a server that is slow to note the finalization may still
// say ready.
func (c *Client) waitIssued(ctx context.Context, order *Order) (*Order, error) {
	for try := 0; ; try++ {
		if order.Status == OrderInvalid {
			return nil, &OrderError{Order: order}
		}
		if order.Status == OrderValid {
			return order, nil
		}
		if err := pause(ctx, order.RetryAfter, try); err != nil {
			return nil, err
		}
		var err error
		if order, err = c.Order(ctx, order.URL); err != nil {
			return nil, err
		}
	}
}

// solving remembers what has been presented for one order.
type solving struct {
	client    *Client
	solver    Solver
	presented []presented
}

type presented struct {
	identifier Identifier
	challenge  Challenge
	keyAuth    string
	url        string // of the authorisation
}

// authorize presents all answers, then responds to all, then waits for all: the
// server's looks overlap.
func (s *solving) authorize(ctx context.Context, order *Order) error {
	for _, url := range order.Authorizations {
		a, err := s.client.Authorization(ctx, url)
		if err != nil {
			return err
		}
		switch a.Status {
		case AuthorizationValid:
		case AuthorizationPending:
			if err := s.present(ctx, a); err != nil {
				return err
			}
		default:
			return &AuthorizationError{Authorization: a}
		}
	}
	for _, p := range s.presented {
		if _, err := s.client.Respond(ctx, p.challenge); err != nil {
			return err
		}
	}
	for _, p := range s.presented {
		if _, err := s.client.WaitAuthorization(ctx, p.url); err != nil {
			return err
		}
	}
	return nil
}

func (s *solving) present(ctx context.Context, a *Authorization) error {
	if s.solver == nil {
		return fmt.Errorf("acme: %s %q needs a challenge to be met, and there is no solver", a.Identifier.Type, a.Identifier.Value)
	}
	identifier := ordered(a)
	challenge, err := choose(a, s.solver.Types(identifier))
	if err != nil {
		return err
	}
	var keyAuth string
	if challenge.Type != ChallengeDNSPersist01 {
		if keyAuth, err = s.client.KeyAuthorization(challenge.Token); err != nil {
			return err
		}
	}
	if err := s.solver.Present(ctx, identifier, challenge, keyAuth); err != nil {
		return fmt.Errorf("acme: presenting %s for %q: %w", challenge.Type, identifier.Value, err)
	}
	s.presented = append(s.presented, presented{identifier, challenge, keyAuth, a.URL})
	return nil
}

// ordered is the identifier that an authorisation is for, with the "*." that RFC 8555
// §7.1.3 keeps out of it: what meets the challenge differs, and so may what is permitted.
func ordered(a *Authorization) Identifier {
	if a.Wildcard && a.Identifier.Type == IdentifierDNS && !strings.HasPrefix(a.Identifier.Value, "*.") {
		return Identifier{Type: IdentifierDNS, Value: "*." + a.Identifier.Value}
	}
	return a.Identifier
}

func choose(a *Authorization, types []ChallengeType) (Challenge, error) {
	for _, typ := range types {
		for _, ch := range a.Challenges {
			if ch.Type != typ {
				continue
			}
			if typ != ChallengeDNSPersist01 && !ValidToken(ch.Token) {
				return Challenge{}, fmt.Errorf("acme: the server's token for %q is not base64url (RFC 8555 §8)", a.Identifier.Value)
			}
			return ch, nil
		}
	}
	var offered []ChallengeType
	for _, ch := range a.Challenges {
		offered = append(offered, ch.Type)
	}
	return Challenge{}, fmt.Errorf("acme: for %q the server offers %q and the solver can do %q", a.Identifier.Value, offered, types)
}

// cleanUp runs even when ctx has ended, so that nothing stays behind.
func (s *solving) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	var errs []error
	for _, p := range slices.Backward(s.presented) {
		if err := s.solver.CleanUp(ctx, p.identifier, p.challenge, p.keyAuth); err != nil {
			errs = append(errs, fmt.Errorf("acme: cleaning up %s for %q: %w", p.challenge.Type, p.identifier.Value, err))
		}
	}
	return errors.Join(errs...)
}

// csr parses or makes the request's CSR.
func (r *ObtainRequest) csr() (*x509.CertificateRequest, error) {
	der := r.CSR
	if len(der) == 0 {
		if r.Key == nil {
			return nil, errors.New("acme: a certificate needs a key or a CSR")
		}
		var err error
		if der, err = NewCSR(r.Key, r.Identifiers); err != nil {
			return nil, err
		}
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("acme: the CSR: %w", err)
	}
	return csr, nil
}

// NewCSR makes a CSR in DER with an empty subject and the identifiers, of type dns and
// ip, as subjectAltName. RFC 8555 §7.4: it MUST have exactly those of the order.
func NewCSR(key crypto.Signer, identifiers []Identifier) ([]byte, error) {
	var template x509.CertificateRequest
	for _, id := range identifiers {
		ip := net.ParseIP(id.Value)
		switch {
		case id.Type == IdentifierDNS:
			template.DNSNames = append(template.DNSNames, id.Value)
		case id.Type == IdentifierIP && ip != nil:
			template.IPAddresses = append(template.IPAddresses, ip)
		default:
			return nil, fmt.Errorf("acme: no CSR can be made for %s %q; bring one", id.Type, id.Value)
		}
	}
	return x509.CreateCertificateRequest(rand.Reader, &template, key)
}
