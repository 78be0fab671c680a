package device

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"chancery/internal/durable"
	"chancery/internal/enroll/install"
)

const (
	keyName         = "privkey.pem"
	certName        = "cert.pem"
	chainName       = "chain.pem"
	fullchainName   = "fullchain.pem"
	generationsKept = 5
)

func generationNumber(name string) int {
	digits, ok := strings.CutPrefix(name, "g")
	if !ok || len(digits) < 6 || strings.Trim(digits, "0123456789") != "" {
		return 0
	}
	n, _ := strconv.Atoi(digits)
	return n
}

// generations lists the numbers that there are, falling.
func (d *Device) generations() ([]int, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, durable.Explain(err, d.dir)
	}
	var numbers []int
	for _, e := range entries {
		if n := generationNumber(e.Name()); n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	slices.Reverse(numbers)
	return numbers, nil
}

// Lineage is the directory with privkey.pem, cert.pem, chain.pem and fullchain.pem of the
// certificate in use; it is swapped as a whole.
func (d *Device) Lineage() string { return d.path(currentLink) }

// bundle reads the current certificate and its key.
func (d *Device) bundle(s *State) (install.Bundle, error) {
	if s.Current == nil {
		return install.Bundle{}, fmt.Errorf("%s: %w", d.dir, ErrNone)
	}
	dir := d.path(s.Current.Generation)
	key, err := readKey(filepath.Join(dir, keyName))
	if err != nil {
		return install.Bundle{}, err
	}
	chain, err := readCertificates(filepath.Join(dir, fullchainName))
	if err != nil {
		return install.Bundle{}, err
	}
	b := install.Bundle{Key: key, Chain: chain}
	if err := b.Check(); err != nil {
		return install.Bundle{}, &FileError{Path: dir, Reason: "somebody changed these files: restore them from a backup, or enrol anew", Err: err}
	}
	return b, nil
}

func readKey(path string) (crypto.Signer, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	key, err := install.ParseKey(text)
	if err != nil {
		return nil, &FileError{Path: path, Reason: "there is no usable private key in this file", Err: err}
	}
	return key, nil
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
func (d *Device) publish(s *State, b install.Bundle, c Current) error {
	if err := b.Check(); err != nil {
		return err
	}
	leaf, sum := b.Chain[0], sha256.Sum256(b.Chain[0].Raw)
	numbers, err := d.generations()
	if err != nil {
		return err
	}
	c.Generation = fmt.Sprintf("g%06d", append(numbers, 0)[0]+1)
	c.Serial, c.SHA256 = leaf.SerialNumber.Text(16), hex.EncodeToString(sum[:])
	c.Names, c.NotBefore, c.NotAfter = namesOf(leaf), leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
	if err := writeGeneration(d.path(c.Generation), b); err != nil {
		return err
	}
	s.Current, s.Pending, s.Undeployed, s.Tries = &c, nil, true, Tries{}
	if err := d.save(s); err != nil {
		return err
	}
	if err := durable.Symlink(c.Generation, d.path(currentLink)); err != nil {
		return err
	}
	if err := durable.Remove(d.path(pendingKey)); err != nil {
		return err
	}
	return d.prune(c.Generation)
}

// prune deletes all but the latest generations, and never the current one.
func (d *Device) prune(current string) error {
	numbers, err := d.generations()
	if err != nil || len(numbers) <= generationsKept {
		return err
	}
	for _, n := range numbers[generationsKept:] {
		if name := fmt.Sprintf("g%06d", n); name != current {
			durable.Step("remove", name)
			if err := os.RemoveAll(d.path(name)); err != nil {
				return durable.Explain(err, d.path(name))
			}
		}
	}
	return nil
}

// writeGeneration fills a directory and only then gives it its name.
func writeGeneration(dir string, b install.Bundle) error {
	key, err := install.EncodeKey(b.Key)
	if err != nil {
		return err
	}
	defer clear(key)
	durable.Step("mkdir", dir)
	unnamed, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".chancery-*") // mode 0700
	if err != nil {
		return durable.Explain(err, dir)
	}
	for _, f := range []durable.File{
		private(filepath.Join(unnamed, keyName), key),
		public(filepath.Join(unnamed, certName), install.EncodeCertificates(b.Chain[0])),
		public(filepath.Join(unnamed, chainName), install.EncodeCertificates(b.Chain[1:]...)),
		public(filepath.Join(unnamed, fullchainName), install.EncodeCertificates(b.Chain...)),
	} {
		if err := durable.Write(f); err != nil {
			return errors.Join(err, os.RemoveAll(unnamed))
		}
	}
	if err := durable.Rename(unnamed, dir); err != nil {
		return errors.Join(err, os.RemoveAll(unnamed))
	}
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
