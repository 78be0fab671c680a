package desk

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"regexp"
	"strings"
	"time"

	"chancery/internal/admin"
	"chancery/internal/ca"
)

// Authority is a root or an issuer as an administrator sees it.
type Authority struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"` // the line: "root", "issuing"; a rollover keeps it
	Root        bool      `json:"root"`
	State       ca.State  `json:"state"`   // active, retired; in ca.list also [StateRevoked]
	HasKey      bool      `json:"has_key"` // whether this server can sign for it
	KeyName     string    `json:"key_name,omitempty"`
	Key         string    `json:"key"` // what kind of key
	Parent      string    `json:"parent,omitempty"`
	Subject     string    `json:"subject"`
	Serial      ca.Serial `json:"serial"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Domains     []string  `json:"domains,omitempty"` // permitted name constraints; none: every name
	CRLs        []string  `json:"crls,omitempty"`    // URLs
	Fingerprint string    `json:"sha256"`
	PEM         string    `json:"pem"`
	Revoked     time.Time `json:"revoked,omitzero"` // in ca.list: when its certificate was revoked
	Reason      string    `json:"reason,omitempty"` // and why
}

// StateRevoked is the state of an authority whose certificate was revoked, which only a
// retired one's can be here, or one's that was certified by an authority that came later.
const StateRevoked ca.State = "revoked"

// Authorities is the output of ca.list, oldest first.
type Authorities struct {
	Authorities []Authority `json:"authorities"`
}

func (d *Desk) listAuthorities(ctx context.Context, _ admin.Caller, _ struct{}) (Authorities, error) {
	out := Authorities{Authorities: []Authority{}}
	for _, issuer := range d.Authority.Issuers().List() {
		shown := authorityShown(issuer)
		end, err := d.revocationOf(ctx, issuer)
		if err != nil {
			return Authorities{}, err
		}
		if !end.At.IsZero() {
			shown.State, shown.Revoked, shown.Reason = StateRevoked, end.At, end.Reason.String()
		}
		out.Authorities = append(out.Authorities, shown)
	}
	return out, nil
}

// revocationOf tells when and why an authority's certificate was revoked, by us or, before
// it was imported, by the authority above it; the zero entry if it was not.
func (d *Desk) revocationOf(ctx context.Context, i *ca.Issuer) (ca.RevokedEntry, error) {
	cert := i.Certificate()
	serial := ca.SerialOf(cert.SerialNumber)
	record, err := d.Ledger.BySerial(ctx, serial)
	switch {
	case err == nil && bytes.Equal(record.DER, cert.Raw):
		return ca.RevokedEntry{Serial: serial, At: record.RevokedAt, Reason: record.Reason}, nil
	case err != nil && ca.KindOf(err) != ca.NotFound:
		return ca.RevokedEntry{}, err
	}
	entry, err := d.Authority.Revocations.ImportedRevocation(ctx, i.Parent, serial)
	if ca.KindOf(err) == ca.NotFound {
		return ca.RevokedEntry{}, nil
	}
	return entry, err
}

func authorityShown(i *ca.Issuer) Authority {
	cert := i.Certificate()
	a := Authority{
		ID: i.ID, Name: i.Name, Root: i.Root, State: i.State, HasKey: i.HasKey(), KeyName: i.Key, Key: KeyKind(cert.PublicKey),
		Subject: cert.Subject.String(), Serial: ca.SerialOf(cert.SerialNumber), NotBefore: cert.NotBefore, NotAfter: cert.NotAfter,
		Domains: cert.PermittedDNSDomains, Fingerprint: Fingerprint(cert.Raw), PEM: encodePEM(cert.Raw),
	}
	if i.Parent != i.ID {
		a.Parent = i.Parent
	}
	if i.StatusURL != "" && i.Key != "" {
		for shard := range max(i.Shards, 1) {
			a.CRLs = append(a.CRLs, i.CRLURL(shard))
		}
	}
	return a
}

// Fingerprint is the SHA-256 of a certificate in DER, in lower-case hex.
func Fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// KeyKind names a public key's kind for people: "ECDSA P-256", "RSA 2048".
func KeyKind(key any) string {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return fmt.Sprintf("%T", key)
}

func encodePEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// Root is a certificate that relying parties are to trust.
type Root struct {
	Subject     string    `json:"subject"`
	Fingerprint string    `json:"sha256"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	PEM         string    `json:"pem"`
}

// Roots is the output of ca.roots, newest first.
type Roots struct {
	Roots []Root `json:"roots"`
}

func (d *Desk) roots(context.Context, admin.Caller, struct{}) (Roots, error) {
	out := Roots{Roots: []Root{}}
	for _, cert := range d.Authority.Issuers().Roots() {
		out.Roots = append(out.Roots, Root{Subject: cert.Subject.String(), Fingerprint: Fingerprint(cert.Raw),
			NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, PEM: encodePEM(cert.Raw)})
	}
	return out, nil
}

// Line is the input of operations on one line of authorities.
type Line struct {
	Name string `json:"name"` // "root", "issuing", …
	// NewName gives a new root a name of its own, for ACME clients that choose among
	// chains by it; otherwise it has the old one's (RFC 4210 §4.4.2.2).
	NewName bool `json:"new_name,omitempty"`
}

// RolledOver is the output of ca.rollover: what there is now, the new authority
// of the line first, and what it replaced.
type RolledOver struct {
	Made    []Authority `json:"made"`
	Retired []Authority `json:"retired"`
}

