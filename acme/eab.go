package acme

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"hash"
)

// The MAC algorithms of external account bindings (RFC 7518 §3.2).
const (
	HS256 = "HS256"
	HS384 = "HS384"
	HS512 = "HS512"
)

// MACJWS is a parsed external account binding (RFC 8555 §7.3.4). Nothing in it is
// proven before VerifyMAC has returned nil.
type MACJWS struct {
	// Algorithm is HS256, HS384 or HS512.
	Algorithm string
	// KeyID names the MAC key: what the customer got from the CA outside ACME.
	KeyID string
	// URL MUST be the same as the outer JWS's "url"; the caller compares.
	URL string
	// Key is the payload. It MUST be the outer JWS's "jwk"; the caller compares (Equal).
	Key *Key

	signed, signature []byte
}

// ParseMAC parses the value of "externalAccountBinding". RFC 8555 §7.3.4: "alg" MUST be
// a MAC algorithm, "kid" MUST be there, "nonce" MUST NOT, "url" MUST be there. Errors
// are *Problem of type malformed or badPublicKey.
func ParseMAC(raw json.RawMessage) (*MACJWS, error) {
	parts, err := splitJWS(raw)
	if err != nil {
		return nil, inBinding(err)
	}
	h, err := parseHeader(parts.header)
	if err != nil {
		return nil, inBinding(err)
	}
	switch {
	case macHash(h.alg) == nil:
		return nil, Malformed("the external account binding's \"alg\" is %q; use HS256, HS384 or HS512", h.alg)
	case h.nonce != "":
		return nil, Malformed("the external account binding must not have a nonce (RFC 8555 §7.3.4)")
	case h.kid == "" || h.jwk != nil:
		return nil, Malformed("the external account binding must name its key with \"kid\" and have no \"jwk\"")
	}
	key, err := ParseKey(parts.payload)
	if err != nil {
		return nil, inBinding(err)
	}
	return &MACJWS{Algorithm: h.alg, KeyID: h.kid, URL: h.url, Key: key,
		signed: parts.signed, signature: parts.signature}, nil
}

// inBinding says in a problem's detail which of the two JWS it is about.
func inBinding(err error) error {
	p := *AsProblem(err)
	p.Detail = "in externalAccountBinding: " + p.Detail
	return &p
}

// VerifyMAC checks the MAC in constant time. RFC 7518 §3.2: the key MUST be at least as
// long as the hash, so an empty or short key never verifies. The error is a *Problem of
// type unauthorized, and says nothing of the key.
func (m *MACJWS) VerifyMAC(key []byte) error {
	newHash := macHash(m.Algorithm)
	if newHash == nil || len(key) < newHash().Size() {
		return Unauthorized("the external account key is too short for %s; use HS256", m.Algorithm)
	}
	if !hmac.Equal(mac(newHash, key, m.signed), m.signature) {
		return Unauthorized("the external account binding does not verify; check that its key id and key belong together")
	}
	return nil
}

func macHash(alg string) func() hash.Hash {
	switch alg {
	case HS256:
		return sha256.New
	case HS384:
		return sha512.New384
	case HS512:
		return sha512.New
	}
	return nil
}

func mac(newHash func() hash.Hash, key, data []byte) []byte {
	h := hmac.New(newHash, key)
	h.Write(data)
	return h.Sum(nil)
}
