package desk

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"chancery/internal/admin"
	"chancery/internal/ca"
)

// Certificate is a record of the ledger as an administrator sees it.
type Certificate struct {
	Serial    ca.Serial `json:"serial"`
	State     string    `json:"state"` // valid, expired, revoked, pending
	Profile   string    `json:"profile"`
	Names     []string  `json:"names"` // "dns:www.corp.example"
	Subject   string    `json:"subject"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Room      string    `json:"room"` // by which way it was asked for: acme, admin, …
	By        string    `json:"by"`   // who asked, in that room's words
	Request   string    `json:"request"`
	Issuer    string    `json:"issuer"` // id, see ca.list
	Asked     time.Time `json:"asked"`
	Issued    time.Time `json:"issued,omitzero"`
	Revoked   time.Time `json:"revoked,omitzero"`
	Reason    string    `json:"reason,omitempty"`
}

// Search is the input of cert.list; empty fields select everything.
type Search struct {
	Name    string    `json:"name,omitempty"` // exactly this name: "www.corp.example", "ip:10.0.0.1"
	Profile string    `json:"profile,omitempty"`
	Account string    `json:"account,omitempty"` // id of an ACME account
	Issuer  string    `json:"issuer,omitempty"`
	State   string    `json:"state,omitempty"`  // valid, expired, revoked, pending
	Before  time.Time `json:"before,omitzero"`  // ends before
	Cursor  string    `json:"cursor,omitempty"` // of the page before this one
	Limit   int       `json:"limit,omitempty"`  // 0: 100; at most 1000
}

// Found is the output of cert.list, newest first.
type Found struct {
	Certificates []Certificate `json:"certificates"`
	Next         string        `json:"next,omitempty"` // the cursor of the next page; "": there is none
}

const usualLimit, mostLimit = 100, 1000

func (d *Desk) listCertificates(ctx context.Context, _ admin.Caller, in Search) (Found, error) {
	q := ca.Query{Profile: in.Profile, Issuer: in.Issuer, State: in.State, Before: in.Before, Now: d.Clock(), Cursor: in.Cursor, Limit: in.Limit}
	switch {
	case in.Limit < 0 || in.Limit > mostLimit:
		return Found{}, ca.Errorf(ca.Invalid, "the limit is 1 to %d; page on with the cursor", mostLimit)
	case in.Limit == 0:
		q.Limit = usualLimit
	}
	if in.Name != "" {
		var err error
		if q.Name, err = ParseName(in.Name); err != nil {
			return Found{}, err
		}
	}
	if in.Account != "" {
		q.By = ca.Principal{Room: "acme", ID: in.Account[strings.LastIndexByte(in.Account, '/')+1:]}
	}
	records, next, err := d.Listing.List(ctx, q)
	if err != nil {
		return Found{}, err
	}
	out := Found{Certificates: []Certificate{}, Next: next}
	for i := range records {
		out.Certificates = append(out.Certificates, certificateShown(&records[i], q.Now))
	}
	return out, nil
}

// ParseName reads a name as people write it: with its type in front
// ("dns:www.corp.example") or without, when it can be told from its form.
func ParseName(text string) (ca.Identifier, error) {
	kind, value, typed := strings.Cut(text, ":")
	switch ca.IdentifierType(kind) {
	case ca.TypeDNS, ca.TypeIP, ca.TypeEmail, ca.TypeURI, ca.TypePermanentID, ca.TypeHardwareModule:
		if typed {
			return ca.ParseIdentifier(kind, value)
		}
	}
	_, err := netip.ParseAddr(text)
	switch {
	case err == nil:
		return ca.IP(text)
	case strings.Contains(text, "://"):
		return ca.URI(text)
	case strings.Contains(text, "@"):
		return ca.Email(text)
	}
	return ca.DNS(text)
}

func certificateShown(r *ca.Record, now time.Time) Certificate {
	c := Certificate{
		Serial: r.Serial, State: stateOf(r, now), Profile: r.Profile, Names: []string{}, Subject: r.Subject,
		NotBefore: r.NotBefore, NotAfter: r.NotAfter, Room: r.By.Room, By: r.By.ID, Request: r.Request,
		Issuer: r.Issuer, Asked: r.IntendedAt, Issued: r.SettledAt, Revoked: r.RevokedAt,
	}
	for _, name := range r.Names {
		c.Names = append(c.Names, name.String())
	}
	if !r.RevokedAt.IsZero() {
		c.Reason = r.Reason.String()
	}
	return c
}

func stateOf(r *ca.Record, now time.Time) string {
	switch {
	case !r.RevokedAt.IsZero():
		return "revoked"
	case !r.Settled():
		return "pending"
	case now.After(r.NotAfter):
		return "expired"
	}
	return "valid"
}

// Which is the input of cert.show: one of them.
type Which struct {
	Serial      string `json:"serial,omitempty"`
	Certificate []byte `json:"certificate,omitempty"` // PEM or DER
}

// Whole is the output of cert.show: all that is known of one certificate.
type Whole struct {
	Certificate
	Authority string   `json:"authority,omitempty"` // the issuer's subject
	Details   *Details `json:"details,omitempty"`   // nil while it is pending
	PEM       string   `json:"pem,omitempty"`
	Chain     string   `json:"chain,omitempty"` // PEM, the certificate first, without the root
}

// Details are what the certificate itself says.
type Details struct {
	Fingerprint  string   `json:"sha256"`
	Key          string   `json:"key"`
	Signature    string   `json:"signature"`
	SubjectKeyID string   `json:"subject_key_id,omitempty"`
	CRLs         []string `json:"crls,omitempty"`
	OCSP         []string `json:"ocsp,omitempty"`
	Issuers      []string `json:"issuers,omitempty"` // where the issuer's certificate is
}

func (d *Desk) showCertificate(ctx context.Context, _ admin.Caller, in Which) (Whole, error) {
	record, err := d.find(ctx, in)
	if err != nil {
		return Whole{}, err
	}
	return d.whole(&record)
}

// find reads whichever way the certificate was named.
func (d *Desk) find(ctx context.Context, in Which) (ca.Record, error) {
	if (in.Serial == "") == (len(in.Certificate) == 0) {
		return ca.Record{}, ca.Errorf(ca.Invalid, "say which certificate: by its serial or by itself, one of the two")
	}
	if in.Serial != "" {
		serial, err := ca.ParseSerial(in.Serial)
		if err != nil {
			return ca.Record{}, err
		}
		return d.bySerial(ctx, serial)
	}
	certs, err := parseChain(in.Certificate)
	if err != nil {
		return ca.Record{}, err
	}
	record, err := d.bySerial(ctx, ca.SerialOf(certs[0].SerialNumber))
	if err == nil && record.Settled() && !bytes.Equal(record.DER, certs[0].Raw) {
		return ca.Record{}, ca.Errorf(ca.NotFound, "this certificate was not issued here; one with the same serial %s was", record.Serial)
	}
	return record, err
}

func (d *Desk) bySerial(ctx context.Context, serial ca.Serial) (ca.Record, error) {
	record, err := d.Ledger.BySerial(ctx, serial)
	if ca.KindOf(err) == ca.NotFound {
		return record, d.absent(ctx, serial)
	}
	return record, err
}

// absent says what is known of a serial of which there is no certificate here:
// an imported authority may have revoked it before.
func (d *Desk) absent(ctx context.Context, serial ca.Serial) error {
	var known []string
	for _, issuer := range d.Authority.Issuers().List() {
		e, err := d.Authority.Revocations.ImportedRevocation(ctx, issuer.ID, serial)
		switch {
		case err == nil:
			known = append(known, fmt.Sprintf("%s (%s) had revoked one with that serial at %s, %s, before it was imported",
				issuer.Name, issuer.Certificate().Subject, e.At.UTC().Format(time.RFC3339), e.Reason))
		case ca.KindOf(err) != ca.NotFound:
			return err
		}
	}
	if len(known) > 0 {
		return ca.Errorf(ca.NotFound, "no certificate with the serial %s was issued here, but %s; nothing else is known of it", serial, strings.Join(known, ", and "))
	}
	return ca.Errorf(ca.NotFound, "no certificate with the serial %s was issued here; see: chancery cert list", serial)
}

func (d *Desk) whole(r *ca.Record) (Whole, error) {
	w := Whole{Certificate: certificateShown(r, d.Clock())}
	if issuer := d.Authority.Issuers().ByID(r.Issuer); issuer != nil {
		w.Authority = issuer.Certificate().Subject.String()
	}
	if !r.Settled() {
		return w, nil
	}
	cert, err := x509.ParseCertificate(r.DER)
	if err != nil {
		return Whole{}, err
	}
	w.PEM = encodePEM(r.DER)
	w.Chain = w.PEM
	if chains := d.Authority.Issuers().Chains(r.Issuer, d.Clock()); len(chains) > 0 {
		for _, above := range chains[0].Certificates {
			w.Chain += encodePEM(above.Raw)
		}
	}
	w.Details = &Details{
		Fingerprint: Fingerprint(r.DER), Key: KeyKind(cert.PublicKey), Signature: cert.SignatureAlgorithm.String(),
		SubjectKeyID: hex.EncodeToString(cert.SubjectKeyId),
		CRLs:         cert.CRLDistributionPoints, OCSP: cert.OCSPServer, Issuers: cert.IssuingCertificateURL,
	}
	return w, nil
}

// Revoking is the input of cert.revoke.
type Revoking struct {
	Which
	Reason string `json:"reason,omitempty"` // RFC 5280 §5.3.1's word or number; "": unspecified
}

func (d *Desk) revoke(ctx context.Context, caller admin.Caller, in Revoking) (Certificate, error) {
	reason, err := ca.ParseReason(in.Reason)
	if err != nil {
		return Certificate{}, err
	}
	record, err := d.find(ctx, in.Which)
	if err != nil {
		return Certificate{}, err
	}
	record, err = d.Authority.Revoke(ctx, ca.Revocation{Serial: record.Serial, Reason: reason, By: by(caller)})
	if err != nil {
		return Certificate{}, err
	}
	return certificateShown(&record, d.Clock()), nil
}
