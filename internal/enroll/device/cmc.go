package device

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"chancery/est"
)

// Full is an order by /fullcmc (RFC 7030 §4.3).
type Full struct {
	Ask
	CRMF  bool       // RFC 4211 instead of PKCS #10
	Proof *est.Proof // a secret that the server knows; nil: a certificate, or the key alone, signs
}

// FullEnroll asks for a certificate by CMC, or takes up such a request.
func (d *Device) FullEnroll(ctx context.Context, s *State, f Full) (*Outcome, error) {
	if s.Settings.nameless() {
		return nil, ErrNameless
	}
	if f.Proof != nil && f.Where == nil {
		f.Where = &Login{}
	}
	if f.Proof != nil {
		f.Where.Proven, f.Where.Identification = true, f.Proof.Name
	}
	return d.run(ctx, s, &order{Ask: f.Ask, full: f, op: est.FullCMC})
}

// byCMC sends a request by CMC, or asks what became of it.
func (d *Device) byCMC(ctx context.Context, s *State, o delivery) (*est.Issued, crypto.Signer, error) {
	f := est.Full{Enrolment: o.enrolment, CRMF: o.full.CRMF, Proof: o.full.Proof}
	var err error
	if f.Signer, err = d.signer(ctx, s); err != nil {
		return nil, nil, err
	}
	if s.Pending.PendToken != nil {
		transaction, ok := new(big.Int).SetString(s.Pending.Transaction, 10)
		if !ok {
			return nil, nil, &FileError{Path: d.path(stateFile), Reason: "this file is damaged: the transaction of the request under way is no number"}
		}
		f.Poll, f.Transaction = s.Pending.PendToken, transaction
		if proven := s.Pending.Login != nil && s.Pending.Login.Proven; proven && f.Signer == nil && f.Proof == nil {
			return nil, nil, errors.New("the request that waits was proven by a shared secret, and whoever asks for it proves it again: give --identification and --proof-file once more")
		}
	}
	a, err := o.client.FullCMC(ctx, f)
	if waits, ok := errors.AsType[*est.FullError](err); ok && waits.Pending {
		s.Pending.PendToken, s.Pending.Transaction = waits.Token, waits.Transaction.String()
		p := &est.PendingError{Operation: est.FullCMC, After: waits.After}
		for _, status := range waits.Statuses {
			p.Text = status.Text
		}
		return nil, nil, p // which is kept, and these with it
	}
	if err != nil {
		return nil, nil, err
	}
	return a.Issued, o.enrolment.Key, nil
}

// signer is who signs messages: the certificate in use, else the maker's; nil: neither.
func (d *Device) signer(ctx context.Context, s *State) (*est.ClientIdentity, error) {
	all, err := d.identities(ctx, s)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// Revoke asks for the revocation of the certificate in use, signed by it, or shown to be
// meant by a secret that was registered with it (RFC 5272 §6.11). The files stay.
func (d *Device) Revoke(ctx context.Context, s *State, r est.Revocation) error {
	b, err := d.bundle(ctx, s)
	if err != nil {
		return err
	}
	c, err := d.client(ctx, s, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	r.Certificate = b.Chain[0]
	f := est.Full{Revoke: &r}
	if r.Secret == "" {
		f.Signer = &est.ClientIdentity{Certificate: b.Chain[0], Chain: b.Chain[1:], Key: b.Key}
	}
	if _, err = c.FullCMC(ctx, f); err != nil {
		return err
	}
	s.Current.Revoked = d.options.Now().UTC()
	return d.save(s)
}

// RevokedError says that the certificate in use was revoked.
type RevokedError struct {
	Dir    string
	Serial string
	At     time.Time
}

// Error says how to go on.
func (e *RevokedError) Error() string {
	return fmt.Sprintf("the certificate %s was revoked on %s, and servers do not renew it: enrol again with chancery est enroll --dir %s, and what proves who asks", e.Serial, e.At.Format(time.RFC3339), e.Dir)
}

// Revoked tells with a *[RevokedError] that the certificate in use was revoked at the
// device's own wish; nil otherwise.
func (d *Device) Revoked(s *State) error {
	if s.Current == nil || s.Current.Revoked.IsZero() {
		return nil
	}
	return &RevokedError{d.dir, s.Current.Serial, s.Current.Revoked}
}

// Published takes the trust anchors that the server publishes by CMC (RFC 5272 §6.15): the
// first ones by a fingerprint or a person's word (RFC 7030 §4.1.1), later ones when somebody
// under a current anchor signed them just now, with a higher number than any before.
func (d *Device) Published(ctx context.Context, s *State, fingerprint string) error {
	c, err := d.client(ctx, s, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	trust := c.Trust()
	if len(trust.Explicit) == 0 {
		if fingerprint == "" && d.options.Person == nil {
			return fmt.Errorf("the server's CA is not known yet, and there is neither a fingerprint to know it by nor a terminal to ask on (RFC 7030 section 4.1.1): %w", ErrNobody)
		}
		offer, sequence, err := c.BootstrapCMC(ctx)
		if err != nil {
			return err
		}
		s.Sequence = sequence.String()
		return d.accept(ctx, s, confirmation{offer, fingerprint})
	}
	f := est.Full{Anchors: true}
	if f.Signer, err = d.signer(ctx, s); err != nil {
		return err
	}
	a, err := c.FullCMC(ctx, f)
	if err != nil {
		return err
	}
	if a.Publication == nil {
		return &est.AnswerError{Operation: est.FullCMC, Reason: "publishes no trust anchors"}
	}
	var last *big.Int
	if s.Sequence != "" {
		n, ok := new(big.Int).SetString(s.Sequence, 10)
		if !ok {
			return &FileError{Path: d.path(stateFile), Reason: "this file is damaged: the sequence number of the published anchors is no number"}
		}
		last = n
	}
	same := func(a, b []*x509.Certificate) bool { return slices.EqualFunc(a, b, (*x509.Certificate).Equal) }
	if last != nil && a.Publication.Sequence.Cmp(last) == 0 && same(a.Publication.Anchors, trust.Explicit) {
		d.tell(Anchored, "nothing new is published")
		return nil
	}
	after, err := trust.Publish(a.Publication, last, d.options.Now())
	if err != nil {
		return err
	}
	s.Sequence = a.Publication.Sequence.String()
	if err := d.keep(s, after); err != nil {
		return err
	}
	for _, root := range after.Explicit {
		d.tell(Anchored, "published: %s (%s)", root.Subject, est.Fingerprint(root.Raw, "sha256"))
	}
	return nil
}
