package desk

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"time"

	"chancery/internal/admin"
	"chancery/internal/ca"
)

// AuthorityGiven is the input of ca.import.
type AuthorityGiven struct {
	Name  string `json:"name"`  // the line that it joins as its active issuer
	Chain []byte `json:"chain"` // its certificate first, then those above it; PEM, or one in DER

	// One of them: the name of a key that is here already (from ca.csr), or the
	// private key itself in PEM, unencrypted.
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
	Revoked   int       `json:"revoked"` // entries taken over for its CRLs
}

func (d *Desk) importAuthority(ctx context.Context, caller admin.Caller, in AuthorityGiven) (AuthorityTaken, error) {
	defer clear(in.Key)
	if err := checkLine(in.Name); err != nil {
		return AuthorityTaken{}, err
	}
	chain, err := parseChain(in.Chain)
	if err != nil {
		return AuthorityTaken{}, err
	}
	taken := ca.Imported{By: by(caller), Line: in.Name, Chain: chain, Shards: in.Shards, StatusURL: in.StatusURL}
	if taken.Shards == 0 {
		taken.Shards = d.Defaults.Shards
	}
	if taken.StatusURL == "" {
		taken.StatusURL = d.Defaults.StatusURL
	}
	if taken.Revoked, err = revokedBefore(in, chain[0], d.Clock()); err != nil {
		return AuthorityTaken{}, err
	}
	if taken.Key, err = d.keyFor(ctx, in, chain[0]); err != nil {
		return AuthorityTaken{}, err
	}
	issuer, err := d.Authority.Import(ctx, taken)
	if err != nil {
		return AuthorityTaken{}, err
	}
	return AuthorityTaken{Authority: authorityShown(issuer), Revoked: len(taken.Revoked)}, nil
}

// keyFor gives the name of the authority's key in the store, putting it there
// first if it came along. A key that does not fit is not kept.
func (d *Desk) keyFor(ctx context.Context, in AuthorityGiven, cert *x509.Certificate) (string, error) {
	if (in.KeyName == "") == (len(in.Key) == 0) {
		return "", ca.Errorf(ca.Invalid, "name the key that is here already (ca csr told its name), or give the private key: one of the two")
	}
	if in.KeyName != "" {
		return in.KeyName, nil
	}
	for _, issuer := range d.Authority.Issuers().List() {
		if bytes.Equal(issuer.Certificate().RawSubjectPublicKeyInfo, cert.RawSubjectPublicKeyInfo) {
			return "", ca.Errorf(ca.Conflict, "this authority is here already, as %s %s; see: chancery ca list", issuer.Name, issuer.ID)
		}
	}
	key, err := parsePrivateKey(in.Key)
	if err != nil {
		return "", err
	}
	own, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !own.Equal(cert.PublicKey) {
		return "", ca.Errorf(ca.Invalid, "the private key is not the one of the first certificate (%s); the authority's own certificate comes first", cert.Subject)
	}
	if k, isRSA := key.(*rsa.PrivateKey); isRSA && k.N.BitLen() < 2048 {
		return "", ca.Errorf(ca.BadKey, "the authority's RSA key has %d bits; at least 2048 are needed", k.N.BitLen())
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", ca.Errorf(ca.BadKey, "keys of this kind cannot be kept here")
	}
	defer clear(der)
	name := in.Name + "-" + ca.NewID()[:8]
	_, err = d.Keys.Import(ctx, name, der)
	return name, err
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

// revokedBefore collects what the authority revoked elsewhere. A CRL must be its
// own: a list of somebody else's would put strangers' serials on ours.
func revokedBefore(in AuthorityGiven, cert *x509.Certificate, now time.Time) ([]ca.RevokedEntry, error) {
	var entries []ca.RevokedEntry
	seen := map[ca.Serial]bool{}
	add := func(e ca.RevokedEntry) {
		if !seen[e.Serial] {
			seen[e.Serial] = true
			entries = append(entries, e)
		}
	}
	for n, text := range in.CRLs {
		der := text
		if block, _ := pem.Decode(text); block != nil {
			der = block.Bytes
		}
		crl, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, ca.Errorf(ca.Invalid, "CRL %d cannot be read as PEM or DER", n+1)
		}
		if err := crl.CheckSignatureFrom(cert); err != nil {
			return nil, ca.Errorf(ca.Invalid, "CRL %d is not signed by %s, whose revocations are wanted", n+1, cert.Subject)
		}
		for _, e := range crl.RevokedCertificateEntries {
			add(ca.RevokedEntry{Serial: ca.SerialOf(e.SerialNumber), At: e.RevocationTime, Reason: ca.Reason(e.ReasonCode)})
		}
	}
	for _, text := range in.Revoked {
		serial, err := ca.ParseSerial(text)
		if err != nil {
			return nil, err
		}
		add(ca.RevokedEntry{Serial: serial, At: now})
	}
	return entries, nil
}
