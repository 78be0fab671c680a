package cms

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
)

// Algorithm is an AlgorithmIdentifier (RFC 5280 §4.1.1.2).
type Algorithm struct {
	OID        asn1.ObjectIdentifier
	Parameters []byte // DER; nil: absent
}

// Attribute is a type with its values (RFC 5652 §5.3); CSRs and CMC controls have the same
// shape.
type Attribute struct {
	Type   asn1.ObjectIdentifier
	Values [][]byte // each one whole DER value
}

// ContentInfo is the outermost layer of every message (RFC 5652 §3).
type ContentInfo struct {
	Type    asn1.ObjectIdentifier
	Content []byte // the one DER value within [0]
}

// Bag is a SignedData that nobody signed: the certs-only message of RFC 8551 §3.8, in which
// certificates and CRLs travel.
type Bag struct {
	Certificates [][]byte // DER, in the order of the message, which means nothing
	CRLs         [][]byte // DER
}

// SignedData is a read message (RFC 5652 §5.1).
type SignedData struct {
	Version      int
	Type         asn1.ObjectIdentifier // eContentType
	Content      []byte                // the octets within eContent; nil: absent, the signature is detached
	Certificates [][]byte              // X.509 certificates, DER; other choices are left out
	CRLs         [][]byte              // X.509 CRLs, DER; other choices are left out
	Signers      []Signer
}

// Signer is a SignerInfo (RFC 5652 §5.3). Either Issuer and Serial are set or KeyID is.
type Signer struct {
	Version   int
	Issuer    []byte // DER Name
	Serial    *big.Int
	KeyID     []byte // subjectKeyIdentifier
	Digest    Algorithm
	Signature Algorithm
	Value     []byte      // the signature's octets
	Signed    []Attribute // nil: there are none, the content itself is signed
	Unsigned  []Attribute

	signed []byte // signedAttrs, DER with the tag SET
}

// Verification is what [SignedData.VerifyWith] checks a signature with.
type Verification struct {
	Key     crypto.PublicKey // of crypto/rsa, crypto/ecdsa or crypto/ed25519
	Content []byte           // the detached content; looked at only if the message has none
	SHA1    bool             // SHA-1 counts, too (RFC 5274's demand); otherwise it is refused
}

// SignedContent is what [Sign] signs and encloses.
type SignedContent struct {
	Type         asn1.ObjectIdentifier
	Content      []byte // eContent's octets; nil: a bag without content
	Detached     bool   // sign Content, but leave it out of the message
	Certificates [][]byte
	CRLs         [][]byte
}

// Signing is one signature that [Sign] makes.
type Signing struct {
	Key         crypto.Signer     // RSA, ECDSA or Ed25519; nil with NoSignature
	Certificate *x509.Certificate // whose issuer and serial name the signer; nil: KeyID does
	KeyID       []byte            // set: names the signer even if there is a Certificate
	Hash        crypto.Hash       // 0: fits the key
	PSS         bool              // RSASSA-PSS instead of PKCS#1 v1.5 (RFC 4056)
	Extra       []Attribute       // signed attributes besides content-type and message-digest
	Unsigned    []Attribute
	NoSignature bool // id-alg-noSignature: a digest in a signature's place (RFC 5272 App. C.1)
}
