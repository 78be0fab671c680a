package ca

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strconv"
	"time"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// RefreshCRLs makes a new CRL for every shard that needs one: none yet, a
// revocation since, or older than CRLRefresh. It gives how many were made;
// replicas may run it at once, one of them wins.
func (a *Authority) RefreshCRLs(ctx context.Context) (int, error) {
	made := 0
	var errs []error
	for _, issuer := range a.Issuers().all {
		if issuer.signer == nil || a.Clock().After(issuer.cert.NotAfter) {
			continue
		}
		for shard := range max(issuer.Shards, 1) {
			fresh, err := a.refreshCRL(ctx, issuer, shard)
			if err != nil {
				errs = append(errs, err)
			}
			if fresh {
				made++
			}
		}
	}
	return made, errors.Join(errs...)
}

func (a *Authority) refreshCRL(ctx context.Context, issuer *Issuer, shard int) (bool, error) {
	now := a.Clock()
	last, err := a.Revocations.CRL(ctx, issuer.ID, shard)
	if err != nil {
		return false, err
	}
	if last.Number > 0 && last.Noted == last.Built && now.Before(last.ThisUpdate.Add(a.CRLRefresh)) {
		return false, nil
	}
	// An entry may go once a CRL issued after the certificate's end has had it
	// (RFC 5280 §3.3); a CRL's life past the end is more than enough.
	var entries []x509.RevocationListEntry
	err = a.Revocations.Revoked(ctx, last, now.Add(-a.CRLLife), func(e RevokedEntry) error {
		entries = append(entries, x509.RevocationListEntry{SerialNumber: e.Serial.Int(), RevocationTime: e.At.UTC(), ReasonCode: int(e.Reason)})
		return nil
	})
	if err != nil {
		return false, err
	}
	next := CRLRecord{
		Issuer: issuer.ID, Shard: shard, After: last.Number,
		// Numbers must grow (RFC 5280 §5.2.3) even if a database is restored that
		// has forgotten the last ones.
		Number:     max(last.Number+1, now.Unix()),
		ThisUpdate: now.UTC().Truncate(time.Second), NextUpdate: now.Add(a.CRLLife).UTC().Truncate(time.Second),
		Noted: last.Noted, Built: last.Noted,
	}
	warrant, err := a.prepareCRL(issuer, next, entries)
	if err != nil {
		return false, err
	}
	if next.DER, err = issuer.sign(warrant); err != nil {
		return false, err
	}
	event := coreItself.Event(now, "crl.signed", issuer.ID)
	event.Detail = map[string]string{"shard": strconv.Itoa(shard), "number": strconv.FormatInt(next.Number, 10), "entries": strconv.Itoa(len(entries))}
	err = a.Revocations.SaveCRL(ctx, next, event)
	if KindOf(err) == Conflict {
		return false, nil
	}
	return err == nil, err
}

// prepareCRL encodes and lints a CRL under the throw-away key.
func (a *Authority) prepareCRL(issuer *Issuer, next CRLRecord, entries []x509.RevocationListEntry) (*Warrant, error) {
	practice, err := issuer.practice()
	if err != nil {
		return nil, err
	}
	list := &x509.RevocationList{
		SignatureAlgorithm: issuer.algorithm, RevokedCertificateEntries: entries,
		Number: big.NewInt(next.Number), ThisUpdate: next.ThisUpdate, NextUpdate: next.NextUpdate,
	}
	if issuer.Shards > 1 {
		point, err := distributionPoint(issuer.CRLURL(next.Shard))
		if err != nil {
			return nil, err
		}
		list.ExtraExtensions = []pkix.Extension{point}
	}
	parent := *issuer.cert
	parent.PublicKey = practice.Public()
	der, err := x509.CreateRevocationList(rand.Reader, list, &parent, practice)
	if err != nil {
		return nil, Errorf(Internal, "the CRL of issuer %s cannot be encoded", issuer.Name).because(err)
	}
	findings, err := a.crlSet.CRL(der)
	if err := pass(findings, err); err != nil {
		return nil, err
	}
	encoded, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, Errorf(Internal, "the CRL of issuer %s cannot be read back", issuer.Name).because(err)
	}
	return &Warrant{tbs: encoded.RawTBSRevocationList, issuer: issuer.ID}, nil
}

// distributionPoint is the critical extension that says of which certificates
// a partial CRL speaks: those that point to the same URL (RFC 5280 §5.2.5).
func distributionPoint(url string) (pkix.Extension, error) {
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(contextTag(0).Constructed(), func(b *cryptobyte.Builder) { // distributionPoint
			b.AddASN1(contextTag(0).Constructed(), func(b *cryptobyte.Builder) { // fullName
				b.AddASN1(contextTag(tagURI), func(b *cryptobyte.Builder) { b.AddBytes([]byte(url)) })
			})
		})
	})
	value, err := b.Bytes()
	return pkix.Extension{Id: []int{2, 5, 29, 28}, Critical: true, Value: value}, err
}
