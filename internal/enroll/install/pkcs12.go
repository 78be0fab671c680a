package install

import (
	"crypto"
	"crypto/x509"
	"errors"
	"io/fs"
	"slices"

	"software.sslmate.com/src/go-pkcs12"

	"chancery/internal/durable"
	"chancery/internal/keys"
)

// pkcs12 encodes everything into one file (RFC 7292, RFC 9579 unless legacy).
func (t Target) pkcs12(b Bundle) ([]byte, error) {
	password, err := keys.ReadSecret(t.PKCS12Password)
	if err != nil {
		return nil, &TargetError{Path: t.PKCS12, Reason: "the password of the PKCS#12 file cannot be read", Err: err}
	}
	encoder := pkcs12.Modern2023
	if t.PKCS12Legacy {
		encoder = pkcs12.LegacyDES
	}
	data, err := encoder.Encode(b.Key, b.Chain[0], b.Chain[1:], password.Reveal())
	if err != nil {
		return nil, &TargetError{Path: t.PKCS12, Reason: "the PKCS#12 file cannot be made", Err: err}
	}
	return data, nil
}

// pkcs12Leaf gives the certificate in the file that is there, nil if there is none.
func (t Target) pkcs12Leaf() (*x509.Certificate, error) {
	data, err := read(t.PKCS12)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, durable.Explain(err, t.PKCS12)
	}
	password, err := keys.ReadSecret(t.PKCS12Password)
	if err != nil {
		return nil, &TargetError{Path: t.PKCS12, Reason: "the password of the PKCS#12 file cannot be read", Err: err}
	}
	_, leaf, _, err := pkcs12.DecodeChain(data, password.Reveal())
	if err != nil {
		return nil, &TargetError{Path: t.PKCS12, Reason: "is there and cannot be opened with the password given: move it away if it may be replaced", Err: err}
	}
	return leaf, nil
}

func (t Target) pkcs12Holds(b Bundle) bool {
	data, err := read(t.PKCS12)
	if err != nil {
		return false
	}
	password, err := keys.ReadSecret(t.PKCS12Password)
	if err != nil {
		return false
	}
	key, leaf, chain, err := pkcs12.DecodeChain(data, password.Reveal())
	if err != nil {
		return false
	}
	same := slices.EqualFunc(append([]*x509.Certificate{leaf}, chain...), b.Chain, func(a, b *x509.Certificate) bool { return a.Equal(b) })
	signer, ok := key.(crypto.Signer)
	return same && ok && Bundle{Key: signer, Chain: b.Chain}.Check() == nil
}
