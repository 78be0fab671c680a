package estserver

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"

	"chancery/cms"
	"chancery/est"
	"chancery/internal/ca"
)

// seal gives the key's part of the answer (RFC 7030 §4.4.2): PrivateKeyInfo as it is,
// or an AsymmetricKeyPackage signed by who made it, and that encrypted (RFC 5958 §4).
func (sh *shelter) seal(key *madeKey) (est.Part, error) {
	if sh.recipient == nil {
		return est.Part{Media: est.Media{Type: est.PKCS8}, Body: append([]byte{}, key.pkcs8...)}, nil
	}
	pack, err := cms.MarshalKeyPackage(key.pkcs8)
	if err != nil {
		return est.Part{}, fmt.Errorf("packing a made key: %w", err)
	}
	defer clear(pack)
	content := cms.SignedContent{Type: cms.OIDKeyPackage, Content: pack}
	for _, cert := range sh.signer.Chain {
		content.Certificates = append(content.Certificates, cert.Raw)
	}
	signed, err := cms.Sign(content, cms.Signing{Key: sh.signer.Key, Certificate: sh.signer.Chain[0]})
	if err != nil {
		return est.Part{}, fmt.Errorf("signing a made key: %w", err)
	}
	defer clear(signed)
	info, err := cms.ParseContentInfo(signed)
	if err != nil {
		return est.Part{}, fmt.Errorf("signing a made key: %w", err)
	}
	defer clear(info.Content)
	// The content of the type id-signedData is a SignedData, not a ContentInfo around it
	// (RFC 5652 §6.1).
	enveloped, err := cms.Encrypt(cms.Plain{Type: cms.OIDSignedData, Content: info.Content, Cipher: sh.cipher}, sh.recipient)
	if err != nil {
		return est.Part{}, fmt.Errorf("encrypting a made key: %w", err)
	}
	return est.Part{Media: est.Media{Type: est.PKCS7Mime, SMIMEType: est.ServerGeneratedKey}, Body: enveloped}, nil
}

// archived gives the copy of a key that is kept: its PrivateKeyInfo, encrypted to the
// archive's certificate.
func archived(key *madeKey, to *x509.Certificate) ([]byte, error) {
	var recipient cms.Recipient
	switch to.PublicKey.(type) {
	case *rsa.PublicKey:
		recipient = cms.KeyTransport{Certificate: to, OAEP: crypto.SHA256}
	case *ecdsa.PublicKey, *ecdh.PublicKey:
		recipient = cms.KeyAgreement{Certificate: to}
	default:
		return nil, ca.Errorf(ca.Unavailable, "the archive of made keys has a certificate to whose key nothing can be encrypted; its administrators must give it an RSA or EC one")
	}
	enveloped, err := cms.Encrypt(cms.Plain{Type: cms.OIDData, Content: key.pkcs8, Cipher: cms.AES256CBC}, recipient)
	if err != nil {
		return nil, fmt.Errorf("encrypting a made key for the archive: %w", err)
	}
	return enveloped, nil
}
