package ca

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Reason is a CRLReason (RFC 5280 §5.3.1).
type Reason int

// The reasons a leaf can be revoked for. 7 is unused; 8 (removeFromCRL) is a
// delta CRL's; 9 and 10 are kept for an administrator.
const (
	Unspecified          Reason = 0
	KeyCompromise        Reason = 1
	CACompromise         Reason = 2
	AffiliationChanged   Reason = 3
	Superseded           Reason = 4
	CessationOfOperation Reason = 5
	CertificateHold      Reason = 6
	PrivilegeWithdrawn   Reason = 9
	AACompromise         Reason = 10
)

var reasonNames = map[Reason]string{
	Unspecified: "unspecified", KeyCompromise: "keyCompromise", CACompromise: "cACompromise",
	AffiliationChanged: "affiliationChanged", Superseded: "superseded", CessationOfOperation: "cessationOfOperation",
	CertificateHold: "certificateHold", PrivilegeWithdrawn: "privilegeWithdrawn", AACompromise: "aACompromise",
}

// String gives the name that RFC 5280 uses.
func (r Reason) String() string {
	if name, ok := reasonNames[r]; ok {
		return name
	}
	return fmt.Sprintf("reason %d", int(r))
}

// ParseReason reads a reason by RFC 5280's name, in any case, or by number.
func ParseReason(text string) (Reason, error) {
	if text == "" {
		return Unspecified, nil
	}
	for r, name := range reasonNames {
		if strings.EqualFold(text, name) || text == fmt.Sprint(int(r)) {
			return r, nil
		}
	}
	return 0, Errorf(Invalid, "the reason %q is not known; use keyCompromise, superseded, cessationOfOperation, affiliationChanged, privilegeWithdrawn or unspecified", clip(text))
}

// Revocation asks for one certificate to be revoked.
type Revocation struct {
	Serial Serial
	Reason Reason
	By     Principal
	At     time.Time
	Once   *Once
	Event  Event // the core fills it in
}

// RevokedEntry is a line of a CRL.
type RevokedEntry struct {
	Serial Serial
	At     time.Time
	Reason Reason
}

// CRLRecord is the newest CRL of a shard, and the counts that tell whether it
// still says everything: Noted grows with each revocation, in its transaction;
// Built is what Noted was when the CRL was made.
type CRLRecord struct {
	Issuer     string
	Shard      int
	Number     int64 // 0: none was made yet
	After      int64 // of one to be saved: the number of the CRL that it follows
	ThisUpdate time.Time
	NextUpdate time.Time
	DER        []byte
	Noted      int64
	Built      int64
}

// Revocations keeps what was revoked.
type Revocations interface {
	// Revoke marks the certificate, notes it for its CRL, blocks its key when the
	// reason is keyCompromise, and gives the record. A certificate that is
	// revoked already is kind [Revoked], except that keyCompromise replaces any
	// other reason (the date stays).
	Revoke(ctx context.Context, r Revocation) (Record, error)
	// KeyBlocked tells whether certificates with the key may not be issued.
	KeyBlocked(ctx context.Context, keyHash []byte) (bool, error)
	// Revoked calls each for every revoked certificate of the CRL's issuer and
	// shard that ends after the given time.
	Revoked(ctx context.Context, of CRLRecord, after time.Time, each func(RevokedEntry) error) error
	// ImportedRevocation gives what an imported authority revoked before it came
	// here, kind [NotFound] when it is not among that. Revoked gives these too.
	ImportedRevocation(ctx context.Context, issuer string, serial Serial) (RevokedEntry, error)
	// CRL gives the newest CRL of the shard; Number is 0 before the first.
	CRL(ctx context.Context, issuer string, shard int) (CRLRecord, error)
	// SaveCRL stores a CRL if the stored one's number is r.After; otherwise
	// another process was quicker: kind [Conflict].
	SaveCRL(ctx context.Context, r CRLRecord, e Event) error
}

// Revoke revokes a certificate. The room has checked that By may. It is in
// effect when Revoke returns: OCSP answers from the ledger, and the next CRL
// has it.
func (a *Authority) Revoke(ctx context.Context, r Revocation) (Record, error) {
	if _, known := reasonNames[r.Reason]; !known || r.Reason == CertificateHold {
		return Record{}, Errorf(Invalid, "the reason %s cannot be used for a revocation here; use keyCompromise, superseded, cessationOfOperation, affiliationChanged, privilegeWithdrawn or unspecified", r.Reason)
	}
	record, err := a.Ledger.BySerial(ctx, r.Serial)
	if err != nil {
		return Record{}, err
	}
	if r.At.IsZero() {
		r.At = a.Clock()
	}
	if !record.NotAfter.After(r.At) {
		return Record{}, Errorf(Denied, "the certificate ended at %s; there is nothing left to revoke", record.NotAfter.UTC().Format(time.RFC3339))
	}
	if i := a.Issuers().byKeyHash(record.KeyHash); i != nil && i.State == Active && record.Profile == authorityProfile {
		return Record{}, Errorf(Denied, "this is the certificate of the active authority %s, which would go on signing; roll it over first: chancery ca rollover %s", i.Name, i.Name)
	}
	r.Event = r.By.Event(r.At, "certificate.revoked", string(r.Serial))
	r.Event.Detail = map[string]string{"reason": r.Reason.String()}
	record, err = a.Revocations.Revoke(ctx, r)
	if err == nil {
		a.Logger.InfoContext(ctx, "revoked a certificate", "serial", r.Serial, "reason", r.Reason.String(), "by", r.By.String())
	}
	return record, err
}
