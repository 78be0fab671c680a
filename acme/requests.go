package acme

import (
	"encoding/json"
	"errors"
	"time"
)

// NewAccount is the payload of newAccount (RFC 8555 §7.3).
type NewAccount struct {
	Contact              []string `json:"contact,omitempty"`
	TermsOfServiceAgreed bool     `json:"termsOfServiceAgreed,omitempty"`
	// OnlyReturnExisting: the server MUST NOT create an account (§7.3.1).
	OnlyReturnExisting bool `json:"onlyReturnExisting,omitempty"`
	// ExternalAccountBinding is for ParseMAC (§7.3.4).
	ExternalAccountBinding json.RawMessage `json:"externalAccountBinding,omitempty"`
}

// AccountUpdate is the payload of a POST to an account (RFC 8555 §7.3.2, §7.3.6). A nil
// Contact leaves the contacts alone; an empty one removes them. The server MUST ignore
// updates to "orders", "termsOfServiceAgreed" and the binding, and any status but
// deactivated, so only these two are here.
type AccountUpdate struct {
	Status  AccountStatus `json:"status,omitempty"`
	Contact *[]string     `json:"contact,omitempty"`
}

// KeyChange is the payload of the inner JWS of a key change. RFC 8555 §7.3.5: Account
// MUST be the outer "kid" and OldKey the account's key.
type KeyChange struct {
	Account string `json:"account"`
	OldKey  *Key   `json:"oldKey"`
}

// NewOrder is the payload of newOrder (RFC 8555 §7.4).
type NewOrder struct {
	Identifiers []Identifier `json:"identifiers"`
	NotBefore   time.Time    `json:"notBefore,omitzero"`
	NotAfter    time.Time    `json:"notAfter,omitzero"`
	// Replaces is the CertID of the certificate that this one is to replace (RFC 9773 §5).
	Replaces string `json:"replaces,omitempty"`
	// Profile is one of the directory's (draft-ietf-acme-profiles §4).
	Profile string `json:"profile,omitempty"`
}

// NewAuthorization is the payload of newAuthz (RFC 8555 §7.4.1). Wildcards MUST NOT be
// asked for here.
type NewAuthorization struct {
	Identifier Identifier `json:"identifier"`
}

// AuthorizationUpdate is the payload of a POST to an authorisation; the one change that
// clients can make is to deactivate it (RFC 8555 §7.5.2).
type AuthorizationUpdate struct {
	Status AuthorizationStatus `json:"status"`
}

// ChallengeResponse is the payload of a POST to a challenge: {} for the challenges of
// RFC 8555 §8 and RFC 8737, the attestation object for device-attest-01. Servers MUST
// ignore members that the type of challenge does not define (§7.5.1), so for the former
// decode into a struct without fields.
type ChallengeResponse struct {
	AttObj Binary `json:"attObj,omitempty"`
	// Error is how a device tells that it could not attest.
	Error string `json:"error,omitempty"`
}

// Finalize is the payload of a POST to an order's finalize URL (RFC 8555 §7.4).
type Finalize struct {
	// CSR is PKCS#10 in DER.
	CSR Binary `json:"csr"`
}

// Revocation is the payload of revokeCert (RFC 8555 §7.6).
type Revocation struct {
	// Certificate is in DER.
	Certificate Binary `json:"certificate"`
	// Reason is a CRLReason of RFC 5280 §5.3.1; nil when none is given.
	Reason *int `json:"reason,omitempty"`
}

// Binary travels as base64url without padding (RFC 8555 §6.1).
type Binary []byte

// MarshalJSON encodes.
func (b Binary) MarshalJSON() ([]byte, error) { return []byte(`"` + encode64(b) + `"`), nil }

// UnmarshalJSON decodes strictly; PEM, padding and line ends are errors.
func (b *Binary) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	out, err := unquote64(data)
	if errors.Is(err, errBase64) {
		return Malformed("a binary field (CSR, certificate) %v; send DER, not PEM", err)
	}
	if err != nil {
		return Malformed("a binary field (CSR, certificate) %v", err)
	}
	*b = out
	return nil
}
