package main

import (
	"bytes"
	"crypto"
	"errors"

	"chancery/internal/enroll/install"

	"github.com/go-jose/go-jose/v4"
)

// parseAccountKey reads the private key of another client's account: PEM in any of the
// usual forms, or a JWK (RFC 7517). Its errors quote nothing of it.
func parseAccountKey(text []byte) (crypto.Signer, error) {
	if text = bytes.TrimSpace(text); !bytes.HasPrefix(text, []byte("{")) {
		return install.ParseKey(text)
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(text); err != nil || !key.Valid() {
		return nil, errors.New("it is neither a private key in PEM nor a JWK")
	}
	signer, ok := key.Key.(crypto.Signer)
	if !ok {
		return nil, errors.New("it is not a private key that can sign")
	}
	return signer, nil
}
