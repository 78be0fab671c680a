package ca

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"slices"
)

// SubordinateCSR makes a key for an authority that a foreign one shall certify
// and gives its PKCS #10 request and the name of the key. The certificate comes
// back through [Authority.Import].
func (a *Authority) SubordinateCSR(ctx context.Context, line string, p Plan) (csr []byte, key string, err error) {
	i, err := a.newIssuer(ctx, newAuthority{line: line, algorithm: p.IssuerKey, parent: &Issuer{}, plan: p})
	if err != nil {
		return nil, "", err
	}
	csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: i.subject}, i.signer)
	if err != nil {
		return nil, "", Errorf(Internal, "the request cannot be made").because(err)
	}
	return csr, i.Key, nil
}

// Imported is an authority that exists already: a key in our store with a
// certificate from elsewhere. For an authority that is here already, a renewed
// certificate: then Key, Line, Shards and StatusURL stay as they are, and
// Revoked must be empty.
type Imported struct {
	By        Principal
	Line      string              // the line it joins, as its active issuer
	Key       string              // the key's name in the store
	Chain     []*x509.Certificate // its certificate first, then those above it, a root last if there is one
	Shards    int
	StatusURL string
	Revoked   []RevokedEntry // what it has revoked so far, for its CRLs
}

// CheckImport tells whether [Authority.Import] would take the authority in, once
// its key is in the store. Nothing is written.
func (a *Authority) CheckImport(in Imported) error {
	_, _, err := a.planImport(in)
	return err
}

// Import takes an authority in. The certificates above it become known for
// chains; their keys stay where they are. An active issuer of the same line is
// retired. A certificate for an authority that is here already is added to it, if
// it has the same name and lives longer; otherwise that is a [Conflict].
func (a *Authority) Import(ctx context.Context, in Imported) (*Issuer, error) {
	change, id, err := a.planImport(in)
	if err != nil {
		return nil, err
	}
	change.Event = in.By.Event(a.Clock(), "authority.renewed", id)
	if a.Issuers().ByID(id) == nil {
		signer, err := a.Keys.Load(ctx, in.Key)
		if err != nil {
			return nil, err
		}
		if _, err := change.Add[0].open(signer); err != nil {
			return nil, Errorf(Invalid, "the certificate is not for the key %s", in.Key).because(err)
		}
		for _, old := range a.Issuers().all {
			if old.Name == in.Line && old.State == Active {
				change.Retire = append(change.Retire, old.ID)
			}
		}
		change.Event.Kind = "authority.imported"
	}
	if err := a.establish(ctx, change); err != nil {
		return nil, err
	}
	return a.Issuers().ByID(id), nil
}

// planImport checks what was given and works out what it changes, and the id
// of the authority. A new one is Add[0].
func (a *Authority) planImport(in Imported) (Change, string, error) {
	if len(in.Chain) == 0 {
		return Change{}, "", Errorf(Invalid, "there is no certificate in what was given")
	}
	change := Change{Revoked: in.Revoked, RevokedUntil: in.Chain[0].NotAfter, Cross: map[string][]byte{}}
	var own string
	for n, cert := range in.Chain {
		record, err := a.importRecord(in, n, cert)
		if err != nil {
			return Change{}, "", err
		}
		if n == 0 {
			own = record.ID
		}
		known := a.Issuers().ByID(record.ID)
		if known == nil {
			change.Add = append(change.Add, record)
			continue
		}
		if err := known.renewable(cert); err == nil {
			change.Cross[record.ID] = cert.Raw
		} else if n == 0 {
			return Change{}, "", err
		}
	}
	if a.Issuers().ByID(own) != nil {
		if len(in.Revoked) > 0 {
			return Change{}, "", Errorf(Invalid, "this is a renewed certificate of an authority that is here already, and so are its revocations; leave them out")
		}
		return change, own, nil
	}
	return change, own, a.checkRevoked(change)
}

// renewable tells whether a certificate can be added to the authority of the
// same key as a renewed one.
func (i *Issuer) renewable(cert *x509.Certificate) error {
	switch {
	case !renews(cert, i.cert):
		return Errorf(Conflict, "the key of %q is here already, as the authority %s %s; a renewed certificate must have its subject %q, its key identifier, "+
			"and be self-signed if that is", cert.Subject, i.Name, i.ID, i.cert.Subject)
	case !cert.NotAfter.After(i.cert.NotAfter):
		return Errorf(Conflict, "the authority %s %s is here already, with a certificate that lives as long; see: chancery ca list", i.Name, i.ID)
	}
	return nil
}

