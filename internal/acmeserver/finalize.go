package acmeserver

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"slices"
	"strings"

	"chancery/acme"
	"chancery/internal/ca"
)

// finalize hands a ready order to the core (RFC 8555 §7.4). It writes nothing of
// its own: the ledger's record of the request is what makes the order valid.
func (s *Server) finalize(ctx context.Context, c *call) (*answer, error) {
	o, err := s.loadOrder(ctx, c)
	if err != nil {
		return nil, err
	}
	// Before anything of the CSR is looked at: parsing and verifying it is work
	// that nobody shall have done for an order that is not ready (RFC 8555 §7.4).
	status, problem := o.status(s.Clock())
	switch status {
	case acme.OrderReady, acme.OrderValid, acme.OrderProcessing:
	default:
		return nil, notReady(status, problem)
	}
	csr, err := s.csrFor(ctx, c, o)
	if err != nil {
		return nil, err
	}
	switch status {
	case acme.OrderValid:
		return s.finalizeAgain(o, csr)
	case acme.OrderProcessing:
		// An interruption left it: who asks again need not wait for recovery.
		if reply, err := s.issue(ctx, c, o, csr); err == nil {
			return reply, nil
		}
		return s.finalizeAgain(o, csr)
	}
	// An administrator may have withdrawn it since (draft-ietf-acme-profiles §4).
	if _, err := s.profile(o.Profile); err != nil {
		return nil, err
	}
	return s.issue(ctx, c, o, csr)
}

// csrFor reads the payload's CSR, which has to fit the order.
func (s *Server) csrFor(ctx context.Context, c *call, o *orderState) (*ca.CSR, error) {
	var in acme.Finalize
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if len(in.CSR) == 0 {
		return nil, acme.Malformed("the payload has no \"csr\"")
	}
	csr, err := ca.ParseCSR(in.CSR)
	if err != nil {
		return nil, inCSR(err)
	}
	if err := checkCSR(csr, o, c); err != nil {
		return nil, err
	}
	return csr, s.keyOfNoAccount(ctx, csr)
}

// inCSR gives what is wrong with a CSR's names the word badCSR: they are no
// identifiers of the order.
func inCSR(err error) error {
	if ca.KindOf(err) == ca.BadName {
		return &ca.Error{Kind: ca.BadCSR, Detail: "a name in the CSR is refused: " + detailOf(err), Err: err}
	}
	return err
}

// finalizeAgain answers a repeated request: with the same key it gets the same
// answer, since the client may not have got the first.
func (s *Server) finalizeAgain(o *orderState, csr *ca.CSR) (*answer, error) {
	hash, err := ca.KeyHash(csr.Key)
	if err != nil {
		return nil, ca.Errorf(ca.BadKey, "the CSR's key cannot be encoded")
	}
	if !bytes.Equal(hash, o.record.KeyHash) {
		return nil, acme.NewProblem(acme.TypeOrderNotReady, "this order was finalized before, with another key; make a new order for a new key")
	}
	return s.orderAnswer(o), nil
}

// notReady says what to do next; RFC 8555 §7.4: MUST be 403 orderNotReady.
func notReady(status acme.OrderStatus, problem *acme.Problem) error {
	if problem != nil {
		return acme.NewProblem(acme.TypeOrderNotReady, "the order is %s: %s", status, problem.Detail)
	}
	return acme.NewProblem(acme.TypeOrderNotReady, "the order is %s: meet the challenges of its authorizations first, and look at it again", status)
}

// checkCSR compares what the CSR asks for with the order. RFC 8555 §7.4: it MUST
// name exactly the order's identifiers, and §11.1: its key is not the account's.
func checkCSR(csr *ca.CSR, o *orderState, c *call) error {
	if key, ok := csr.Key.(interface{ Equal(crypto.PublicKey) bool }); ok && key.Equal(c.key.Public()) {
		return acme.NewProblem(acme.TypeBadCSR, "the CSR has the account's own key; make another key for the certificate")
	}
	asked := slices.Clone(csr.Names)
	if name, ok := commonName(csr); ok && !slices.Contains(asked, name) {
		asked = append(asked, name)
	}
	var parts []string
	if missing := without(o.Identifiers, asked); len(missing) > 0 {
		parts = append(parts, "it lacks "+listed(missing))
	}
	if extra := without(asked, o.Identifiers); len(extra) > 0 {
		parts = append(parts, "it also has "+listed(extra))
	}
	if len(parts) > 0 {
		return acme.NewProblem(acme.TypeBadCSR, "the CSR's names are not the order's: %s", strings.Join(parts, "; "))
	}
	return nil
}

