package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"chancery/acme"
	"chancery/internal/durable"
)

// Binding is an external account binding without its MAC key.
type Binding struct {
	For       string // issuer name or directory URL
	KeyID     string
	Algorithm string // HS256, HS384 or HS512
	Added     time.Time
}

// bindingFile is what is written. The key never leaves it but as an
// acme.ExternalAccount, which does not print it.
type bindingFile struct {
	For       string    `json:"for"`
	KeyID     string    `json:"keyID"`
	Algorithm string    `json:"algorithm,omitempty"`
	Added     time.Time `json:"added"`
	Key       string    `json:"key"` // base64url
}

// canonicalCA makes one text of an issuer name or a directory URL.
func canonicalCA(who string) (string, error) {
	if u, err := url.Parse(who); err == nil && u.Scheme != "" && u.Host != "" {
		return lowerHost(u), nil
	}
	name := strings.ToLower(strings.TrimSuffix(who, "."))
	if name == "" || strings.ContainsAny(name, "/:@ \t\r\n\x00") {
		return "", fmt.Errorf("%.80q is neither the issuer name of a CA, as ca.example, nor the URL of its directory", who)
	}
	return name, nil
}

func (v *Vault) bindingPath(who string) (path, name string, err error) {
	if name, err = canonicalCA(who); err != nil {
		return "", "", err
	}
	return v.path("eab", fingerprint(name)+".json"), name, nil
}

// EAB gives the binding for the first of the names, issuer names or directory
// URLs, that has one; ErrNone if none has.
func (v *Vault) EAB(who ...string) (*acme.ExternalAccount, error) {
	for _, one := range who {
		if one == "" {
			continue
		}
		path, name, err := v.bindingPath(one)
		if err != nil {
			return nil, err
		}
		file, err := readBinding(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		case file.For != name:
			return nil, &FileError{Path: path, Reason: "this file belongs to another CA than its name says: restore it from a backup, or move it away"}
		}
		key, err := base64.RawURLEncoding.DecodeString(file.Key)
		if err != nil || len(key) == 0 || file.KeyID == "" {
			// The decoder's text could quote the key.
			return nil, &FileError{Path: path, Reason: "this external account binding is damaged: remove it and add it again"}
		}
		return &acme.ExternalAccount{KeyID: file.KeyID, Key: key, Algorithm: file.Algorithm}, nil
	}
	return nil, fmt.Errorf("%w: an external account binding for %s", ErrNone, strings.Join(who, " or "))
}

func readBinding(path string) (file bindingFile, err error) {
	err = read(path, &file)
	if wrong, ok := errors.AsType[*FileError](err); ok {
		wrong.Err = nil // its text could quote the key
	}
	return file, err
}

// SetEAB keeps a binding for a CA, named by issuer name or directory URL, in
// place of the one that is there.
func (v *Vault) SetEAB(ctx context.Context, who string, external acme.ExternalAccount) error {
	path, name, err := v.bindingPath(who)
	if err != nil {
		return err
	}
	switch {
	case external.KeyID == "":
		return errors.New("the external account binding has no key ID: it is the short text that the CA gave together with the MAC key")
	case len(external.Key) == 0:
		return errors.New("the external account binding has no MAC key")
	case !slices.Contains([]string{"", "HS256", "HS384", "HS512"}, external.Algorithm):
		return fmt.Errorf("%.20q is no algorithm of an external account binding: HS256, HS384 or HS512", external.Algorithm)
	}
	file := bindingFile{
		For: name, KeyID: external.KeyID, Algorithm: external.Algorithm, Added: time.Now().UTC().Truncate(time.Second),
		Key: base64.RawURLEncoding.EncodeToString(external.Key),
	}
	return inDir(ctx, v.path("eab"), func() error { return write(path, file) })
}

// RemoveEAB deletes the binding for a CA; ErrNone if there is none.
func (v *Vault) RemoveEAB(ctx context.Context, who string) error {
	path, name, err := v.bindingPath(who)
	if err != nil {
		return err
	}
	return inDir(ctx, v.path("eab"), func() error {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: an external account binding for %s", ErrNone, name)
		}
		return durable.Remove(path)
	})
}

// EABs lists the bindings, without their MAC keys, by name.
func (v *Vault) EABs() ([]Binding, error) {
	entries, err := os.ReadDir(v.path("eab"))
	if err != nil {
		return nil, durable.Explain(err, v.path("eab"))
	}
	var all []Binding
	for _, e := range entries {
		if durable.Temporary(e.Name()) || filepath.Ext(e.Name()) != ".json" {
			continue
		}
		file, err := readBinding(v.path("eab", e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, Binding{For: file.For, KeyID: file.KeyID, Algorithm: file.Algorithm, Added: file.Added})
	}
	slices.SortFunc(all, func(a, b Binding) int { return strings.Compare(a.For, b.For) })
	return all, nil
}
