package settings

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"chancery/acme"
	"chancery/caa"
	"chancery/internal/enroll/install"
	"chancery/internal/enroll/vault"
	"chancery/internal/keys"
)

// File is the file that the settings come from; "" = there is none.
func (s *Settings) File() string { return s.file }

// CA finds one that is known beforehand by its label.
func (s *Settings) CA(label string) (CA, bool) {
	for _, ca := range s.CAs {
		if ca.Label == label {
			return ca, true
		}
	}
	return CA{}, false
}

// Label is the certificate's name in the vault.
func (c Certificate) Label() string {
	if c.Name != "" || len(c.Names) == 0 {
		return c.Name
	}
	return vault.Label(c.Names[0])
}

// Target is where it is installed.
func (c Certificate) Target() install.Target {
	i := c.Install
	mode, _ := i.Mode.parse() // judged when they were loaded
	keyMode, _ := i.KeyMode.parse()
	return install.Target{
		Cert: i.Cert, Key: i.Key, Chain: i.Chain, FullChain: i.FullChain, Combined: i.Combined,
		PKCS12: i.PKCS12, PKCS12Password: string(i.PKCS12Password), PKCS12Legacy: i.PKCS12Legacy,
		Owner: i.Owner, Group: i.Group, Mode: mode, KeyMode: keyMode,
	}
}

// Sheet is the certificate as the vault keeps it, with canonical names.
func (c Certificate) Sheet() (vault.Sheet, error) {
	names := make([]string, len(c.Names))
	for i, name := range c.Names {
		subject, err := caa.ParseSubject(name)
		if err != nil {
			return vault.Sheet{}, err
		}
		names[i] = subject.Name
	}
	limit := c.Hooks.Timeout
	return vault.Sheet{
		Name: c.Label(), Names: names, Origin: "configuration",
		KeyType: c.KeyType, ReuseKey: c.ReuseKey, Profile: c.Profile,
		Challenge: vault.Challenge{Types: c.Challenges, Webroot: c.Webroot, DNS: c.DNS},
		CA:        vault.Choice{Label: c.CA, Pin: c.PinCA, AllowChange: c.AllowCAChange},
		Install:   c.Target(),
		Hooks: install.Hooks{
			Pre: c.Hooks.Pre.hook(limit), Deploy: c.Hooks.Deploy.hook(limit),
			Post: c.Hooks.Post.hook(limit), Failure: c.Hooks.Failure.hook(limit),
		},
	}, nil
}

// ErrNoEAB says that none is configured.
var ErrNoEAB = errors.New("no external account binding is configured")

// Read reads the MAC key from where the reference says. The error is ErrNoEAB if
// there is no binding.
func (e EAB) Read() (*acme.ExternalAccount, error) {
	if e.Key == "" {
		return nil, ErrNoEAB
	}
	secret, err := keys.ReadSecret(string(e.Key))
	if err != nil {
		return nil, fmt.Errorf("the MAC key of the external account binding %q: %w", e.KeyID, err)
	}
	key, err := DecodeMAC(secret.Reveal())
	if err != nil {
		return nil, fmt.Errorf("the MAC key of the external account binding %q: %w", e.KeyID, err)
	}
	return &acme.ExternalAccount{KeyID: e.KeyID, Key: key, Algorithm: e.Algorithm}, nil
}

// DecodeMAC reads a MAC key as CAs hand it out: base64url (RFC 8555 §7.3.4), with
// or without padding; some write plain base64. Its error quotes nothing.
func DecodeMAC(text string) ([]byte, error) {
	text = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(strings.TrimSpace(text), "="))
	key, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(key) == 0 {
		return nil, errors.New("it is not base64url: copy it exactly as the CA shows it")
	}
	return key, nil
}
