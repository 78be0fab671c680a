package desk

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"chancery/internal/admin"
	"chancery/internal/ca"
)

// AuthorityGiven is the input of ca.import.
type AuthorityGiven struct {
	Name  string `json:"name"`  // the line that it joins as its active issuer
	Chain []byte `json:"chain"` // its certificate first, then those above it; PEM, or one in DER

	// One of them: the name of a key that is here already (from ca.csr), or the
	// private key itself in PEM, unencrypted. Neither with a renewed certificate of
	// an authority that is here already.
	KeyName string `json:"key_name,omitempty"`
	Key     []byte `json:"key,omitempty"`

	// What it has revoked so far: its newest CRLs, PEM or DER, and single serials.
	CRLs    [][]byte `json:"crls,omitempty"`
	Revoked []string `json:"revoked,omitempty"`

	Shards    int    `json:"shards,omitempty"`     // CRLs; 0: as configured
	StatusURL string `json:"status_url,omitempty"` // "": as configured
}

// AuthorityTaken is the output of ca.import.
type AuthorityTaken struct {
	Authority Authority `json:"authority"`
	Renewed   bool      `json:"renewed"`         // it was here already and has a further certificate now
	Revoked   int       `json:"revoked"`         // entries taken over for its CRLs
	Notes     []string  `json:"notes,omitempty"` // what the administrator should know of it
}

// statusNote is what the ledger cannot say of certificates from elsewhere.
const statusNote = "of the certificates that it issued elsewhere, OCSP answers revoked for those taken over here and unknown for all others, " +
	"the good ones too: keep its old responder running until they have ended, or have clients use the CRL"

func (d *Desk) importAuthority(ctx context.Context, caller admin.Caller, in AuthorityGiven) (AuthorityTaken, error) {
	defer clear(in.Key)
	if err := checkLine(in.Name); err != nil {
		return AuthorityTaken{}, err
	}
	chain, err := parseChain(in.Chain)
	if err != nil {
		return AuthorityTaken{}, err
	}
	taken := ca.Imported{By: by(caller), Line: in.Name, Key: in.KeyName, Chain: chain, Shards: in.Shards, StatusURL: in.StatusURL}
	if taken.Shards == 0 {
		taken.Shards = d.Defaults.Shards
	}
	if taken.StatusURL == "" {
		taken.StatusURL = d.Defaults.StatusURL
	}
	before, err := revokedBefore(in, chain, d.Clock())
	if err != nil {
		return AuthorityTaken{}, err
	}
	taken.Revoked = before.entries
	d.hands.Lock()
	defer d.hands.Unlock()
	renewed := d.holder(chain[0]) != nil
	issuer, err := d.takeIn(ctx, in, taken)
	if err != nil {
		return AuthorityTaken{}, err
	}
	out := AuthorityTaken{Authority: authorityShown(issuer), Renewed: renewed, Revoked: len(taken.Revoked), Notes: before.notes}
	if !renewed && (in.KeyName == "" || out.Revoked > 0) { // a key made here has issued nothing yet
		out.Notes = append(out.Notes, statusNote)
	}
	return out, nil
}

// takeIn checks all that can be checked before the key is kept, so that a
// refused import leaves nothing behind.
func (d *Desk) takeIn(ctx context.Context, in AuthorityGiven, taken ca.Imported) (*ca.Issuer, error) {
	cert := taken.Chain[0]
	der, err := d.keyFor(in, cert)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	if err := d.Authority.CheckImport(taken); err != nil {
		return nil, err
	}
	if len(der) == 0 {
		return d.Authority.Import(ctx, taken)
	}
	taken.Key = in.Name + "-" + ca.NewID()[:8]
	if _, err := d.Keys.Import(ctx, taken.Key, der); err != nil {
		return nil, err
	}
	issuer, err := d.Authority.Import(ctx, taken)
	if err != nil {
		return nil, d.withdraw(context.WithoutCancel(ctx), taken, err)
	}
	return issuer, nil
}

// withdraw puts the key of an import that failed out of use again, unless the
// hierarchy points to it or nobody can tell.
func (d *Desk) withdraw(ctx context.Context, taken ca.Imported, why error) error {
	if err := d.Authority.Reload(ctx); err != nil {
		return fmt.Errorf("%w; nobody can tell whether the authority was taken in, so its key %s was kept", why, taken.Key)
	}
	if issuer := d.holder(taken.Chain[0]); issuer != nil && issuer.Key == taken.Key {
		return fmt.Errorf("the authority was taken in as %s, but: %w", issuer.ID, why)
	}
	return errors.Join(why, d.Keys.Retire(ctx, taken.Key))
}

// holder gives the authority whose key a certificate has; nil when there is none.
func (d *Desk) holder(cert *x509.Certificate) *ca.Issuer {
	for _, issuer := range d.Authority.Issuers().List() {
		if bytes.Equal(issuer.Certificate().RawSubjectPublicKeyInfo, cert.RawSubjectPublicKeyInfo) {
			return issuer
		}
	}
	return nil
}

// keyFor gives the authority's private key in PKCS #8 if it has to be kept, and
// nil if it is here already.
func (d *Desk) keyFor(in AuthorityGiven, cert *x509.Certificate) ([]byte, error) {
	given := in.KeyName != "" || len(in.Key) > 0
	if here := d.holder(cert); here != nil {
		if given && here.Key == "" {
			return nil, ca.Errorf(ca.Conflict, "the authority %s %s is known here as one that stands above another, and its key cannot be added", here.Name, here.ID)
		}
		return nil, nil
	}
	if !given || (in.KeyName != "" && len(in.Key) > 0) {
		return nil, ca.Errorf(ca.Invalid, "say where the authority's key is: --key FILE, or --key-name NAME for one made by chancery ca csr, one of the two")
	}
	if in.KeyName != "" {
		return nil, nil
	}
	key, err := parsePrivateKey(in.Key)
	if err != nil {
		return nil, err
	}
	own, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !own.Equal(cert.PublicKey) {
		return nil, ca.Errorf(ca.Invalid, "the private key is not the one of the first certificate (%s); the authority's own certificate comes first", cert.Subject)
	}
	if k, isRSA := key.(*rsa.PrivateKey); isRSA && k.N.BitLen() < 2048 {
		return nil, ca.Errorf(ca.BadKey, "the authority's RSA key has %d bits; at least 2048 are needed", k.N.BitLen())
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, ca.Errorf(ca.BadKey, "keys of this kind cannot be kept here")
	}
	return der, nil
}

// parsePrivateKey reads the PEM forms in which keys are found in the field.
func parsePrivateKey(text []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		defer clear(block.Bytes)
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, ca.Errorf(ca.Invalid, "the private key is encrypted: decrypt it first, where nobody else can read it: openssl pkey -in KEY -out PLAIN")
		}
		return parseKeyBlock(block)
	}
	return nil, ca.Errorf(ca.Invalid, "there is no private key in PEM in what was given")
}

func parseKeyBlock(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	signer, ok := key.(crypto.Signer)
	if ec, isEC := key.(*ecdsa.PrivateKey); isEC && ec.Params().BitSize < 256 {
		ok = false
	}
	if err != nil || !ok { // the parser's words may hold parts of the key
		return nil, ca.Errorf(ca.Invalid, "the private key cannot be read; wanted is PKCS #8 with an RSA, ECDSA (P-256 or larger) or Ed25519 key: openssl pkcs8 -topk8 -nocrypt -in KEY -out PLAIN")
	}
	return signer, nil
}