// keyOfNoAccount refuses a CSR with the key of any account. RFC 8555 §11.1: the
// server MUST verify this for every known account's key, not the caller's alone.
func (s *Server) keyOfNoAccount(ctx context.Context, csr *ca.CSR) error {
	key, err := acme.NewKey(csr.Key)
	if err != nil {
		return nil // no account can have such a key; whether a certificate may, the profile says
	}
	switch _, err := s.Accounts.AccountByThumb(ctx, key.Thumbprint()); {
	case err == nil:
		return acme.NewProblem(acme.TypeBadCSR, "the CSR has the key of an account; make another key for the certificate")
	case ca.KindOf(err) != ca.NotFound:
		return err
	}
	return nil
}

// commonName gives the CSR's common name as an identifier, if it is one.
func commonName(csr *ca.CSR) (ca.Identifier, bool) {
	for _, kind := range []ca.IdentifierType{ca.TypeDNS, ca.TypeIP} {
		if name, err := ca.ParseIdentifier(string(kind), csr.Subject.CommonName); err == nil {
			return name, true
		}
	}
	return ca.Identifier{}, false
}

// without gives the names that are not among others.
func without(names, others []ca.Identifier) []ca.Identifier {
	return slices.DeleteFunc(slices.Clone(names), func(n ca.Identifier) bool { return slices.Contains(others, n) })
}

// maxCommonName is ub-common-name, in characters (RFC 5280 appendix A.1).
const maxCommonName = 64

// issue takes the one road to a certificate.
func (s *Server) issue(ctx context.Context, c *call, o *orderState, csr *ca.CSR) (*answer, error) {
	if err := s.mayIssue(ctx, c.account, o.Identifiers); err != nil {
		return nil, err
	}
	v, err := s.vouch(ctx, c.account, &o.Order)
	if err != nil {
		return nil, err
	}
	once := *c.once
	once.Grounds = append(once.Grounds, ca.Ground{Kind: GroundAccount, ID: c.account.ID})
	req := ca.Request{
		ID: o.RequestID(), By: c.principal(), Key: csr.Key, Names: o.Identifiers, Profile: o.Profile,
		NotBefore: o.NotBefore, NotAfter: o.NotAfter, Once: &once,
		Subject: v.subjectFor(csr), Accounts: s.accountURLs(c.account.ID), Labels: v.labels,
	}
	// What was seen stands in the authorisation's own event; repeated for every
	// certificate that rests on it, it would fill the store.
	for _, a := range o.authorizations {
		once.Grounds = append(once.Grounds, ca.Ground{Kind: GroundAuthorization, ID: a.ID})
		req.Evidence = append(req.Evidence, ca.Evidence{
			Identifier: a.Identifier, Method: a.Method, At: a.Validated, Expires: a.Expires, Detail: "authorization " + a.ID,
		})
	}
	record, err := s.Authority.Issue(ctx, req)
	if errors.Is(err, ca.ErrEnded) {
		return nil, s.ended(ctx, c, err)
	}
	if ca.KindOf(err) == ca.Unavailable {
		// The intent may be there already; then it will be finished, and the client
		// has only to wait.
		known, missing := s.Ledger.ByRequest(ctx, req.ID)
		if missing != nil {
			return nil, err
		}
		s.Logger.WarnContext(ctx, "a certificate is not finished yet", "order", o.ID, "serial", known.Serial, "error", err)
		o.record, o.uncertain = &known, true
		return s.finalizeAgain(o, csr)
	}
	if err != nil {
		return nil, err
	}
	o.record = &record
	return s.orderAnswer(o), nil
}

// The kinds of [ca.Ground] that this room's certificates rest on.
const (
	GroundAccount       = "acme account"
	GroundAuthorization = "acme authorization"
)

// ended says what was ended between the checks of a finalize and its record, in the words
// of a request that comes after it (RFC 8555 §7.3.6, §7.5.2).
func (s *Server) ended(ctx context.Context, c *call, why error) error {
	a, err := s.Accounts.Account(ctx, c.account.ID)
	if err == nil {
		err = active(&a)
	}
	if err != nil {
		return err
	}
	o, err := s.loadOrder(ctx, c)
	if err != nil {
		return err
	}
	if status, problem := o.status(s.Clock()); status != acme.OrderReady {
		return notReady(status, problem)
	}
	return why
}