func (d *Desk) rollover(ctx context.Context, caller admin.Caller, in Line) (RolledOver, error) {
	before := map[string]ca.State{}
	for _, issuer := range d.Authority.Issuers().List() {
		before[issuer.ID] = issuer.State
	}
	roll := d.Authority.RolloverIssuer
	switch old := d.Authority.Issuers().Line(in.Name, d.Clock()); {
	case old != nil && old.Root && in.NewName:
		roll = d.Authority.ReplaceRoot
	case old != nil && old.Root:
		roll = d.Authority.RolloverRoot
	case old != nil && in.NewName:
		return RolledOver{}, ca.Errorf(ca.Invalid, "%s is no root: its successor has a name of its own in any case", in.Name)
	}
	made, err := roll(ctx, by(caller), in.Name)
	if err != nil {
		return RolledOver{}, err
	}
	out := RolledOver{Made: []Authority{authorityShown(made)}, Retired: []Authority{}}
	for _, issuer := range d.Authority.Issuers().List() {
		state, known := before[issuer.ID]
		switch {
		case !known && issuer.ID != made.ID:
			out.Made = append(out.Made, authorityShown(issuer))
		case known && state == ca.Active && issuer.State == ca.Retired:
			out.Retired = append(out.Retired, authorityShown(issuer))
		}
	}
	return out, nil
}

// AuthorityWanted is the input of ca.csr; empty fields are as configured.
type AuthorityWanted struct {
	Name         string `json:"name"` // the line that it will join
	Key          string `json:"key,omitempty"`
	Organization string `json:"organization,omitempty"`
}

// AuthorityRequest is the output of ca.csr.
type AuthorityRequest struct {
	Name    string `json:"name"`
	KeyName string `json:"key_name"` // to name again in ca.import
	CSR     string `json:"csr"`      // PEM
}

var lineName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)

func checkLine(name string) error {
	if !lineName.MatchString(name) {
		return ca.Errorf(ca.Invalid, "%q is no name for a line of authorities: small letters, digits and hyphens, as in %q", clip(name), ca.DefaultLine)
	}
	return nil
}

func (d *Desk) request(ctx context.Context, _ admin.Caller, in AuthorityWanted) (AuthorityRequest, error) {
	if err := checkLine(in.Name); err != nil {
		return AuthorityRequest{}, err
	}
	plan := d.Defaults
	if in.Key != "" {
		if !strings.Contains(" "+keyAlgorithms+" ", " "+in.Key+" ") {
			return AuthorityRequest{}, ca.Errorf(ca.Invalid, "the key %q is not one of %s", clip(in.Key), keyAlgorithms)
		}
		plan.IssuerKey = in.Key
	}
	if in.Organization != "" {
		plan.Organization = in.Organization
	}
	csr, key, err := d.Authority.SubordinateCSR(ctx, in.Name, plan)
	if err != nil {
		return AuthorityRequest{}, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})
	return AuthorityRequest{Name: in.Name, KeyName: key, CSR: string(text)}, nil
}

// KeyUnwanted is the input and the output of ca.discard.
type KeyUnwanted struct {
	KeyName string `json:"key_name"` // of ca.csr
	// Check only says whether it could be: nothing is done.
	Check bool `json:"check,omitempty"`
}

// discard puts a key out of use that no authority has: one of a CSR that nobody will
// certify. Keys that are in use are a [ca.Conflict].
func (d *Desk) discard(ctx context.Context, _ admin.Caller, in KeyUnwanted) (KeyUnwanted, error) {
	d.hands.Lock() // no import takes the key meanwhile
	defer d.hands.Unlock()
	if err := d.Authority.Reload(ctx); err != nil {
		return KeyUnwanted{}, err
	}
	for _, issuer := range d.Authority.Issuers().List() {
		if issuer.Key == in.KeyName && in.KeyName != "" {
			return KeyUnwanted{}, ca.Errorf(ca.Conflict, "the key %s is that of the %s authority %s %s, which needs it for its CRLs at least", clip(in.KeyName), issuer.State, issuer.Name, issuer.ID)
		}
	}
	if _, err := d.Authority.Keys.Load(ctx, in.KeyName); err != nil {
		if ca.KindOf(err) == ca.NotFound {
			return KeyUnwanted{}, ca.Errorf(ca.NotFound, "there is no key %s; see: chancery keys list", clip(in.KeyName))
		}
		return KeyUnwanted{}, err
	}
	if in.Check {
		return in, nil
	}
	return in, d.Keys.Retire(ctx, in.KeyName)
}

// keyAlgorithms are the words that the key store knows.
const keyAlgorithms = "ecdsa-p256 ecdsa-p384 ecdsa-p521 ed25519 rsa-2048 rsa-3072 rsa-4096"

// parseChain reads certificates in PEM, or one in DER.
func parseChain(text []byte) ([]*x509.Certificate, error) {
	if block, _ := pem.Decode(text); block == nil {
		certs, err := x509.ParseCertificates(text)
		if err != nil || len(certs) == 0 {
			return nil, ca.Errorf(ca.Invalid, "there is no certificate in what was given: PEM or DER is wanted")
		}
		return certs, nil
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, ca.Errorf(ca.Invalid, "certificate %d cannot be read: %v", len(chain)+1, err)
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return nil, ca.Errorf(ca.Invalid, "there is no certificate in what was given, only other PEM blocks")
	}
	return chain, nil
}