// checkRevoked makes the CRLs of a new authority up to the signature, so that
// none turns out to be impossible when relying parties wait for it.
func (a *Authority) checkRevoked(c Change) error {
	issuer, err := c.Add[0].open(nil)
	if err != nil {
		return Errorf(Invalid, "authorities with this certificate cannot work here: %v", err)
	}
	shards := make([][]x509.RevocationListEntry, max(issuer.Shards, 1))
	seen := make(map[Serial]bool, len(c.Revoked))
	for _, e := range c.Revoked {
		if _, known := reasonNames[e.Reason]; !known {
			return Errorf(Invalid, "the certificate %s was revoked for the reason %d, which RFC 5280 §5.3.1 does not know; have its CRL made again with another", e.Serial, int(e.Reason))
		}
		if seen[e.Serial] {
			return Errorf(Invalid, "the certificate %s is named twice", e.Serial)
		}
		seen[e.Serial] = true
		shard := issuer.ShardOf(e.Serial)
		shards[shard] = append(shards[shard], x509.RevocationListEntry{SerialNumber: e.Serial.Int(), RevocationTime: e.At.UTC(), ReasonCode: int(e.Reason)})
	}
	now := a.Clock().UTC()
	for shard, entries := range shards {
		_, err := a.prepareCRL(issuer, CRLRecord{Issuer: issuer.ID, Shard: shard, Number: 1, ThisUpdate: now, NextUpdate: now.Add(a.CRLLife)}, entries)
		if err != nil {
			return Errorf(Invalid, "with these revocations no CRL of this authority can be made: %v", err).because(err)
		}
	}
	return nil
}

// maxShards is the configuration's bound.
const maxShards = 1024

// importRecord checks the n-th certificate of a chain and makes its record.
func (a *Authority) importRecord(in Imported, n int, cert *x509.Certificate) (IssuerRecord, error) {
	if err := a.checkAuthority(cert); err != nil {
		return IssuerRecord{}, err
	}
	if n == 0 {
		if err := checkSigning(in, cert); err != nil {
			return IssuerRecord{}, err
		}
	}
	above := cert
	if !selfSigned(cert) && n+1 < len(in.Chain) {
		above = in.Chain[n+1]
		if err := cert.CheckSignatureFrom(above); err != nil || !bytes.Equal(cert.RawIssuer, above.RawSubject) {
			return IssuerRecord{}, Errorf(Invalid, "the chain is out of order: %q is not signed by %q", cert.Subject, above.Subject).because(err)
		}
	}
	id, err := issuerID(cert.PublicKey)
	if err != nil {
		return IssuerRecord{}, err
	}
	parent, err := issuerID(above.PublicKey)
	if err != nil {
		return IssuerRecord{}, err
	}
	r := IssuerRecord{
		ID: id, Name: in.Line, State: Active, Key: in.Key, Parent: parent, Root: selfSigned(cert),
		Certs: [][]byte{slices.Clone(cert.Raw)}, Shards: max(in.Shards, 1), StatusURL: in.StatusURL, Created: a.Clock(),
	}
	if n > 0 {
		r.Name, r.Key, r.State = in.Line+"-above", "", Retired
	}
	return r, nil
}

// checkAuthority refuses certificates that no chain can have in it, and those
// whose constraints are not evaluated here.
func (a *Authority) checkAuthority(cert *x509.Certificate) error {
	if !cert.IsCA || (cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0) {
		return Errorf(Invalid, "%q is not a certification authority's certificate (basicConstraints, keyUsage)", cert.Subject)
	}
	if !cert.NotAfter.After(a.Clock()) {
		return Errorf(Invalid, "the certificate of %q has ended", cert.Subject)
	}
	return checkConstraints(cert)
}

// checkSigning refuses an authority that could not say what it revoked
// (RFC 5280 §4.2.1.3, §5.2.1).
func checkSigning(in Imported, cert *x509.Certificate) error {
	switch {
	case cert.KeyUsage&x509.KeyUsageCRLSign == 0:
		return Errorf(Invalid, "%q may not sign CRLs: its keyUsage has no cRLSign, so it could never revoke a certificate; have it certified again with keyUsage keyCertSign, cRLSign", cert.Subject)
	case len(cert.SubjectKeyId) == 0:
		return Errorf(Invalid, "%q has no subjectKeyIdentifier, which its CRLs must name; have it certified again with one", cert.Subject)
	case in.Shards > maxShards:
		return Errorf(Invalid, "%d CRLs for one authority are too many; %d is the limit", in.Shards, maxShards)
	}
	return nil
}
