package ca

import (
	"context"
	"crypto/x509"
	"time"
)

// RolloverIssuer replaces the active issuer of a line by a new one with a new
// key under the same root. The old one is retired: its certificates stay good,
// it goes on signing their status, and it signs no new ones.
func (a *Authority) RolloverIssuer(ctx context.Context, by Principal, line string) (*Issuer, error) {
	old := a.Issuers().Line(line, a.Clock())
	if old == nil || old.Root {
		return nil, Errorf(NotFound, "there is no active issuing authority %q; see: chancery ca list", clip(line))
	}
	parent := a.Issuers().ByID(old.Parent)
	if parent == nil || !parent.HasKey() {
		return nil, Errorf(Unavailable, "the key above %s is not on this machine; make a request for the authority that holds it: chancery ca csr", line)
	}
	if root := a.Issuers().Line(parent.Name, a.Clock()); root != nil {
		parent = root // a rolled-over root signs what is new
	}
	next, err := a.successor(ctx, old, parent, false)
	if err != nil {
		return nil, err
	}
	change := Change{Add: []IssuerRecord{next.IssuerRecord}, Retire: []string{old.ID}, Event: by.Event(a.Clock(), "issuer.rolled-over", next.ID)}
	return next, a.establish(ctx, change)
}

// successor makes the next authority of old's line below parent; with parent
// nil, the next root. With keep it has old's name.
func (a *Authority) successor(ctx context.Context, old, parent *Issuer, keep bool) (*Issuer, error) {
	plan := old.plan()
	next, err := a.newIssuer(ctx, newAuthority{line: old.Name, algorithm: old.keyAlgorithm(), parent: parent, plan: plan})
	if err != nil {
		return nil, err
	}
	signer := parent
	if signer == nil {
		signer = next
	}
	if keep {
		next.subject, next.rawSubject = old.subject, old.rawSubject
	}
	life := a.term(old.cert.NotAfter.Sub(old.cert.NotBefore) + time.Second)
	if parent == nil && !life.to.After(old.cert.NotAfter) {
		// Of roots with one name the one that ends last is the current one (RFC 7030 §4.1.3).
		life.to = old.cert.NotAfter.Add(time.Second)
	}
	next.cert, next.Certs, err = a.certifyAuthority(ctx, pair{next, signer}, life, plan)
	if err != nil {
		return nil, err
	}
	next.rawSubject = next.cert.RawSubject
	return next, nil
}

// RolloverRoot makes a new root, ties old and new together by two certificates
// (RFC 4210 §4.4: OldWithNew and NewWithOld), and makes a new issuer for each
// line below it. Whoever trusts either root can verify what either hierarchy
// issued. The new root has the old one's name, and so have the two: their subject and
// issuer must match (RFC 4210 §4.4.2.2). Key identifiers tell them apart.
func (a *Authority) RolloverRoot(ctx context.Context, by Principal, line string) (*Issuer, error) {
	return a.rollRoot(ctx, by, succession{line: line, keep: true})
}

// ReplaceRoot is [Authority.RolloverRoot] with a name of its own for the new root, so
// that ACME clients, which choose among chains by the name on top, can tell them apart.
// The two certificates between the roots are then ordinary cross-certificates.
func (a *Authority) ReplaceRoot(ctx context.Context, by Principal, line string) (*Issuer, error) {
	return a.rollRoot(ctx, by, succession{line: line})
}

// succession is the rollover of one line; keep: of a root that keeps its name.
type succession struct {
	line string
	keep bool
}

func (a *Authority) rollRoot(ctx context.Context, by Principal, how succession) (*Issuer, error) {
	now := a.Clock()
	old := a.Issuers().Line(how.line, now)
	if old == nil || !old.Root {
		return nil, Errorf(NotFound, "there is no active root %q whose key is on this machine; see: chancery ca list", clip(how.line))
	}
	root, err := a.successor(ctx, old, nil, how.keep)
	if err != nil {
		return nil, err
	}
	newWithOld, err := a.cross(ctx, root, old)
	if err != nil {
		return nil, err
	}
	oldWithNew, err := a.cross(ctx, old, root)
	if err != nil {
		return nil, err
	}
	root.Certs = append(root.Certs, newWithOld)
	change := Change{
		Add: []IssuerRecord{root.IssuerRecord}, Retire: []string{old.ID},
		Cross: map[string][]byte{old.ID: oldWithNew}, Event: by.Event(now, "root.rolled-over", root.ID),
	}
	for _, i := range a.Issuers().all {
		if i.Parent != old.ID || i.Root || i.State != Active {
			continue
		}
		next, err := a.successor(ctx, i, root, false)
		if err != nil {
			return nil, err
		}
		change.Add = append(change.Add, next.IssuerRecord)
		change.Retire = append(change.Retire, i.ID)
	}
	return root, a.establish(ctx, change)
}

// cross has one root certify another's key from the time that the key was made until
// either root ends (RFC 4210 §4.4.1).
func (a *Authority) cross(ctx context.Context, subject, by *Issuer) ([]byte, error) {
	_, certs, err := a.certifyAuthority(ctx, pair{subject, by}, term{subject.cert.NotBefore, subject.cert.NotAfter}, by.plan())
	if err != nil {
		return nil, err
	}
	return certs[0], nil
}

// plan gives what a successor takes over.
func (i *Issuer) plan() Plan {
	p := Plan{Shards: i.Shards, StatusURL: i.StatusURL, Domains: i.domains()}
	if len(i.cert.Subject.Organization) > 0 {
		p.Organization = i.cert.Subject.Organization[0]
	}
	return p
}

// keyAlgorithm gives the word for the issuer's own kind of key.
func (i *Issuer) keyAlgorithm() string {
	kind, _ := keyKind(i.cert.PublicKey)
	if kind != "rsa" {
		return kind
	}
	if size := rsaBits(i.cert); size >= 4096 {
		return "rsa-4096"
	} else if size >= 3072 {
		return "rsa-3072"
	}
	return "rsa-2048"
}

func rsaBits(cert *x509.Certificate) int {
	if k, ok := cert.PublicKey.(interface{ Size() int }); ok {
		return k.Size() * 8
	}
	return 0
}
