package ca

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"slices"
	"time"
)

// Issuers is an immutable picture of the hierarchy.
type Issuers struct {
	all    []*Issuer // oldest first
	byID   map[string]*Issuer
	chains map[string][]Chain // worked out once: it takes signature checks
	asked  map[issuerHash]*Issuer
	above  map[string][]ancestor // by issuer: its certificates and those of all above it; worked out once, too
}

// DefaultLine is the line of issuers that signs when a profile names none.
const DefaultLine = "issuing"

// Issuers gives the hierarchy as it is now.
func (a *Authority) Issuers() *Issuers { return a.issuers.Load() }

// Reload reads the hierarchy from storage. Issuers whose key is not in this
// key store, or cannot be read, are known, for chains and status, but sign
// nothing: one damaged key file does not stop the others.
func (a *Authority) Reload(ctx context.Context) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	records, err := a.Hierarchy.Issuers(ctx)
	if err != nil {
		return err
	}
	before := a.Issuers()
	next := &Issuers{
		byID: make(map[string]*Issuer, len(records)), chains: make(map[string][]Chain, len(records)), above: make(map[string][]ancestor, len(records)),
	}
	changed := len(records) != len(before.all)
	for _, r := range records {
		issuer, err := a.openIssuer(ctx, r, before.byID[r.ID])
		if err != nil {
			return err
		}
		changed = changed || issuer != before.byID[r.ID]
		next.all = append(next.all, issuer)
		next.byID[r.ID] = issuer
	}
	if !changed {
		return nil
	}
	slices.SortFunc(next.all, func(x, y *Issuer) int { return x.Created.Compare(y.Created) })
	for id, issuer := range next.byID {
		next.chains[id] = next.findChains(issuer)
		next.above[id] = next.findAbove(issuer, nil)
	}
	if err := next.indexHashes(); err != nil {
		return err
	}
	a.issuers.Store(next)
	return nil
}

// openIssuer gives the issuer of a record: the very one that is known if
// nothing about it has changed, as it holds keys that took work to make.
func (a *Authority) openIssuer(ctx context.Context, r IssuerRecord, known *Issuer) (*Issuer, error) {
	var signer crypto.Signer
	if known != nil {
		signer = known.signer
	}
	found := false
	if signer == nil && r.Key != "" {
		var err error
		if signer, err = a.Keys.Load(ctx, r.Key); err != nil {
			signer = nil
			if KindOf(err) != NotFound && known == nil {
				a.Logger.ErrorContext(ctx, "the key of an authority cannot be read; it signs nothing here", "authority", r.Name, "id", r.ID, "key", r.Key, "error", err)
			}
		}
		found = signer != nil
	}
	if known != nil && !found && known.State == r.State && len(known.Certs) == len(r.Certs) {
		return known, nil
	}
	return r.open(signer)
}

// withoutKey gives the ids of the issuers that this process cannot sign for.
func (s *Issuers) withoutKey() []string {
	var ids []string
	for _, i := range s.all {
		if i.signer == nil {
			ids = append(ids, i.ID)
		}
	}
	return ids
}

// byKeyHash finds the issuer with a key; nil when there is none.
func (s *Issuers) byKeyHash(hash []byte) *Issuer {
	for _, i := range s.all {
		if bytes.Equal(i.keyHash, hash) {
			return i
		}
	}
	return nil
}

// List gives every issuer, oldest first.
func (s *Issuers) List() []*Issuer { return slices.Clone(s.all) }

// ByID finds an issuer; nil when there is none.
func (s *Issuers) ByID(id string) *Issuer { return s.byID[id] }

// Line gives the active issuer of a line that signs now, the newest if there
// are several; nil when there is none.
func (s *Issuers) Line(name string, now time.Time) *Issuer {
	for _, i := range slices.Backward(s.all) {
		if i.Name == name && i.Signs(now) {
			return i
		}
	}
	return nil
}

func (s *Issuers) forProfile(p *Profile, now time.Time) (*Issuer, error) {
	line := p.line()
	if i := s.Line(line, now); i != nil {
		return i, nil
	}
	return nil, Errorf(Unavailable, "no issuer of the line %q can sign now; see: chancery ca list", line)
}

// Chain is one way from an issuer up to a root: the issuer's certificate first,
// the root's left out.
type Chain struct {
	Certificates []*x509.Certificate
	Root         *x509.Certificate
}

const maxChains, maxDepth = 4, 6

// Chains gives the ways from an issuer to our roots that are valid now, the one
// that ends in the oldest root first: clients learn new roots late, and after a
// rollover the way over the cross-certificate serves old and new ones alike
// (RFC 4210 §4.4).
func (s *Issuers) Chains(id string, now time.Time) []Chain {
	return slices.DeleteFunc(slices.Clone(s.chains[id]), func(c Chain) bool {
		ended := func(cert *x509.Certificate) bool { return now.After(cert.NotAfter) }
		return ended(c.Root) || slices.ContainsFunc(c.Certificates, ended)
	})
}

func (s *Issuers) findChains(issuer *Issuer) []Chain {
	var found []Chain
	s.climb(issuer, nil, &found)
	found = distinct(found) // before the older of a root's certificates is put first
	slices.SortStableFunc(found, func(x, y Chain) int {
		// Of two roots of one second the one farther away was there first.
		return cmp.Or(x.Root.NotBefore.Compare(y.Root.NotBefore), len(y.Certificates)-len(x.Certificates))
	})
	return found[:min(len(found), maxChains)]
}

// distinct leaves out chains of the same certificates, which lead to several
// certificates of one root; those come with the root's longest-living first.
func distinct(chains []Chain) []Chain {
	var kept []Chain
	for _, c := range chains {
		same := func(k Chain) bool {
			return bytes.Equal(k.Root.RawSubjectPublicKeyInfo, c.Root.RawSubjectPublicKeyInfo) &&
				slices.EqualFunc(k.Certificates, c.Certificates, (*x509.Certificate).Equal)
		}
		if !slices.ContainsFunc(kept, same) {
			kept = append(kept, c)
		}
	}
	return kept
}

func (s *Issuers) climb(at *Issuer, below []*x509.Certificate, found *[]Chain) {
	if len(below) >= maxDepth {
		return
	}
	for _, der := range at.Certs {
		cert, err := x509.ParseCertificate(der)
		if err != nil || repeats(below, cert) {
			continue
		}
		if selfSigned(cert) {
			*found = append(*found, Chain{Certificates: below, Root: cert})
			continue
		}
		path := append(slices.Clone(below), cert)
		parent := s.issuerOf(cert)
		if parent == nil { // a foreign authority stands above: the chain ends with what we have
			*found = append(*found, Chain{Certificates: path, Root: cert})
			continue
		}
		s.climb(parent, path, found)
	}
}

func repeats(below []*x509.Certificate, cert *x509.Certificate) bool {
	return slices.ContainsFunc(below, func(c *x509.Certificate) bool {
		return bytes.Equal(c.RawSubjectPublicKeyInfo, cert.RawSubjectPublicKeyInfo)
	})
}

func (s *Issuers) issuerOf(cert *x509.Certificate) *Issuer {
	for _, i := range s.all {
		if i.answersTo(cert) {
			return i
		}
	}
	return nil
}

// Roots gives the certificates of our roots, the newest first.
func (s *Issuers) Roots() []*x509.Certificate {
	var roots []*x509.Certificate
	for _, i := range slices.Backward(s.all) {
		if i.Root {
			roots = append(roots, i.cert)
		}
	}
	return roots
}
