package ca

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"slices"
	"time"

	"chancery/internal/lint"
)

// Hierarchy keeps the issuers.
type Hierarchy interface {
	// Issuers gives every issuer that was ever added.
	Issuers(ctx context.Context) ([]IssuerRecord, error)
	// Change adds issuers and certificates and retires issuers, all or nothing.
	// An issuer that exists already is kind [Conflict].
	Change(ctx context.Context, c Change) error
}

// Change is one step of the hierarchy's history.
type Change struct {
	Add    []IssuerRecord
	Cross  map[string][]byte // issuer ID → a further certificate for its key, DER
	Retire []string          // issuer IDs
	Event  Event

	// Of an imported authority, Add[0]: what it revoked before, for its CRLs,
	// until it ends itself.
	Revoked      []RevokedEntry
	RevokedUntil time.Time
}

// ShardOf gives the CRL of the first added issuer that answers for a serial.
func (c *Change) ShardOf(s Serial) int {
	i := Issuer{IssuerRecord: c.Add[0]}
	return i.ShardOf(s)
}

// Plan says what a hierarchy shall be: [Authority.Found]'s argument.
type Plan struct {
	Organization string // part of the names; may be empty
	RootKey      string // algorithm: "ecdsa-p384", "rsa-4096", …
	IssuerKey    string
	RootLife     time.Duration
	IssuerLife   time.Duration
	Domains      []string // permitted name constraints; empty: every name
	Shards       int      // CRLs per issuer
	StatusURL    string
}

// privateRanges are the addresses that a constrained authority may certify.
var privateRanges = []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "fc00::/7", "::1/128"}

// Found makes a root and an issuing authority below it. Like every certificate
// theirs are recorded before they are signed. If it is interrupted, nothing
// points to what was made so far, and Found can be called again.
func (a *Authority) Found(ctx context.Context, p Plan) error {
	if len(a.Issuers().all) > 0 {
		return Errorf(Conflict, "there is a hierarchy already; see: chancery ca list")
	}
	if err := constrain(new(x509.Certificate), p.Domains); err != nil {
		return err // before a key is made
	}
	root, err := a.newIssuer(ctx, newAuthority{line: "root", algorithm: p.RootKey, plan: p})
	if err != nil {
		return err
	}
	if root.cert, root.Certs, err = a.certifyAuthority(ctx, pair{root, root}, a.term(p.RootLife), p); err != nil {
		return err
	}
	issuing, err := a.newIssuer(ctx, newAuthority{line: DefaultLine, algorithm: p.IssuerKey, parent: root, plan: p})
	if err != nil {
		return err
	}
	if issuing.cert, issuing.Certs, err = a.certifyAuthority(ctx, pair{issuing, root}, a.term(p.IssuerLife), p); err != nil {
		return err
	}
	return a.establish(ctx, Change{
		Add:   []IssuerRecord{root.IssuerRecord, issuing.IssuerRecord},
		Event: coreItself.Event(a.Clock(), "hierarchy.founded", root.ID),
	})
}

// establish stores a change of the hierarchy and takes it up. The first CRLs of
// new authorities are made at once: certificates point to them from now on.
func (a *Authority) establish(ctx context.Context, c Change) error {
	if err := a.Hierarchy.Change(ctx, c); err != nil {
		return err
	}
	if err := a.Reload(ctx); err != nil {
		return err
	}
	_, err := a.RefreshCRLs(ctx)
	return err
}

// newAuthority is what newIssuer needs to know.
type newAuthority struct {
	line, algorithm string
	parent          *Issuer // nil: a root
	plan            Plan
}

// newIssuer makes a key and an issuer around it that has no certificate yet.
func (a *Authority) newIssuer(ctx context.Context, n newAuthority) (*Issuer, error) {
	name := fmt.Sprintf("%s-%s", n.line, NewID()[:8])
	signer, err := a.Keys.Generate(ctx, name, n.algorithm)
	if err != nil {
		return nil, err
	}
	id, err := issuerID(signer.Public())
	if err != nil {
		return nil, Errorf(Internal, "the new key cannot be encoded").because(err)
	}
	i := &Issuer{signer: signer, IssuerRecord: IssuerRecord{
		ID: id, Name: n.line, Root: n.parent == nil, State: Active, Key: name, Parent: id,
		Shards: max(n.plan.Shards, 1), StatusURL: n.plan.StatusURL, Created: a.Clock(),
	}}
	if n.parent != nil {
		i.Parent = n.parent.ID
	}
	i.subject = authorityName(n.plan.Organization, n.parent == nil, id)
	if i.keyID, err = keyID(signer.Public()); err != nil {
		return nil, err
	}
	return i, i.setAlgorithm(signer.Public())
}

