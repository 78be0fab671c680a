package device

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"chancery/cms"
	"chancery/est"
	"chancery/internal/durable"
	"chancery/internal/enroll/install"
	"chancery/internal/keys"
	"chancery/internal/token"
)

// Ask is one order for a certificate. Secrets are used and not kept; Where says where
// they are, so that a request that is pending can be taken up by another process.
type Ask struct {
	Login       *est.Login
	Secret      est.Password // for challengePassword or otpChallenge
	Revocation  est.Password // for revocationChallenge
	Where       *Login
	Fingerprint string        // of the CA's root, while that is not known
	Key         crypto.Signer // to be certified; nil: one is made
	Token       *token.Ref    // names the key to be certified, in place of Key
	Change      []byte        // a re-enrolment's ChangeSubjectName, DER
	Anew        bool          // forget the request that is under way
	Wanted      *est.Wanted   // nil: the server is asked
}

// Outcome is what an order came to.
type Outcome struct {
	*est.Issued
	Paths    Paths
	Place    string // the key's name, where it is in a token or a TPM
	Deployed error  // why it is not yet in its places; nil
}

// Paths are the files of the certificate in use.
type Paths struct {
	Key, Cert, Chain, FullChain string
}

// Paths gives where the certificate in use is, or will be.
func (d *Device) Paths() Paths {
	in := func(name string) string { return d.path(currentLink, name) }
	return Paths{in(install.KeyFile), in(install.CertFile), in(install.ChainFile), in(install.FullChainFile)}
}

// UnderWayError says that another request is under way.
type UnderWayError struct {
	Pending *Pending
	Wanted  est.Operation
}

// Error says how to go on.
func (e *UnderWayError) Error() string {
	return fmt.Sprintf("a request by %s is under way since %s: finish it with that command, or give --anew to forget it", e.Pending.Operation, e.Pending.Since.UTC().Format(time.RFC3339))
}

// ErrNameless says that nobody told which name is to be certified.
var ErrNameless = errors.New("there is no name to certify: give one with --name, or a --subject")

// Enroll asks for a first certificate, or another one, as the settings say (RFC 7030
// §4.2.1), or takes up the request that is under way. Call it under Lock.
func (d *Device) Enroll(ctx context.Context, s *State, ask Ask) (*Outcome, error) {
	if s.Settings.nameless() {
		return nil, ErrNameless
	}
	return d.run(ctx, s, &order{Ask: ask, op: est.SimpleEnroll})
}

// Reenroll renews the certificate in use (RFC 7030 §4.2.2).
func (d *Device) Reenroll(ctx context.Context, s *State, ask Ask) (*Outcome, error) {
	if s.Current == nil {
		return nil, fmt.Errorf("%s: %w: enrol first", d.dir, ErrNone)
	}
	if err := d.Revoked(s); err != nil {
		return nil, err
	}
	return d.run(ctx, s, &order{Ask: ask, op: est.SimpleReenroll})
}

// ServerKey has the server make a key and certify it (RFC 7030 §4.4).
func (d *Device) ServerKey(ctx context.Context, s *State, ask Ask) (*Outcome, error) {
	if s.Settings.nameless() {
		return nil, ErrNameless
	}
	return d.run(ctx, s, &order{Ask: ask, op: est.ServerKeyGen})
}

// order is an [Ask] on its way.
type order struct {
	Ask
	op     est.Operation
	full   Full
	client *est.Client
	renews *x509.Certificate
	trust  est.Trust
}

// run does an order from the anchors to the installed certificate.
func (d *Device) run(ctx context.Context, s *State, o *order) (*Outcome, error) {
	if err := d.takeUp(s, o); err != nil {
		return nil, err
	}
	if err := d.anchored(ctx, s, o.Fingerprint); err != nil {
		return nil, err
	}
	if o.op == est.SimpleReenroll || o.op == est.ServerKeyGen && s.Pending != nil && s.Pending.Serial != "" {
		chain, err := d.certificates(s)
		if err != nil {
			return nil, err
		}
		o.renews = chain[0]
	}
	var err error
	if o.client, err = d.client(ctx, s, o.Login); err != nil {
		return nil, err
	}
	defer o.client.Close()
	o.trust = o.client.Trust()
	if err := d.wishes(ctx, o); err != nil {
		return nil, err
	}
	got, key, err := d.send(ctx, s, o)
	if err != nil {
		return nil, errors.Join(err, d.failed(s, err))
	}
	bundle := install.Bundle{Key: key, Chain: d.chain(ctx, s, o.trust, got)}
	if err := d.publish(ctx, s, bundle, Current{Linked: got.Linked, ServerKey: o.op == est.ServerKeyGen}); err != nil {
		return nil, err
	}
	d.tell(Issued, "a certificate for %s until %s", strings.Join(s.Current.Names, ", "), s.Current.NotAfter.Format(time.RFC3339))
	for _, difference := range got.Differences {
		d.tell(Warned, "of the certificate: %s", difference)
	}
	if d.typed && place(key) != "" {
		d.tell(Warned, "the PIN was typed, and the agent can ask nobody: put it into a file that only you can read, and say where with chancery est reenroll --dir %s --key-in NAME, with pin-source=file:PATH in the name", d.dir)
	}
	return &Outcome{Issued: got, Paths: d.Paths(), Place: place(key), Deployed: d.Deploy(ctx, s)}, nil
}

