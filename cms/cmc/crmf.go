package cmc

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"time"

	"chancery/cms"
)

// CertReqMsg is a certificate request message (RFC 4211 §3).
type CertReqMsg struct {
	Request CertRequest
	POP     *POP                    // nil: absent
	RegInfo []AttributeTypeAndValue // nil: absent; never in CMC (RFC 5272 §3.2.1.2.2)
}

// CertRequest is what is asked for (RFC 4211 §5).
type CertRequest struct {
	ID       BodyPartID // certReqId: in CMC the body part's id
	Template CertTemplate
	Controls []AttributeTypeAndValue // nil: absent
}

// AttributeTypeAndValue is a control or registration info of CRMF (RFC 4211 §6, §7).
type AttributeTypeAndValue struct {
	Type  asn1.ObjectIdentifier
	Value []byte // DER
}

// CertTemplate holds the fields of the certificate that the asker cares for
// (RFC 4211 §5). What is nil is absent.
type CertTemplate struct {
	Version      *int // 2 if at all
	SerialNumber *big.Int
	SigningAlg   *cms.Algorithm
	Issuer       []byte // DER of a Name
	Validity     *Validity
	Subject      []byte // DER of a Name; empty, it is 30 00
	PublicKey    []byte // DER of a SubjectPublicKeyInfo
	IssuerUID    *asn1.BitString
	SubjectUID   *asn1.BitString
	Extensions   []pkix.Extension // not nil but empty: an empty list
}

// Validity is the life that is asked for; a zero time is absent, not both are
// (OptionalValidity, RFC 4211 §5).
type Validity struct{ NotBefore, NotAfter time.Time }

// POP is a proof of possession (RFC 4211 §4): exactly one arm is set.
type POP struct {
	RAVerified      bool
	Signature       *POPSignature
	KeyEncipherment *POPPrivKey
	KeyAgreement    *POPPrivKey
}

// POPSignature proves a key that can sign (POPOSigningKey, RFC 4211 §4.1).
type POPSignature struct {
	Input     *SigningKeyInput // nil: the CertRequest is what is signed; never set in CMC
	Algorithm cms.Algorithm
	Signature []byte
}

// SigningKeyInput is signed in the place of a CertRequest without name or key
// (POPOSigningKeyInput, RFC 4211 §4.1). Sender or MAC is set.
type SigningKeyInput struct {
	Sender    []byte    // DER of a GeneralName
	MAC       *MACValue // over PublicKey
	PublicKey []byte    // DER of a SubjectPublicKeyInfo
}

// MACValue is a PKMACValue (RFC 4211 §4.1).
type MACValue struct {
	Algorithm cms.Algorithm
	Value     []byte
}

// POPPrivKey proves a key that cannot sign (POPOPrivKey, RFC 4211 §4.2): exactly
// one arm is set.
type POPPrivKey struct {
	ThisMessage  *asn1.BitString // deprecated
	Subsequent   *Subsequent
	DHMAC        *asn1.BitString // deprecated
	AgreeMAC     *MACValue
	EncryptedKey []byte // DER of an EnvelopedData, without ContentInfo
}

// Subsequent is the message by which possession is going to be proved (RFC 4211 §4.2).
type Subsequent int

// The messages there are. CMC knows only the challenge (RFC 5272 §3.2.1.2.2).
const (
	EncryptedCertificate Subsequent = 0
	ChallengeResponse    Subsequent = 1
)