// authorityName makes each authority's name its own: two with one name and
// different keys confuse relying parties. A root that succeeds another keeps its
// name all the same, see [Authority.RolloverRoot].
func authorityName(organization string, root bool, id string) pkix.Name {
	kind := "Issuing CA"
	if root {
		kind = "Root CA"
	}
	label := organization
	if label == "" {
		label = "Chancery"
	}
	return pkix.Name{Organization: some(organization), CommonName: fmt.Sprintf("%.40s %s %s", label, kind, id[:6])}
}

// authorityProfile is what the ledger calls the profile of authorities' certificates.
const authorityProfile = "authority"

// pair is an authority and the one above it, which for a root is itself.
type pair struct{ subject, parent *Issuer }

// term is how long a certificate is good: from and to are whole seconds, both in it.
type term struct{ from, to time.Time }

// term gives a life that begins now, as far as slow clocks are concerned.
func (a *Authority) term(life time.Duration) term {
	from := a.Clock().Add(-time.Hour).UTC().Truncate(time.Second)
	return term{from, from.Add(life - time.Second)}
}

// certifyAuthority has the parent certify the subject's key as an authority, on
// the same road as every certificate.
func (a *Authority) certifyAuthority(ctx context.Context, of pair, t term, p Plan) (*x509.Certificate, [][]byte, error) {
	draft, err := a.authorityDraft(of, t, p)
	if err != nil {
		return nil, nil, err
	}
	record, err := a.certify(ctx, draft)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(record.DER)
	if err != nil {
		return nil, nil, Errorf(Internal, "the authority's certificate cannot be read back").because(err)
	}
	return cert, [][]byte{record.DER}, nil
}

func (a *Authority) authorityDraft(of pair, t term, p Plan) (*Draft, error) {
	subject, parent := of.subject, of.parent
	lints, err := lint.Parse([]string{"rfc"})
	if err != nil {
		return nil, err
	}
	d := &Draft{
		serial: newSerial(t.from), by: coreItself, profile: authorityProfile, issuer: parent,
		key: subject.public(), lints: lints, detail: map[string]string{"line": subject.Name},
	}
	d.request = "core:authority:" + string(d.serial)
	if parent.cert != nil && t.to.After(parent.cert.NotAfter) {
		t.to = parent.cert.NotAfter
	}
	d.template = x509.Certificate{
		SerialNumber: d.serial.Int(), Subject: subject.subject, RawSubject: subject.rawSubject,
		NotBefore: t.from, NotAfter: t.to, SubjectKeyId: subject.keyID,
		BasicConstraintsValid: true, IsCA: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	if !subject.Root {
		d.template.MaxPathLenZero = true
		d.template.KeyUsage &^= x509.KeyUsageDigitalSignature
	}
	if subject != parent {
		parent.pointers(&d.template, d.serial)
		d.template.OCSPServer = nil // an authority's status is its parent's CRL
	}
	return d, constrain(&d.template, p.Domains)
}

// constrain writes the permitted names (RFC 5280 §4.2.1.10): the domains,
// localhost for the service itself, and private addresses.
func constrain(t *x509.Certificate, domains []string) error {
	if len(domains) == 0 {
		return nil
	}
	t.PermittedDNSDomainsCritical = true
	for _, d := range append(slices.Clone(domains), "localhost") {
		name, err := DNS(d)
		if err != nil || name.IsWildcard() {
			return Errorf(Invalid, "the name constraint %q is not a domain such as corp.example", clip(d))
		}
		t.PermittedDNSDomains = append(t.PermittedDNSDomains, name.Value())
		// the host itself and, with a dot in front, every host below it
		t.PermittedEmailAddresses = append(t.PermittedEmailAddresses, name.Value(), "."+name.Value())
	}
	for _, text := range privateRanges {
		_, network, err := net.ParseCIDR(text)
		if err != nil {
			return err
		}
		t.PermittedIPRanges = append(t.PermittedIPRanges, network)
	}
	return nil
}

// public gives the issuer's public key, with or without a key at hand.
func (i *Issuer) public() crypto.PublicKey {
	if i.cert != nil {
		return i.cert.PublicKey
	}
	return i.signer.Public()
}

// domains gives the issuer's permitted domains as a plan states them.
func (i *Issuer) domains() []string {
	return slices.DeleteFunc(slices.Clone(i.cert.PermittedDNSDomains), func(d string) bool { return d == "localhost" })
}
