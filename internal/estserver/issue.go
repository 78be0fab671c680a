package estserver

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"chancery/internal/ca"
)

// Ask is what an authenticated client asks for, reduced to what counts.
type Ask struct {
	// Key is the public key, proven by the request's signature. nil: Make makes it, for the
	// core's request, once everything is allowed, and the pending request knows none.
	Key  crypto.PublicKey
	Make func(context.Context, *ca.Request) error

	CSR     []byte // the request as it came, DER: for the approver
	Names   []ca.Identifier
	Subject ca.Subject
	// Renews is the record of the certificate that this one follows; names and subject
	// are proven by it for who holds it (see [Server.holds]). nil: none.
	Renews *ca.Record
	// Linking is the outcome of [Server.link], for the record; "" where it is not
	// looked at.
	Linking string
	// Attempt numbers the certificates that one request got, the earlier of which could
	// not be delivered and are revoked: 0 is the first. Each gets a certificate of its own.
	Attempt int
	// Passphrase revokes the certificate later (RFC 7894 §3.2); "": none.
	Passphrase string
	hashed     string // of Passphrase, see [Server.hash]
	// Detail has further words for the auditor.
	Detail map[string]string
}

// Result is what became of an [Ask]: a certificate, or the request that waits.
type Result struct {
	Record  ca.Record // settled, if Pending is nil
	Pending *Pending  // undecided; see [call.sendPending]
}

// issue is the room's end of the road, the same for every operation: what the identity
// may have, linking as the operation found it, a person's word where the label wants
// it, the quota, and then the core. A *refusal or the core's error says why not.
func (s *Server) issue(ctx context.Context, c *call, ask Ask) (Result, error) {
	if c.request != nil {
		if err := ask.readPassphrase(c.request); err != nil {
			return Result{}, err
		}
	}
	held, err := s.held(c, ask.Renews)
	if err != nil {
		return Result{}, err
	}
	evidence, err := c.authorise(&ask, held)
	if err != nil {
		return Result{}, err
	}
	req := ca.Request{By: c.who.principal(), Key: ask.Key, Names: ask.Names, Subject: ask.Subject, Profile: c.label.Profile, Evidence: evidence}
	if c.label.Manual && !s.needsNoWord(c, &ask, evidence) {
		row, err := s.approval(ctx, c, &ask)
		if err != nil || row.State == Undecided {
			return Result{Pending: row}, err
		}
		req.ID = row.IssueID()
		req.Evidence = append(evidence, row.evidence(ask.Names, c)...)
	} else if req.ID, err = s.freshID(ctx, c, &ask); err != nil {
		return Result{}, err
	}
	req.ID = attemptID(req.ID, ask.Attempt)
	if req.Key == nil {
		if err = s.hash(c, &ask); err != nil {
			return Result{}, err
		}
		if err = ask.Make(ctx, &req); err != nil {
			return Result{}, err
		}
	}
	if req.Detail, err = details(c, &ask, req.Key); err != nil {
		return Result{}, err
	}
	record, err := s.sign(ctx, c, &ask, req)
	if err != nil {
		return Result{}, spent(c, err)
	}
	if !record.RevokedAt.IsZero() {
		return Result{}, refuse(http.StatusForbidden, "this request got the certificate %s, which was revoked on %s since; make a new request", record.Serial, day(record.RevokedAt))
	}
	if held != nil || c.who.RA {
		s.supersede(ctx, c, ask.Renews, &record)
	}
	c.log.Info("issued", "serial", record.Serial, "names", record.Names, "linking", ask.Linking)
	return Result{Record: record}, nil
}

// held gives what the certificate that is renewed proves; nil: nothing, as who asks does
// not hold it.
func (s *Server) held(c *call, r *ca.Record) (*holding, error) {
	if r == nil {
		return nil, nil
	}
	cert, err := x509.ParseCertificate(r.DER)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate %s from the ledger: %w", r.Serial, err)
	}
	if !s.holds(c, r, cert) {
		return nil, nil
	}
	h := holdingOf(cert)
	return &h, nil
}

// freshID gives the id of a request that needs nobody's approval. That of a one-time
// password is its own, so that the ledger gives it one certificate and no more.
func (s *Server) freshID(ctx context.Context, c *call, ask *Ask) (string, error) {
	if password := c.who.oneTime(); password != nil {
		if password.Request != "" {
			return "", bound()
		}
		return oneTimeID(password.ID), nil
	}
	id := freshly + ca.TimedID(c.now)
	if ask.Key == nil { // before we make one
		return id, s.quota(ctx, c)
	}
	return id, nil // see issueOnce
}

