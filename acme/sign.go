package acme

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
)

// Header is what a signer puts into the protected header besides the algorithm.
type Header struct {
	// Nonce is left out when empty, as in an inner JWS (RFC 8555 §7.3.5).
	Nonce string
	// URL MUST be the exact string that the server gave (RFC 8555 §6.4).
	URL string
	// KeyID is the account's URL; when it is empty the public key is embedded instead.
	KeyID string
}

// protectedHeader and flattened are the wire forms.
type protectedHeader struct {
	Alg   string `json:"alg"`
	JWK   *Key   `json:"jwk,omitempty"`
	KeyID string `json:"kid,omitempty"`
	Nonce string `json:"nonce,omitempty"`
	URL   string `json:"url"`
}

type flattened struct {
	Protected string `json:"protected"`
	Payload   string `json:"payload"`
	Signature string `json:"signature"`
}

// Sign makes a request body: the flattened JWS over payload (RFC 8555 §6.2). An empty
// payload makes a POST-as-GET (§6.3). The algorithm follows from the key.
func Sign(signer crypto.Signer, header Header, payload []byte) ([]byte, error) {
	if signer == nil {
		return nil, errors.New("acme: signing a request needs a key")
	}
	key, err := NewKey(signer.Public())
	if err != nil {
		return nil, err
	}
	h := protectedHeader{Alg: key.Algorithm(), KeyID: header.KeyID, Nonce: header.Nonce, URL: header.URL}
	if h.KeyID == "" {
		h.JWK = key
	}
	return seal(h, payload, func(signed []byte) ([]byte, error) {
		return signRaw(signer, key, signed)
	})
}

// ExternalAccount is what a CA hands out for an external account binding
// (RFC 8555 §7.3.4). Its String and LogValue never show the key.
type ExternalAccount struct {
	KeyID string
	Key   []byte `json:"-"`
	// Algorithm is HS256 (if empty), HS384 or HS512.
	Algorithm string
}

// String shows everything but the key.
func (e ExternalAccount) String() string {
	return fmt.Sprintf("external account %q, key of %d octets", e.KeyID, len(e.Key))
}

// GoString is String, for %#v.
func (e ExternalAccount) GoString() string { return e.String() }

// LogValue is String.
func (e ExternalAccount) LogValue() slog.Value { return slog.StringValue(e.String()) }

// SignMAC makes the value of "externalAccountBinding": accountKey, authenticated with
// the external account's key, for a newAccount request to url.
func SignMAC(external ExternalAccount, url string, accountKey *Key) (json.RawMessage, error) {
	alg := external.Algorithm
	if alg == "" {
		alg = HS256
	}
	newHash := macHash(alg)
	switch {
	case newHash == nil:
		return nil, fmt.Errorf("acme: an external account binding cannot use %q; use HS256, HS384 or HS512", alg)
	case external.KeyID == "" || len(external.Key) == 0:
		return nil, errors.New("acme: an external account binding needs the key id and the key that the CA gave out")
	case accountKey == nil:
		return nil, errors.New("acme: an external account binding needs the account's public key")
	}
	payload, err := accountKey.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return seal(protectedHeader{Alg: alg, KeyID: external.KeyID, URL: url}, payload,
		func(signed []byte) ([]byte, error) { return mac(newHash, external.Key, signed), nil })
}

func seal(h protectedHeader, payload []byte, sign func([]byte) ([]byte, error)) ([]byte, error) {
	if h.URL == "" {
		return nil, errors.New("acme: a request must be signed for a URL (RFC 8555 §6.4.1)")
	}
	head, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	out := flattened{Protected: encode64(head), Payload: encode64(payload)}
	signature, err := sign([]byte(out.Protected + "." + out.Payload))
	if err != nil {
		return nil, err
	}
	out.Signature = encode64(signature)
	return json.Marshal(out)
}

func signRaw(signer crypto.Signer, key *Key, signed []byte) ([]byte, error) {
	switch pub := key.public.(type) {
	case ed25519.PublicKey:
		return signer.Sign(rand.Reader, signed, crypto.Hash(0))
	case *ecdsa.PublicKey:
		hash := map[string]crypto.Hash{ES256: crypto.SHA256, ES384: crypto.SHA384, ES512: crypto.SHA512}[key.algorithm]
		der, err := signer.Sign(rand.Reader, curveDigest(pub.Curve, signed), hash)
		if err != nil {
			return nil, err
		}
		return joinECDSA(der, (pub.Curve.Params().BitSize+7)/8)
	default: // RSA; NewKey let nothing else through
		sum := sha256.Sum256(signed)
		return signer.Sign(rand.Reader, sum[:], crypto.SHA256)
	}
}

// joinECDSA turns the DER signature of a crypto.Signer into R || S (RFC 7518 §3.4).
func joinECDSA(der []byte, size int) ([]byte, error) {
	var rs struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &rs)
	if err != nil || len(rest) != 0 || rs.R.Sign() <= 0 || rs.S.Sign() <= 0 ||
		rs.R.BitLen() > 8*size || rs.S.BitLen() > 8*size {
		return nil, errors.New("acme: the key's signer returned something that is no ECDSA signature")
	}
	out := make([]byte, 2*size)
	rs.R.FillBytes(out[:size])
	rs.S.FillBytes(out[size:])
	return out, nil
}
