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
// certificate from elsewhere.
type Imported struct {
	By        Principal
	Line      string              // the line it joins, as its active issuer
	Key       string              // the key's name in the store
	Chain     []*x509.Certificate // its certificate first, then those above it, a root last if there is one
	Shards    int
	StatusURL string
	Revoked   []RevokedEntry // what it has revoked so far, for its CRLs
}

// Import takes an authority in. The certificates above it become known for
// chains; their keys stay where they are. An active issuer of the same line is
// retired.
func (a *Authority) Import(ctx context.Context, in Imported) (*Issuer, error) {
	if len(in.Chain) == 0 {
		return nil, Errorf(Invalid, "there is no certificate in what was given")
	}
	change := Change{Revoked: in.Revoked, RevokedUntil: in.Chain[0].NotAfter}
	for n, cert := range in.Chain {
		record, err := a.importRecord(in, n, cert)
		if err != nil {
			return nil, err
		}
		if a.Issuers().ByID(record.ID) == nil {
			change.Add = append(change.Add, record)
		} else if n == 0 {
			return nil, Errorf(Conflict, "the authority %s is here already", record.ID)
		}
	}
	signer, err := a.Keys.Load(ctx, in.Key)
	if err != nil {
		return nil, err
	}
	issuer, err := change.Add[0].open(signer)
	if err != nil {
		return nil, Errorf(Invalid, "the certificate is not for the key %s", in.Key).because(err)
	}
	for _, old := range a.Issuers().all {
		if old.Name == issuer.Name && old.State == Active {
			change.Retire = append(change.Retire, old.ID)
		}
	}
	change.Event = in.By.Event(a.Clock(), "authority.imported", issuer.ID)
	return issuer, a.establish(ctx, change)
}

// importRecord checks the n-th certificate of a chain and makes its record.
func (a *Authority) importRecord(in Imported, n int, cert *x509.Certificate) (IssuerRecord, error) {
	if !cert.IsCA || (cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0) {
		return IssuerRecord{}, Errorf(Invalid, "%q is not a certification authority's certificate (basicConstraints, keyUsage)", cert.Subject)
	}
	if !cert.NotAfter.After(a.Clock()) {
		return IssuerRecord{}, Errorf(Invalid, "the certificate of %q has ended", cert.Subject)
	}
	selfSigned := bytes.Equal(cert.RawSubject, cert.RawIssuer)
	above := cert
	if !selfSigned && n+1 < len(in.Chain) {
		above = in.Chain[n+1]
		if err := cert.CheckSignatureFrom(above); err != nil {
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
		ID: id, Name: in.Line, State: Active, Key: in.Key, Parent: parent, Root: selfSigned,
		Certs: [][]byte{slices.Clone(cert.Raw)}, Shards: max(in.Shards, 1), StatusURL: in.StatusURL, Created: a.Clock(),
	}
	if n > 0 {
		r.Name, r.Key, r.State = in.Line+"-above", "", Retired
	}
	return r, nil
}
