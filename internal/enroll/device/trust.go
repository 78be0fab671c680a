package device

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"chancery/est"
	"chancery/internal/durable"
	"chancery/internal/enroll/install"
)

const (
	explicitFile      = "explicit.pem"
	intermediatesFile = "intermediates.pem"
)

// Trust reads the TA databases. The Implicit one is given even when it is off: it then
// tells why a server is refused.
func (d *Device) Trust(s *State) (est.Trust, error) {
	t := est.Trust{ImplicitOff: s.ImplicitOff && !s.Settings.KeepImplicit}
	var err error
	if t.Explicit, err = optional(d.path(explicitFile)); err != nil {
		return t, err
	}
	if t.Intermediates, err = optional(d.path(intermediatesFile)); err != nil {
		return t, err
	}
	switch s.Settings.Implicit {
	case "":
	case "system":
		if t.Implicit, err = x509.SystemCertPool(); err != nil {
			return t, fmt.Errorf("the system's trust anchors cannot be read: %w", err)
		}
	default:
		all, err := readCertificates(s.Settings.Implicit)
		if err != nil {
			return t, err
		}
		t.Implicit = x509.NewCertPool()
		for _, c := range all {
			t.Implicit.AddCert(c)
		}
	}
	return t, nil
}

// optional reads certificates from a file that need not be there.
func optional(path string) ([]*x509.Certificate, error) {
	all, err := readCertificates(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return all, err
}

// SetAnchors makes certificates the Explicit TA database, as a person designated them
// (RFC 7030 §3.1). Call it under Lock.
func (d *Device) SetAnchors(s *State, all []*x509.Certificate) error {
	if len(all) == 0 {
		return errors.New("there is no certificate to trust")
	}
	for _, c := range all {
		if !c.IsCA {
			return fmt.Errorf("the certificate of %q is not a certification authority's, so it is no trust anchor", c.Subject)
		}
	}
	return d.keep(s, est.Trust{Explicit: all})
}

// keep stores anchors. Each file is complete or the old one; between the two a crash
// leaves new anchors with old intermediates, which help less and harm nobody.
func (d *Device) keep(s *State, t est.Trust) error {
	if err := durable.Write(public(d.path(explicitFile), install.EncodeCertificates(t.Explicit...))); err != nil {
		return err
	}
	if len(t.Intermediates) == 0 {
		if err := durable.Remove(d.path(intermediatesFile)); err != nil {
			return err
		}
	} else if err := durable.Write(public(d.path(intermediatesFile), install.EncodeCertificates(t.Intermediates...))); err != nil {
		return err
	}
	s.ImplicitOff = true // RFC 7030 §4.1.3
	s.Refresh = est.Refresh(slices.Concat(t.Explicit, t.Intermediates), d.options.Now()).UTC()
	if err := d.save(s); err != nil {
		return err
	}
	return d.exportAnchors(s, t.Explicit)
}

// exportAnchors writes the roots where other software finds them (RFC 7030 §4.1.3), by the
// rules by which certificates are installed: whoever can exchange them decides whom that
// software trusts.
func (d *Device) exportAnchors(s *State, all []*x509.Certificate) error {
	if s.Settings.AnchorsOut == "" || len(all) == 0 {
		return nil
	}
	return install.Put(context.Background(), s.Settings.AnchorsOut, install.EncodeCertificates(all...))
}

// ErrNobody says that a person has to confirm something, and none is there.
var ErrNobody = errors.New("nobody is there to ask")

// Bootstrap makes the server's root an Explicit anchor, by its fingerprint or, without
// one, by a person's word (RFC 7030 §4.1.1). Nothing else was sent to the server.
func (d *Device) Bootstrap(ctx context.Context, s *State, fingerprint string) error {
	c, err := d.client(ctx, s, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	if fingerprint == "" && d.options.Person == nil {
		return fmt.Errorf("the server's CA is not known yet, and there is neither a fingerprint to know it by nor a terminal to ask on (RFC 7030 section 4.1.1): %w", ErrNobody)
	}
	offer, err := c.Bootstrap(ctx)
	if err != nil {
		return err
	}
	return d.accept(ctx, s, confirmation{offer, fingerprint})
}

// confirmation is an offer and the fingerprint that is configured for it, if one is.
type confirmation struct {
	offer       *est.Offer
	fingerprint string
}

func (d *Device) accept(ctx context.Context, s *State, c confirmation) (err error) {
	if c.fingerprint == "" {
		if c.fingerprint, err = d.options.Person.Trust(ctx, c.offer); err != nil {
			return err
		}
	}
	trust, err := c.offer.Accept(c.fingerprint)
	if err != nil {
		return err
	}
	if err := d.keep(s, trust); err != nil {
		return err
	}
	for _, root := range trust.Explicit {
		d.tell(Bootstrapped, "trusted from now on: %s (%s)", root.Subject, est.Fingerprint(root.Raw, "sha256"))
	}
	return nil
}

// Refresh fetches the CA's certificates over an authenticated connection and follows a
// change of its root (RFC 7030 §4.1.2, §4.1.3). It tells whether the anchors changed.
func (d *Device) Refresh(ctx context.Context, s *State) (changed bool, err error) {
	c, err := d.client(ctx, s, nil)
	if err != nil {
		return false, err
	}
	defer c.Close()
	bag, err := c.CACerts(ctx)
	if err != nil {
		return false, err
	}
	learned, err := c.Trust().Learn(bag, d.options.Now())
	if err != nil {
		return false, err
	}
	for _, root := range learned.Unproven {
		d.tell(Unproven, "the server has a root that no known one vouches for: %s (%s); if its CA has a new root, confirm it: chancery est cacerts --dir %s --anew", root.Subject, est.Fingerprint(root.Raw, "sha256"), d.dir)
	}
	if err := d.keep(s, learned.Trust); err != nil {
		return false, err
	}
	for _, root := range learned.Added {
		d.tell(Anchored, "a new root: %s (%s)", root.Subject, est.Fingerprint(root.Raw, "sha256"))
	}
	return len(learned.Added) > 0, nil
}

// anchored makes sure that the CA's own anchors are known: by bootstrap, or over
// Implicit anchors.
func (d *Device) anchored(ctx context.Context, s *State, fingerprint string) error {
	t, err := d.Trust(s)
	if err != nil || len(t.Explicit) > 0 {
		return err
	}
	if t.Implicit == nil || t.ImplicitOff {
		return d.Bootstrap(ctx, s, fingerprint)
	}
	_, err = d.Refresh(ctx, s)
	return err
}

// client makes a client of the server.
func (d *Device) client(ctx context.Context, s *State, login *est.Login) (*est.Client, error) {
	trust, err := d.Trust(s)
	if err != nil {
		return nil, err
	}
	version, err := s.Settings.tlsVersion()
	if err != nil {
		return nil, err
	}
	config := est.ClientConfig{
		Server: s.Settings.Server, Label: s.Settings.Label, Trust: trust, Login: login, MaxTLS: version,
		SecretsOverImplicit: s.Settings.ImplicitSecrets, Dial: d.options.Dial, Now: d.options.Now, UserAgent: d.options.UserAgent,
	}
	if config.Identities, err = d.identities(ctx, s); err != nil {
		return nil, err
	}
	if d.options.Person != nil {
		config.Consent = d.options.Person.Follow
	}
	return est.NewClient(config)
}

// identities are the certificates that can be shown: the current one first, unless it is
// revoked.
func (d *Device) identities(ctx context.Context, s *State) (list []est.ClientIdentity, err error) {
	if s.Current != nil && s.Current.Revoked.IsZero() {
		b, err := d.bundle(ctx, s)
		if s.anew && lost(err) { // it is to be replaced; other things prove who asks
			d.tell(Warned, "the certificate in use cannot be shown: %v", err)
			return d.makers(ctx, s, nil)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, est.ClientIdentity{Certificate: b.Chain[0], Chain: b.Chain[1:], Key: b.Key})
	}
	return d.makers(ctx, s, list)
}

// makers adds what the device's maker gave it.
func (d *Device) makers(ctx context.Context, s *State, list []est.ClientIdentity) ([]est.ClientIdentity, error) {
	if m := s.Settings.Maker; m != nil {
		id, err := d.identity(ctx, m)
		if err != nil {
			return nil, err
		}
		list = append(list, id)
	}
	return list, nil
}

func (d *Device) identity(ctx context.Context, f *Files) (id est.ClientIdentity, err error) {
	chain, err := readCertificates(f.Cert)
	if err != nil {
		return id, err
	}
	id.Certificate, id.Chain = chain[0], chain[1:]
	id.Key, err = d.namedKey(ctx, f.Key)
	return id, err
}
