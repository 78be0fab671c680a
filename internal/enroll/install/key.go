package install

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// KeyTypes gives the kinds of keys that NewKey makes, the recommended one first.
func KeyTypes() []string {
	return []string{"ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072", "rsa-4096", "ed25519"}
}

// KeyTypeError says that there is no such kind of key.
type KeyTypeError struct{ Type string }

// Error lists the kinds.
func (e *KeyTypeError) Error() string {
	return fmt.Sprintf("%.40q is no kind of key: choose one of %s", e.Type, strings.Join(KeyTypes(), ", "))
}

// CheckKeyType tells whether NewKey makes this kind. "" is the recommended one.
func CheckKeyType(keyType string) error {
	if keyType == "" {
		return nil
	}
	for _, known := range KeyTypes() {
		if keyType == known {
			return nil
		}
	}
	return &KeyTypeError{keyType}
}

// NewKey makes a key of one of KeyTypes; "" is the first.
func NewKey(keyType string) (crypto.Signer, error) {
	switch keyType {
	case "", "ecdsa-p256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ecdsa-p384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "rsa-2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "rsa-3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "rsa-4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, &KeyTypeError{keyType}
}

// KeyType says of what kind a public key is; "" for one that NewKey would not make.
func KeyType(public crypto.PublicKey) string {
	var name string
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		name = "ecdsa-" + strings.ToLower(strings.ReplaceAll(public.Curve.Params().Name, "-", ""))
	case *rsa.PublicKey:
		name = fmt.Sprintf("rsa-%d", public.N.BitLen())
	case ed25519.PublicKey:
		name = "ed25519"
	}
	if name == "" || CheckKeyType(name) != nil {
		return ""
	}
	return name
}

// EncodeKey gives a private key as PKCS#8 PEM (RFC 5958). Of a key that stays where it is, in
// a token or a TPM, it gives what the key has for files in its place.
func EncodeKey(key crypto.Signer) ([]byte, error) {
	if inside, stays := key.(interface{ EncodeKey() []byte }); stays {
		return inside.EncodeKey(), nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("this key cannot be written to a file: %w", err)
	}
	defer clear(der)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseKey reads a private key from PEM: PKCS#8, PKCS#1 or SEC 1, so that keys of
// other clients can be taken over. Its errors quote nothing of the key.
func ParseKey(text []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("the private key is encrypted: decrypt it first, as with \"openssl pkey\"")
		default: // EC PARAMETERS, certificates beside the key
			continue
		}
		signer, ok := key.(crypto.Signer)
		if err != nil || !ok {
			return nil, errors.New("it is not a private key that can sign")
		}
		return signer, nil
	}
	return nil, errors.New("there is no private key in PEM form")
}

// EncodeCertificates gives certificates as PEM, one after the other.
func EncodeCertificates(chain ...*x509.Certificate) []byte {
	var text []byte
	for _, c := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

// ParseCertificates reads all certificates from PEM, skipping what else is there.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("there is no certificate in PEM form")
	}
	return chain, nil
}
