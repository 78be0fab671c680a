package cmc

import (
	"encoding/asn1"
	"errors"
	"fmt"

	"chancery/cms"
)

// Wrapping says what goes around a PKIData or PKIResponse. By itself it is a SignedData
// that nobody signed, as revocation by a shared secret has it (RFC 5272 §6.11).
type Wrapping struct {
	Certificates [][]byte // DER, in the innermost SignedData
	CRLs         [][]byte // DER, there too
	Signers      []cms.Signing

	// Authenticate makes it an AuthenticatedData for this recipient instead, who shares a
	// secret: it should be one alone (RFC 5272 §8). Certificates and signers are not for it.
	Authenticate cms.Recipient

	// Encrypt puts an EnvelopedData for these around it (RFC 5272 §5, option 1).
	Encrypt []cms.Recipient
	Cipher  cms.Cipher // 0: AES256CBC

	// Outer signs the EnvelopedData once more (option 2).
	Outer []cms.Signing
}

// FullRequest is the Full PKI Request (RFC 5272 §3.2): a ContentInfo, DER.
func FullRequest(p *PKIData, w Wrapping) ([]byte, error) {
	der, err := p.Marshal()
	if err != nil {
		return nil, err
	}
	return w.around(cms.OIDPKIData, der)
}

// FullResponse is the Full PKI Response (RFC 5272 §4.2): a ContentInfo, DER.
func FullResponse(p *PKIResponse, w Wrapping) ([]byte, error) {
	der, err := p.Marshal()
	if err != nil {
		return nil, err
	}
	return w.around(cms.OIDPKIResponse, der)
}

func (w Wrapping) around(oid asn1.ObjectIdentifier, content []byte) (out []byte, err error) {
	switch {
	case w.Authenticate != nil && (w.Signers != nil || w.Certificates != nil || w.CRLs != nil):
		return nil, errors.New("cmc: an AuthenticatedData has neither signers nor certificates")
	case w.Authenticate != nil:
		out, err = cms.Authenticate(cms.Authentic{Type: oid, Content: content}, w.Authenticate)
	default:
		out, err = cms.Sign(cms.SignedContent{Type: oid, Content: content, Certificates: w.Certificates, CRLs: w.CRLs}, w.Signers...)
	}
	if err == nil && w.Encrypt != nil {
		out, err = w.encrypted(out)
	}
	if err == nil && w.Outer != nil {
		out, err = w.signedAgain(out)
	}
	if err != nil {
		return nil, fmt.Errorf("cmc: the message cannot be wrapped: %w", err)
	}
	return out, nil
}

// encrypted puts an EnvelopedData around what is within the ContentInfo.
func (w Wrapping) encrypted(in []byte) ([]byte, error) {
	inner, err := cms.ParseContentInfo(in)
	if err != nil {
		return nil, err
	}
	return cms.Encrypt(cms.Plain{Type: inner.Type, Content: inner.Content, Cipher: w.Cipher}, w.Encrypt...)
}

func (w Wrapping) signedAgain(in []byte) ([]byte, error) {
	inner, err := cms.ParseContentInfo(in)
	if err != nil {
		return nil, err
	}
	return cms.Sign(cms.SignedContent{Type: inner.Type, Content: inner.Content}, w.Outer...)
}
