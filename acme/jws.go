package acme

import (
	"fmt"
	"slices"
)

// MaxRequest is the most octets that ParseJWS reads: room for an order with a hundred
// long names, or its CSR.
const MaxRequest = 128 << 10

// The signature algorithms of requests (RFC 7518 §3.1, RFC 8037 §3.1).
const (
	ES256 = "ES256"
	ES384 = "ES384"
	ES512 = "ES512"
	RS256 = "RS256"
	EdDSA = "EdDSA"
)

// Algorithms returns the "alg" values that ParseJWS accepts, in order of preference.
// RFC 8555 §6.2: ES256 MUST, EdDSA with Ed25519 SHOULD be implemented; "none" and MAC
// algorithms MUST NOT be accepted.
func Algorithms() []string { return []string{ES256, EdDSA, ES384, ES512, RS256} }

// JWS is a parsed request. Nothing in it is proven before Verify has returned nil.
type JWS struct {
	// Algorithm is the "alg" of the protected header, one of Algorithms.
	Algorithm string
	// Nonce is the anti-replay value (RFC 8555 §6.5.2); empty in an inner JWS only.
	Nonce string
	// URL is what the client says it posts to. RFC 8555 §6.4: the server MUST compare it
	// to the request's URL and refuse a difference as unauthorized.
	URL string
	// KeyID is the account's URL, empty when the request carries its key.
	KeyID string
	// JWK is the key that the request carries, nil when it names an account.
	JWK *Key
	// Payload is the decoded payload, empty (never nil) for POST-as-GET (RFC 8555 §6.3).
	Payload []byte

	signed    []byte // protected "." payload, as signed (RFC 7515 §5.1)
	signature []byte
}

// PostAsGet says whether the request only reads (RFC 8555 §6.3).
func (j *JWS) PostAsGet() bool { return len(j.Payload) == 0 }

// ParseJWS parses the body of an ACME request. RFC 8555 §6.2: the flattened JSON
// serialisation with one signature, everything in the protected header, which names
// alg, nonce, url and either jwk or kid. Errors are *Problem: malformed, badNonce when
// there is none, badSignatureAlgorithm, badPublicKey.
func ParseJWS(body []byte) (*JWS, error) {
	j, err := parseSigned(body)
	if err != nil {
		return nil, err
	}
	if j.Nonce == "" {
		return nil, NewProblem(TypeBadNonce, "the JWS has no nonce; take one from newNonce and send it in the protected header")
	}
	return j, nil
}

// ParseInnerJWS parses the inner JWS of a key change, which is the payload of the
// outer one. RFC 8555 §7.3.5: it MUST have a "jwk", the same "url" as the outer JWS
// (which the caller compares), and MUST omit the nonce.
func ParseInnerJWS(payload []byte) (*JWS, error) {
	j, err := parseSigned(payload)
	switch {
	case err != nil:
		return nil, err
	case j.JWK == nil:
		return nil, Malformed("the inner JWS must carry the new key as \"jwk\" (RFC 8555 §7.3.5)")
	case j.Nonce != "":
		return nil, Malformed("the inner JWS must not have a nonce (RFC 8555 §7.3.5)")
	}
	return j, nil
}

func parseSigned(body []byte) (*JWS, error) {
	parts, err := splitJWS(body)
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(parts.header)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(Algorithms(), h.alg) {
		return nil, BadSignatureAlgorithm(h.alg)
	}
	if (h.kid == "") == (h.jwk == nil) {
		// RFC 8555 §6.2: mutually exclusive; servers MUST reject requests with both.
		return nil, Malformed("the protected header must have exactly one of \"jwk\" and \"kid\"")
	}
	j := &JWS{Algorithm: h.alg, Nonce: h.nonce, URL: h.url, KeyID: h.kid,
		Payload: parts.payload, signed: parts.signed, signature: parts.signature}
	if h.jwk != nil {
		if j.JWK, err = ParseKey(h.jwk); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// jwsParts are the three decoded members of a flattened JWS.
type jwsParts struct {
	header, payload, signature []byte
	signed                     []byte
}

func splitJWS(body []byte) (*jwsParts, error) {
	if len(body) > MaxRequest {
		return nil, Malformed("the request has %d octets; at most %d are read", len(body), MaxRequest)
	}
	var p jwsParts
	var protected, payload []byte
	err := eachMember(body, func(name string, value []byte) (err error) {
		switch name {
		case "protected":
			p.header, err = unquote64(value)
			protected = value
		case "payload":
			p.payload, err = unquote64(value)
			payload = value
		case "signature":
			p.signature, err = unquote64(value)
		case "header", "signatures":
			// RFC 8555 §6.2: no unprotected header, no multiple signatures.
			return fmt.Errorf("has %q, which ACME forbids", name)
			// Any other member means nothing and MUST be ignored (RFC 7515 §7.2.1).
		}
		if err != nil {
			return fmt.Errorf("has a member %q that %w", name, err)
		}
		return nil
	})
	if err != nil {
		return nil, Malformed("the JWS %v", err)
	}
	switch {
	case len(p.header) == 0:
		return nil, Malformed("the JWS has no \"protected\" header")
	case p.payload == nil:
		return nil, Malformed("the JWS has no \"payload\"; it may be empty but not absent (RFC 8555 §6.2, §6.3)")
	case len(p.signature) == 0:
		return nil, Malformed("the JWS has no \"signature\"")
	}
	p.signed = make([]byte, 0, len(protected)+len(payload))
	p.signed = append(p.signed, protected[1:len(protected)-1]...)
	p.signed = append(p.signed, '.')
	p.signed = append(p.signed, payload[1:len(payload)-1]...)
	return &p, nil
}

// jwsHeader is the protected header. Members that are not listed are ignored, as
// RFC 7515 §4 says, unless "crit" makes them matter.
type jwsHeader struct {
	alg, nonce, url, kid string
	jwk                  []byte // raw
}

func parseHeader(data []byte) (*jwsHeader, error) {
	var h jwsHeader
	err := eachMember(data, func(name string, value []byte) (err error) {
		switch name {
		case "alg":
			h.alg, err = requiredString(value)
		case "nonce":
			h.nonce, err = nonceString(value)
		case "url":
			h.url, err = requiredString(value)
		case "kid":
			h.kid, err = requiredString(value)
		case "jwk":
			h.jwk = value
		case "crit":
			// RFC 7515 §4.1.11: what is not understood MUST be refused; we know no extension.
			return fmt.Errorf("has \"crit\": %.80s, of which nothing is supported", value)
		case "b64":
			// RFC 8555 §6.2: the unencoded payload option (RFC 7797) MUST NOT be used.
			return fmt.Errorf("has \"b64\", which ACME forbids")
		}
		if err != nil {
			return fmt.Errorf("has a member %q that %w", name, err)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, Malformed("the protected header %v", err)
	case h.alg == "":
		return nil, Malformed("the protected header has no \"alg\"")
	case h.url == "":
		return nil, Malformed("the protected header has no \"url\" (RFC 8555 §6.4.1)")
	}
	return &h, nil
}

func requiredString(raw []byte) (string, error) {
	s, err := unquote(raw)
	if err == nil && s == "" {
		err = fmt.Errorf("is empty")
	}
	return s, err
}

// nonceString checks what RFC 8555 §6.5.2 demands: a nonce that is not base64url MUST
// be rejected as malformed.
func nonceString(raw []byte) (string, error) {
	s, err := requiredString(raw)
	if err != nil {
		return "", err
	}
	_, err = decode64([]byte(s))
	return s, err
}
