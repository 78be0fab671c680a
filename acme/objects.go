package acme

import (
	"encoding/json"
	"time"
)

// Directory tells where things are (RFC 8555 §7.1.1). newAuthz is there only if the
// server offers pre-authorisation; renewalInfo is RFC 9773 §4's.
type Directory struct {
	NewNonce    string `json:"newNonce"`
	NewAccount  string `json:"newAccount"`
	NewOrder    string `json:"newOrder"`
	NewAuthz    string `json:"newAuthz,omitempty"`
	RevokeCert  string `json:"revokeCert"`
	KeyChange   string `json:"keyChange"`
	RenewalInfo string `json:"renewalInfo,omitempty"`
	Meta        *Meta  `json:"meta,omitempty"`
}

// Meta describes the service (RFC 8555 §7.1.1).
type Meta struct {
	TermsOfService string   `json:"termsOfService,omitempty"`
	Website        string   `json:"website,omitempty"`
	CAAIdentities  []string `json:"caaIdentities,omitempty"`
	// ExternalAccountRequired: every newAccount request MUST then have a binding.
	ExternalAccountRequired bool `json:"externalAccountRequired,omitempty"`
	// Profiles are the names that orders may ask for, each with its description or the
	// URL of one (draft-ietf-acme-profiles §3).
	Profiles map[string]string `json:"profiles,omitempty"`
}

// IdentifierType says what an identifier names (RFC 8555 §9.7.7).
type IdentifierType string

// The identifier types.
const (
	IdentifierDNS IdentifierType = "dns" // RFC 8555 §9.7.7
	IdentifierIP  IdentifierType = "ip"  // RFC 8738 §3
	// IdentifierPermanent names a device (draft-acme-device-attest §3).
	IdentifierPermanent IdentifierType = "permanent-identifier"
)

// Identifier is what a certificate is for. As received it proves and means nothing.
type Identifier struct {
	Type  IdentifierType `json:"type"`
	Value string         `json:"value"`
}

// AccountStatus is the state of an account (RFC 8555 §7.1.6).
type AccountStatus string

// The states of an account.
const (
	AccountValid       AccountStatus = "valid"
	AccountDeactivated AccountStatus = "deactivated" // by its owner
	AccountRevoked     AccountStatus = "revoked"     // by the server
)

// Account is RFC 8555 §7.1.2's object.
type Account struct {
	// URL is the account's name and the "kid" of its requests; it travels as Location.
	URL                    string          `json:"-"`
	Status                 AccountStatus   `json:"status"`
	Contact                []string        `json:"contact,omitempty"`
	TermsOfServiceAgreed   bool            `json:"termsOfServiceAgreed,omitempty"`
	ExternalAccountBinding json.RawMessage `json:"externalAccountBinding,omitempty"`
	// Orders is required by RFC 8555 §7.1.2, yet widely missing.
	Orders string `json:"orders,omitempty"`
}

// OrdersList is one page of an account's orders (RFC 8555 §7.1.2.1). The server SHOULD
// include pending orders and SHOULD NOT include invalid ones.
type OrdersList struct {
	Orders []string `json:"orders"`
}

// OrderStatus is the state of an order (RFC 8555 §7.1.6).
type OrderStatus string

// The states of an order.
const (
	OrderPending    OrderStatus = "pending"
	OrderReady      OrderStatus = "ready"
	OrderProcessing OrderStatus = "processing"
	OrderValid      OrderStatus = "valid"
	OrderInvalid    OrderStatus = "invalid"
)

// Order is RFC 8555 §7.1.3's object.
type Order struct {
	// URL travels as Location.
	URL    string      `json:"-"`
	Status OrderStatus `json:"status"`
	// Expires is REQUIRED when the order is pending or valid.
	Expires     time.Time    `json:"expires,omitzero"`
	Identifiers []Identifier `json:"identifiers"`
	NotBefore   time.Time    `json:"notBefore,omitzero"`
	NotAfter    time.Time    `json:"notAfter,omitzero"`
	// Profile is the one the certificate will have (draft-ietf-acme-profiles §4).
	Profile string `json:"profile,omitempty"`
	// Replaces is the CertID of a certificate (RFC 9773 §5).
	Replaces string   `json:"replaces,omitempty"`
	Error    *Problem `json:"error,omitempty"`
	// Authorizations: §7.1.3: a client MUST complete them before the order is ready.
	Authorizations []string `json:"authorizations"`
	Finalize       string   `json:"finalize"`
	Certificate    string   `json:"certificate,omitempty"`
	// RetryAfter is the server's wish for the next look at the order; not JSON.
	RetryAfter time.Duration `json:"-"`
}

