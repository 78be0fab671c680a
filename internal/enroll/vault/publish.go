package vault

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"chancery/internal/durable"
	"chancery/internal/enroll/install"
)

// PendingKey gives the key for the next certificate, durable before it is used.
// It is the one left from an order that a crash or a failure interrupted, if
// that is still of use: the same order can then be finished. Call it under Lock.
func (v *Vault) PendingKey(ctx context.Context, name, keyType string) (key crypto.Signer, err error) {
	dir, err := v.certDir(name)
	if err != nil {
		return nil, err
	}
	err = inDir(ctx, dir, func() error {
		path := filepath.Join(dir, pendingKey)
		if key, err = readKey(path); err == nil {
			r, err := readRecord(dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			wanted := keyType == "" || install.KeyType(key.Public()) == keyType
			if r.Pending != nil || len(r.Kept) > 0 || wanted && !spent(dir, r, key) {
				return nil
			}
			if err := durable.Remove(path); err != nil {
				return err
			}
		}
		key, err = createKey(path, keyType)
		return err
	})
	return key, err
}

// spent tells whether the key is the current certificate's: it is left from a
// crash right after that was published.
func spent(dir string, r Record, key crypto.Signer) bool {
	if r.Current == nil || r.Sheet.ReuseKey {
		return false
	}
	used, err := readKey(filepath.Join(dir, r.Current.Generation, install.KeyFile))
	return err == nil && samePublic(used, key)
}

func samePublic(a, b crypto.Signer) bool {
	public, ok := a.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(b.Public())
}

// SetPendingKey makes a given key the one of the next certificate, as for a
// certificate that keeps its key. Call it under Lock.
func (v *Vault) SetPendingKey(ctx context.Context, name string, key crypto.Signer) error {
	dir, err := v.certDir(name)
	if err != nil {
		return err
	}
	data, err := install.EncodeKey(key)
	if err != nil {
		return err
	}
	defer clear(data)
	return inDir(ctx, dir, func() error { return durable.Write(private(filepath.Join(dir, pendingKey), data)) })
}

// DropPending forgets the order under way and its key: it can never be finished.
func (v *Vault) DropPending(ctx context.Context, name string) error {
	dir, err := v.certDir(name)
	if err != nil {
		return err
	}
	return inDir(ctx, dir, func() error {
		if err := changeRecord(dir, func(r *Record) error { r.Pending, r.Kept = nil, nil; return nil }); err != nil {
			return err
		}
		return durable.Remove(filepath.Join(dir, pendingKey))
	})
}

// PublicKeySHA256 is the hash of a key's SubjectPublicKeyInfo, in hex, as Pending
// names keys.
func PublicKeySHA256(public crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// Publication is a certificate that was obtained and checked.
type Publication struct {
	// Issued says where it is from. Serial, NotBefore, NotAfter, SHA256 and
	// Generation are filled in from the certificate.
	Issued Issued
	Bundle install.Bundle
}

// Publish makes a new certificate the current one: its files, the record (Current
// and Undeployed are set, Pending, Window and Tries are cleared), the link. After
// a crash anywhere either the order is still pending, or the certificate is
// current and Lock swaps the link. Call it under Lock.
func (v *Vault) Publish(ctx context.Context, name string, p Publication) (Issued, error) {
	dir, err := v.certDir(name)
	if err != nil {
		return Issued{}, err
	}
	if err := p.Bundle.Check(); err != nil {
		return Issued{}, err
	}
	leaf := p.Bundle.Chain[0]
	issued, sum := p.Issued, sha256.Sum256(leaf.Raw)
	issued.Serial, issued.SHA256 = leaf.SerialNumber.Text(16), hex.EncodeToString(sum[:])
	issued.Names = namesOf(leaf)
	issued.NotBefore, issued.NotAfter = leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
	if issued.ObtainedAt.IsZero() {
		issued.ObtainedAt = time.Now().UTC().Truncate(time.Second)
	}
	err = inDir(ctx, dir, func() (err error) {
		if issued.Generation, err = install.WriteGeneration(dir, p.Bundle); err != nil {
			return err
		}
		if err := changeRecord(dir, func(r *Record) error { r.published(issued); return nil }); err != nil {
			return err
		}
		if err := durable.Symlink(issued.Generation, filepath.Join(dir, currentDir)); err != nil {
			return err
		}
		if err := durable.Remove(filepath.Join(dir, pendingKey)); err != nil {
			return err
		}
		return install.PruneGenerations(dir, issued.Generation)
	})
	return issued, err
}

// published is the record's part.
func (r *Record) published(i Issued) {
	r.Current, r.Pending, r.Kept, r.Window, r.Tries = &i, nil, nil, nil, Tries{}
	r.Revoked = time.Time{}
	r.Undeployed = &Undeployed{Generation: i.Generation, Since: i.ObtainedAt}
}

// CurrentBundle gives the key and chain of the current certificate; ErrNone if
// there is none. Both are of one generation.
func (v *Vault) CurrentBundle(name string) (install.Bundle, error) {
	r, err := v.Record(name)
	if err != nil {
		return install.Bundle{}, err
	}
	if r.Current == nil {
		return install.Bundle{}, fmt.Errorf("%w: %s has no certificate yet", ErrNone, name)
	}
	dir := v.path("certificates", name, r.Current.Generation)
	key, err := readKey(filepath.Join(dir, install.KeyFile))
	if err != nil {
		return install.Bundle{}, err
	}
	path := filepath.Join(dir, install.FullChainFile)
	text, err := readFile(path)
	if err != nil {
		return install.Bundle{}, &FileError{Path: path, Reason: "the certificate is gone: restore it from a backup, or get it anew", Err: err}
	}
	chain, err := install.ParseCertificates(text)
	if err != nil {
		return install.Bundle{}, &FileError{Path: path, Reason: "this certificate is damaged: restore it from a backup, or get it anew", Err: err}
	}
	b := install.Bundle{Key: key, Chain: chain}
	if err := b.Check(); err != nil {
		return install.Bundle{}, &FileError{Path: dir, Reason: "somebody changed these files: restore them from a backup, or get the certificate anew", Err: err}
	}
	return b, nil
}
