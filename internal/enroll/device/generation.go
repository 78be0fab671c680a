package device

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"

	"chancery/internal/durable"
	"chancery/internal/enroll/install"
)

// Lineage is the directory with privkey.pem, cert.pem, chain.pem and fullchain.pem of the
// certificate in use; it is swapped as a whole.
func (d *Device) Lineage() string { return d.path(currentLink) }

// certificates reads the current certificate and its chain.
func (d *Device) certificates(s *State) ([]*x509.Certificate, error) {
	if s.Current == nil {
		return nil, fmt.Errorf("%s: %w", d.dir, ErrNone)
	}
	return readCertificates(d.path(s.Current.Generation, install.FullChainFile))
}

// bundle reads the current certificate and its key.
func (d *Device) bundle(ctx context.Context, s *State) (install.Bundle, error) {
	if s.Current == nil {
		return install.Bundle{}, fmt.Errorf("%s: %w", d.dir, ErrNone)
	}
	dir := d.path(s.Current.Generation)
	key, err := d.ownKey(ctx, s, filepath.Join(dir, install.KeyFile))
	if err != nil {
		return install.Bundle{}, err
	}
	chain, err := readCertificates(filepath.Join(dir, install.FullChainFile))
	if err != nil {
		return install.Bundle{}, err
	}
	b := install.Bundle{Key: key, Chain: chain}
	if err := b.Check(); err != nil {
		return install.Bundle{}, &FileError{Path: dir, Reason: "somebody changed these files: restore them from a backup, or enrol anew", Err: err}
	}
	return b, nil
}

func readCertificates(path string) ([]*x509.Certificate, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	all, err := install.ParseCertificates(text)
	if err != nil {
		return nil, &FileError{Path: path, Reason: "there is no usable certificate in this file", Err: err}
	}
	return all, nil
}

// publish makes a certificate and its key current: files, state, link. The request under
// way has ended. Call it under Lock.
func (d *Device) publish(ctx context.Context, s *State, b install.Bundle, c Current) error {
	if err := b.Check(); err != nil {
		return err
	}
	leaf, sum := b.Chain[0], sha256.Sum256(b.Chain[0].Raw)
	var err error
	if c.Generation, err = install.WriteGeneration(d.dir, b); err != nil {
		return err
	}
	c.Serial, c.SHA256 = leaf.SerialNumber.Text(16), hex.EncodeToString(sum[:])
	c.Names, c.NotBefore, c.NotAfter = namesOf(leaf), leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
	s.Current, s.Pending, s.Undeployed, s.Tries = &c, nil, true, Tries{}
	d.spendCertified(s)
	if err := d.save(s); err != nil {
		return err
	}
	if err := durable.Symlink(c.Generation, d.path(currentLink)); err != nil {
		return err
	}
	if err := durable.Remove(d.path(pendingKey)); err != nil {
		return err
	}
	d.tidy(ctx, s)
	return nil
}

// namesOf are the names of a certificate, its common name first when it has no others.
func namesOf(c *x509.Certificate) []string {
	list := slices.Concat(c.DNSNames, c.EmailAddresses)
	for _, ip := range c.IPAddresses {
		list = append(list, ip.String())
	}
	for _, u := range c.URIs {
		list = append(list, u.String())
	}
	if len(list) == 0 && c.Subject.CommonName != "" {
		list = append(list, c.Subject.CommonName)
	}
	return list
}