// AuthorizationStatus is the state of an authorisation (RFC 8555 §7.1.6).
type AuthorizationStatus string

// The states of an authorisation.
const (
	AuthorizationPending     AuthorizationStatus = "pending"
	AuthorizationValid       AuthorizationStatus = "valid"
	AuthorizationInvalid     AuthorizationStatus = "invalid"
	AuthorizationDeactivated AuthorizationStatus = "deactivated"
	AuthorizationExpired     AuthorizationStatus = "expired"
	AuthorizationRevoked     AuthorizationStatus = "revoked"
)

// Authorization is RFC 8555 §7.1.4's object.
type Authorization struct {
	URL string `json:"-"`
	// Identifier has no "*.": a wildcard's base domain MUST be given here (§7.1.3) and
	// Wildcard be true (§7.1.4: MUST be present and true, otherwise absent).
	Identifier Identifier          `json:"identifier"`
	Status     AuthorizationStatus `json:"status"`
	// Expires is REQUIRED when the status is valid.
	Expires    time.Time   `json:"expires,omitzero"`
	Challenges []Challenge `json:"challenges"`
	Wildcard   bool        `json:"wildcard,omitempty"`
	// RetryAfter is the server's wish for the next look; not JSON.
	RetryAfter time.Duration `json:"-"`
}

// ChallengeStatus is the state of a challenge (RFC 8555 §7.1.6).
type ChallengeStatus string

// The states of a challenge.
const (
	ChallengePending    ChallengeStatus = "pending"
	ChallengeProcessing ChallengeStatus = "processing"
	ChallengeValid      ChallengeStatus = "valid"
	ChallengeInvalid    ChallengeStatus = "invalid"
)

// ChallengeType names a way to prove control (RFC 8555 §9.7.8).
type ChallengeType string

// The challenge types.
const (
	ChallengeHTTP01         ChallengeType = "http-01"          // RFC 8555 §8.3
	ChallengeDNS01          ChallengeType = "dns-01"           // RFC 8555 §8.4
	ChallengeTLSALPN01      ChallengeType = "tls-alpn-01"      // RFC 8737 §3
	ChallengeDeviceAttest01 ChallengeType = "device-attest-01" // draft-acme-device-attest §5
	// ChallengeDNSPersist01 is met by a lasting record (draft-ietf-acme-dns-persist).
	ChallengeDNSPersist01 ChallengeType = "dns-persist-01"
)

// Challenge is RFC 8555 §8's object, with the token that all types but dns-persist-01
// have and the two members that it has instead.
type Challenge struct {
	Type   ChallengeType   `json:"type"`
	URL    string          `json:"url"`
	Status ChallengeStatus `json:"status"`
	// Validated is REQUIRED when the status is valid.
	Validated time.Time `json:"validated,omitzero"`
	// Error is why the last attempt failed; the server MAY try again.
	Error *Problem `json:"error,omitempty"`
	// Token MUST have at least 128 bits of entropy, base64url only (§8.3, §8.4).
	Token string `json:"token,omitempty"`
	// IssuerDomainNames are the names of which a dns-persist-01 record must hold one:
	// 1 to 10, in lower case, without a final dot (draft-ietf-acme-dns-persist,
	// "Challenge Object"). As received they are what the server claims to be.
	IssuerDomainNames []string `json:"issuer-domain-names,omitempty"`
	// AccountURI is the account that a dns-persist-01 record must name; servers of
	// earlier drafts leave it out.
	AccountURI string `json:"accounturi,omitempty"`
	// RetryAfter is the server's wish for the next look; not JSON.
	RetryAfter time.Duration `json:"-"`
}

// RenewalInfo says when to renew a certificate (RFC 9773 §4.2).
type RenewalInfo struct {
	SuggestedWindow Window `json:"suggestedWindow"`
	// ExplanationURL is for people: clients SHOULD show it.
	ExplanationURL string `json:"explanationURL,omitempty"`
	// RetryAfter is when to ask again; not JSON. RFC 9773 §4.3.
	RetryAfter time.Duration `json:"-"`
}

// Window is a span of time. RFC 9773 §4.2: End MUST be after Start; a window in the
// past means: now.
type Window struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}
