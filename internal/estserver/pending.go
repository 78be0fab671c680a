package estserver

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"chancery/est"
	"chancery/internal/ca"
)

// IssueID is the id under which the core knows what was issued upon the request
// ([ca.Ledger.ByRequest]). A one-time password has the same with or without
// approval, so that it is good for one certificate wherever it is used.
func (p Pending) IssueID() string {
	if p.Password != "" {
		return oneTimeID(p.Password)
	}
	return "est:" + p.ID
}

// oneTimeID is the request id of what a one-time password gets: issuance itself spends
// it (RFC 7030 §6), in the intent's transaction.
func oneTimeID(credential string) string { return OneTimeRequest(credential) }

// OneTimeRequest is the id of the core's request for the certificate that a one-time
// password gets; see [Credential.ID].
func OneTimeRequest(credential string) string { return "est:otp:" + credential }

// approval finds the request among those that wait or were decided, and enters it when
// it is new (RFC 7030 §4.2.3). It gives an approved or undecided one; a refused one is
// a *refusal with the approver's reason.
func (s *Server) approval(ctx context.Context, c *call, ask *Ask) (*Pending, error) {
	digest, keyHash, err := pendingDigest(c, ask)
	if err != nil {
		return nil, err
	}
	row, err := s.Requests.Request(ctx, digest)
	if ca.KindOf(err) == ca.NotFound || err == nil && !c.now.Before(row.Expires) {
		row, err = s.enter(ctx, c, ask, Pending{Digest: digest, KeyHash: keyHash})
	}
	if err != nil {
		return nil, spent(c, err)
	}
	if row.State == Refused {
		reason := row.Reason
		if reason == "" {
			reason = "no reason was given"
		}
		return nil, refuse(http.StatusForbidden, "the request was refused: %s", reason)
	}
	return &row, nil
}

// enter stores a new request, once it is sure that nothing but a person's word stands
// against it.
func (s *Server) enter(ctx context.Context, c *call, ask *Ask, p Pending) (Pending, error) {
	by := c.who.principal()
	err := s.Authority.Precheck(ca.Request{By: by, Profile: c.label.Profile, Names: ask.Names})
	if err != nil {
		return p, err
	}
	if password := c.who.oneTime(); password != nil {
		switch _, err := s.Ledger.ByRequest(ctx, oneTimeID(password.ID)); {
		case err == nil:
			return p, ca.Errorf(ca.Conflict, "this one-time password got a certificate already")
		case ca.KindOf(err) != ca.NotFound:
			return p, err
		case password.Request != "":
			return p, bound()
		}
		p.Password = password.ID
	} else if err := s.quota(ctx, c); err != nil {
		return p, err
	}
	if p.CSR, err = veiled(ask.CSR); err != nil {
		return p, err
	}
	if c.op == est.FullCMC { // who returns to it has its token alone; others send the request again
		if err := s.hash(c, ask); err != nil {
			return p, err
		}
		p.Passphrase = ask.hashed
	}
	p.ID, p.State = ca.NewID(), Undecided
	p.Label, p.Operation, p.Identity = c.label.Name, string(c.op), c.who.String()
	p.Subject, p.Names, p.Address = subjectText(ask.Subject), ask.Names, c.address
	p.Created, p.Expires = c.now, c.now.Add(c.label.PendingLife)
	e := by.Event(c.now, "est.requested", p.ID)
	e.Detail = map[string]string{"label": p.Label, "operation": p.Operation, "address": p.Address, "subject": p.Subject, "names": joined(p.Names)}
	if c.who.Record != nil {
		e.Detail["client_certificate"] = string(c.who.Record.Serial)
	}
	row, err := s.Requests.AddRequest(ctx, p, c.label.PendingLimit, e)
	if err == nil && row.ID == p.ID {
		c.log.Info("a request waits for approval", "request", row.ID, "names", row.Names)
	}
	return row, err
}

// pendingDigest is how a repeat is known again: by label, operation, identity, names
// and key, and never by the octets of the request, in which the channel binding
// changes with every connection. It also gives the key's hash.
func pendingDigest(c *call, ask *Ask) (digest, keyHash []byte, err error) {
	if ask.Key != nil {
		if keyHash, err = ca.KeyHash(ask.Key); err != nil {
			return nil, nil, ca.Errorf(ca.BadKey, "the public key cannot be encoded")
		}
	}
	names := make([]string, len(ask.Names))
	for i, n := range ask.Names {
		names[i] = n.String()
	}
	slices.Sort(names)
	password := ""
	if k := c.who.oneTime(); k != nil {
		password = k.ID
	}
	h := sha256.New()
	for _, part := range append([]string{c.label.Name, string(c.op), c.who.String(), password, subjectText(ask.Subject), string(keyHash)}, names...) {
		_ = binary.Write(h, binary.BigEndian, uint32(len(part))) // a hash takes everything
		_, _ = io.WriteString(h, part)
	}
	return h.Sum(nil), keyHash, nil
}

// subjectText writes a subject so that different ones differ: CN="…", O="…".
func subjectText(s ca.Subject) string {
	var parts []string
	for _, word := range attributeWords {
		if value := *attributeOf[word](&s); value != "" {
			parts = append(parts, fmt.Sprintf("%s=%q", word, value))
		}
	}
	return strings.Join(parts, ", ")
}

func joined(names []ca.Identifier) string {
	words := make([]string, len(names))
	for i, n := range names {
		words[i] = n.String()
	}
	return strings.Join(words, " ")
}

// evidence gives the approver's word for each name.
func (p *Pending) evidence(names []ca.Identifier, c *call) []ca.Evidence {
	var list []ca.Evidence
	for _, n := range names {
		list = append(list, ca.Evidence{Identifier: n, Method: byApproval, At: p.Decided, Expires: c.now.Add(evidenceLife),
			Detail: fmt.Sprintf("request %s, by %s", p.ID, p.DecidedBy)})
	}
	return list
}

// sendPending answers that the request waits: 202 with Retry-After in seconds and an
// explicit length (RFC 7030 §4.2.3). The words are for people: Bouncy Castle, which like
// strongSwan names no User-Agent, closes a 202 unread, and takes one with a body for cut.
func (c *call) sendPending(p *Pending) error {
	a := answer{status: http.StatusAccepted, retryAfter: c.label.RetryAfter}
	if c.r.UserAgent() != "" {
		a.mediaType = plainText
		a.body = fmt.Appendf(nil, "the request %s waits for an administrator's approval; send it again in %d seconds\n", p.ID, int(c.label.RetryAfter.Seconds()))
	}
	return c.send(a)
}