// freshly begins the ids of requests that nothing is known of but themselves.
const freshly = "est:new:"

// sign hands a request to the core.
func (s *Server) sign(ctx context.Context, c *call, ask *Ask, req ca.Request) (ca.Record, error) {
	if ask.Key != nil && strings.HasPrefix(req.ID, freshly) {
		return s.issueOnce(ctx, c, ask, req)
	}
	return s.certify(ctx, c, ask, req)
}

// certify is the core's Issue, after which it is kept by what the certificate can be
// revoked. That is hashed here, which is work, once nothing else stands against it.
func (s *Server) certify(ctx context.Context, c *call, ask *Ask, req ca.Request) (ca.Record, error) {
	if err := s.hash(c, ask); err != nil {
		return ca.Record{}, err
	}
	record, err := s.Authority.Issue(ctx, req)
	if err == nil {
		err = s.keep(ctx, c, ask, record.Serial)
	}
	return record, err
}

// bound refuses a one-time password that waits with another request (RFC 7030 §6).
func bound() error {
	return refuse(http.StatusForbidden, "this one-time password belongs to a request that waits for a decision; repeat that request, or ask for another password")
}

// spent says of a conflict what it means with a one-time password.
func spent(c *call, err error) error {
	if ca.KindOf(err) == ca.Conflict && c.who.oneTime() != nil {
		return &refusal{Status: http.StatusForbidden, Err: err,
			Text: "this one-time password got a certificate already, for another key or other names; ask for a new password"}
	}
	return err
}

// quota refuses who got enough for now. It counts before it issues: of requests that come
// at once, a few more may pass.
func (s *Server) quota(ctx context.Context, c *call) error {
	l := c.label
	if l.Quota == 0 || c.who.RA {
		return nil
	}
	n, err := s.Certificates.CountIssued(ctx, c.who.principal(), c.now.Add(-l.QuotaPer))
	if err != nil || n < l.Quota {
		return err
	}
	return &ca.Error{Kind: ca.Limited, RetryAfter: l.QuotaPer / time.Duration(l.Quota),
		Detail: fmt.Sprintf("%d certificates in %s are what one identity gets here; come back later", l.Quota, l.QuotaPer)}
}

// details says for the auditor how the request came.
func details(c *call, ask *Ask, key crypto.PublicKey) (map[string]string, error) {
	d := map[string]string{"label": c.label.Name, "operation": string(c.op), "address": c.address}
	if ask.Linking != "" {
		d["linking"] = ask.Linking
	}
	if ask.Passphrase != "" || ask.hashed != "" {
		d["revocation_challenge"] = "asked" // an event of its own says what became of it, see keep
	}
	if c.who.Record != nil {
		d["client_certificate"] = string(c.who.Record.Serial)
	}
	if c.who.Via != "" {
		d["via"] = c.who.Via
	}
	if password := c.who.oneTime(); password != nil {
		d["one_time_password"] = password.ID
	}
	if ask.Renews != nil {
		hash, err := ca.KeyHash(key)
		if err != nil {
			return nil, ca.Errorf(ca.BadKey, "the public key cannot be encoded")
		}
		d["renews"], d["change"] = string(ask.Renews.Serial), "rekey"
		if bytes.Equal(hash, ask.Renews.KeyHash) {
			d["change"] = "renew" // RFC 7030 §4.2.2: the same key
		}
	}
	maps.Copy(d, ask.Detail)
	return d, nil
}

// supersede revokes what was renewed, where the label says so: for who holds it, and for
// registration authorities, as others could take it from its holder with that. The new certificate
// exists: a failure is logged, and the next renewal or a person finds the old one.
func (s *Server) supersede(ctx context.Context, c *call, old, next *ca.Record) {
	if old == nil || !c.label.RevokeOld || old.Serial == next.Serial {
		return
	}
	_, err := s.Authority.Revoke(context.WithoutCancel(ctx), ca.Revocation{Serial: old.Serial, Reason: ca.Superseded, By: c.who.principal(), At: c.now})
	if err != nil && ca.KindOf(err) != ca.Revoked {
		c.log.Error("a renewed certificate could not be revoked; revoke it by hand", "serial", old.Serial, "error", err)
	}
}