// takeUp finds the request that is under way, with its secrets where they are known.
func (d *Device) takeUp(s *State, o *order) error {
	s.anew = o.Anew
	if s.Pending != nil && o.Anew {
		s.Pending = nil
		if err := d.save(s); err != nil {
			return err
		}
		if err := durable.Remove(d.path(pendingKey)); err != nil {
			return err
		}
	}
	p := s.Pending
	if p == nil {
		return nil
	}
	if p.Operation != o.op {
		return &UnderWayError{p, o.op}
	}
	if len(o.Change) > 0 && !bytes.Equal(o.Change, p.Change) {
		return &UnderWayError{p, o.op}
	}
	o.Change = p.Change
	return o.secrets(p.Login)
}

// secrets reads what a process before this one had, from where it had it.
func (o *order) secrets(where *Login) error {
	if where == nil {
		return nil
	}
	if o.Where == nil {
		o.Where = where
	}
	read := func(spec string, into *est.Password) error {
		if spec == "" || *into != "" {
			return nil
		}
		secret, err := keys.ReadSecret(spec)
		if err == nil {
			*into = est.Password(secret.Reveal())
		}
		return err
	}
	if o.Login == nil && where.Use && where.Password != "" {
		login := &est.Login{User: where.User}
		if err := read(where.Password, &login.Password); err != nil {
			return err
		}
		o.Login = login
	}
	if o.full.Proof == nil && where.Proof != "" {
		proof := &est.Proof{Name: where.Identification}
		if err := read(where.Proof, &proof.Secret); err != nil {
			return err
		}
		o.full.Proof = proof
	}
	return errors.Join(read(where.Secret, &o.Secret), read(where.Revocation, &o.Revocation))
}

// wishes asks what the server wants of requests. A server that does not tell, or not us,
// is one without wishes.
func (d *Device) wishes(ctx context.Context, o *order) error {
	if o.Wanted != nil {
		return nil
	}
	var err error
	o.Wanted, err = o.client.Wanted(ctx, o.renews)
	_, refused := errors.AsType[*est.StatusError](err)
	_, denied := errors.AsType[*est.LoginError](err)
	if refused || denied {
		d.tell(Warned, "what the server wants of requests is not known: %v", err)
		return nil
	}
	return err
}

// Wishes gives what the server wants of requests, as it came. Call it under Lock.
func (d *Device) Wishes(ctx context.Context, s *State, ask Ask) (est.CSRAttrs, error) {
	if err := d.anchored(ctx, s, ask.Fingerprint); err != nil {
		return nil, err
	}
	c, err := d.client(ctx, s, ask.Login)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var renews *x509.Certificate
	if s.Current != nil {
		chain, err := d.certificates(s)
		if err != nil {
			return nil, err
		}
		renews = chain[0]
	}
	return c.Attributes(ctx, renews)
}

// send makes the request durable, waits as long as the server said before, and sends it
// until it is decided.
func (d *Device) send(ctx context.Context, s *State, o *order) (*est.Issued, crypto.Signer, error) {
	e, err := d.enrolment(ctx, s, o)
	if err != nil {
		return nil, nil, err
	}
	if s.Pending == nil {
		s.Pending = &Pending{Operation: o.op, Since: d.options.Now().UTC(), Login: o.Where, Change: o.Change}
		if o.renews != nil {
			s.Pending.Serial = o.renews.SerialNumber.Text(16)
		}
		if err := d.save(s); err != nil {
			return nil, nil, err
		}
	}
	if left := s.Pending.left(d.options.Now()); left > 0 {
		left = (left + time.Second - 1).Truncate(time.Second)
		p := &est.PendingError{Operation: o.op, After: left, Text: s.Pending.Text}
		d.tell(Waiting, "the server wants to be asked again in %v%s", left, d.next(s.Pending))
		if !d.options.Wait {
			return nil, nil, p
		}
		if err := est.Wait(ctx, p); err != nil {
			return nil, nil, err
		}
	}
	for {
		d.tell(Asking, "%s at %s", o.op, o.client.URL(o.op))
		got, key, err := d.once(ctx, s, delivery{o, e})
		p, waits := errors.AsType[*est.PendingError](err)
		if !waits {
			return got, key, err
		}
		if err := d.waiting(ctx, s, p); err != nil {
			return nil, nil, err
		}
	}
}

