package est

import (
	"crypto"
	"crypto/x509"
)

// ParseServerKey reads a private key that a server made: PKCS#8 as RFC 7030 §4.4.2 has
// it and, as libest's server sends them under that name, PKCS#1 and SEC 1. An error
// quotes nothing of the key.
func ParseServerKey(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, fault(Unsupported, "the private key is of a kind that cannot sign")
		}
		return signer, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, malformed("the private key is neither PKCS#8 nor PKCS#1 nor SEC 1")
}