// waiting keeps what the server said, and waits.
func (d *Device) waiting(ctx context.Context, s *State, p *est.PendingError) error {
	s.Pending.Asked, s.Pending.Wait, s.Pending.Text = d.options.Now().UTC(), p.After, p.Text
	s.Tries = Tries{}
	if err := d.save(s); err != nil {
		return err
	}
	words := d.next(s.Pending)
	if p.Text != "" {
		words += ": " + p.Text
	}
	d.tell(Waiting, "the request waits for a decision; the server wants to be asked again in %v%s", p.After, words)
	if !d.options.Wait {
		return p
	}
	return est.Wait(ctx, p)
}

// Due is when the server may be asked again, and not before (RFC 7030 §4.2.3).
func (p *Pending) Due() time.Time { return p.Asked.Add(p.Wait) }

// next says when the server is asked again, and by whom.
func (d *Device) next(p *Pending) string {
	due := p.Due().UTC().Add(time.Second - 1).Truncate(time.Second).Format(time.RFC3339)
	if d.options.Wait {
		return ", which this does at " + due
	}
	return ", from " + due + " on"
}

// left is how long to wait yet. A clock that went back does not make it longer.
func (p *Pending) left(now time.Time) time.Duration {
	return min(p.Due().Sub(now), p.Wait)
}

// delivery is what is sent.
type delivery struct {
	*order
	enrolment est.Enrolment
}

// once sends the request one time.
func (d *Device) once(ctx context.Context, s *State, o delivery) (*est.Issued, crypto.Signer, error) {
	switch o.op {
	case est.ServerKeyGen:
		k, err := d.keyOrder(ctx, s, o)
		if err != nil {
			return nil, nil, err
		}
		made, err := o.client.ServerKeyGen(ctx, k)
		if err != nil {
			return nil, nil, err
		}
		return &made.Issued, made.Key, nil
	case est.FullCMC:
		return d.byCMC(ctx, s, o)
	case est.SimpleReenroll:
		got, err := o.client.Reenroll(ctx, o.enrolment)
		return got, o.enrolment.Key, err
	}
	got, err := o.client.Enroll(ctx, o.enrolment)
	return got, o.enrolment.Key, err
}

// enrolment makes the request of the settings, with its key durable.
func (d *Device) enrolment(ctx context.Context, s *State, o *order) (e est.Enrolment, err error) {
	e = est.Enrolment{
		Wanted: o.Wanted, Renews: o.renews, Linking: s.Settings.Linking, Secret: o.Secret, Revocation: o.Revocation, AcceptChanged: s.Settings.AcceptChanged,
	}
	if e.Request, err = s.Settings.Request(); err != nil {
		return e, err
	}
	if len(o.Change) > 0 {
		e.Request.Attributes = append(e.Request.Attributes, cms.Attribute{Type: est.OIDChangeSubjectName, Values: [][]byte{o.Change}})
	}
	if o.op != est.ServerKeyGen {
		e.Key, err = d.key(ctx, s, o)
	}
	return e, err
}

// failed forgets a request that the server refused, or that could not be sent: the next
// one is made anew. One of which nothing is known stays.
func (d *Device) failed(s *State, err error) error {
	if s.Pending == nil || !final(err) {
		return nil
	}
	s.Pending = nil
	if err := d.save(s); err != nil {
		return err
	}
	return durable.Remove(d.path(pendingKey))
}

// final tells whether an error says that a request cannot be finished.
func final(err error) bool {
	if refused, ok := errors.AsType[*est.StatusError](err); ok {
		switch refused.Status {
		case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
			return false
		}
		return refused.Status < http.StatusInternalServerError || refused.Missing()
	}
	if refused, ok := errors.AsType[*est.FullError](err); ok {
		return !refused.Pending && refused.HTTP < http.StatusInternalServerError
	}
	_, denied := errors.AsType[*est.LoginError](err)
	return denied || est.Is(err, est.Unmet) || est.Is(err, est.Unlinked)
}
