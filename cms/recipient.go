package cms

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
)

// Cipher is an algorithm that encrypts content.
type Cipher int

// The ciphers. CBC makes EnvelopedData, GCM AuthEnvelopedData (RFC 5084 §1.1).
const (
	AES128CBC Cipher = iota + 1
	AES192CBC
	AES256CBC
	AES128GCM
	AES192GCM
	AES256GCM
)

// Secret is a shared key-encryption key: AES, 16, 24 or 32 octets. It decrypts what was
// encrypted to a [KeyEncryption].
type Secret []byte

// String hides it.
func (Secret) String() string { return "[secret]" }

// GoString hides it.
func (Secret) GoString() string { return "[secret]" }

// Passphrase decrypts what was encrypted to a [Password].
type Passphrase []byte

// String hides it.
func (Passphrase) String() string { return "[passphrase]" }

// GoString hides it.
func (Passphrase) GoString() string { return "[passphrase]" }

// Recipient is one to whom content is encrypted: [KeyTransport], [KeyAgreement],
// [KeyEncryption] or [Password].
type Recipient interface {
	seal(key []byte) (info []byte, err error) // the RecipientInfo that carries the key
}

// KeyTransport encrypts the content key to an RSA key (RFC 5652 §6.2.1).
type KeyTransport struct {
	Certificate *x509.Certificate // names the recipient by issuer and serial; nil: KeyID and Key do
	KeyID       []byte            // set: names the recipient even if there is a Certificate
	Key         crypto.PublicKey  // *rsa.PublicKey; nil: the Certificate's
	OAEP        crypto.Hash       // RSAES-OAEP with this hash and MGF1 with the same (RFC 4055 §4.1); 0: PKCS#1 v1.5
}

// KeyAgreement encrypts the content key to a key of an elliptic curve, with an ephemeral
// key of ours (RFC 5753 §3.1, RFC 8418).
type KeyAgreement struct {
	Certificate *x509.Certificate
	KeyID       []byte
	Key         crypto.PublicKey // *ecdsa.PublicKey or *ecdh.PublicKey: P-256, P-384, P-521, X25519; nil: the Certificate's
	Hash        crypto.Hash      // of the X9.63 key derivation: SHA-256, SHA-384 or SHA-512; 0: fits the curve
	Wrap        int              // bits of the AES key wrap: 128, 192 or 256; 0: as the content key, at most 256
}

// KeyEncryption encrypts the content key with a key that both sides have (RFC 5652 §6.2.3).
type KeyEncryption struct {
	ID  []byte // keyIdentifier
	Key Secret
}

// Password encrypts the content key with a key from a password (RFC 5652 §6.2.4): PBKDF2
// with HMAC-SHA-256 and the wrapping of RFC 3211 §2.3.
type Password struct {
	Passphrase Passphrase
	Iterations int // 0: 600000
}

// Plain is content to be encrypted.
type Plain struct {
	Type    asn1.ObjectIdentifier // of Content
	Content []byte
	Cipher  Cipher // 0: AES256CBC
}

// RecipientKind is the sort of a RecipientInfo.
type RecipientKind string

// The kinds of recipients.
const (
	ByKeyTransport  RecipientKind = "ktri"
	ByKeyAgreement  RecipientKind = "kari"
	ByKeyEncryption RecipientKind = "kekri"
	ByPassword      RecipientKind = "pwri"
	ByOther         RecipientKind = "ori" // also one that is well formed and not understood
)

// RecipientInfo is one way to the content's key. A kari's encrypted keys are one each.
type RecipientInfo struct {
	Kind      RecipientKind
	Issuer    []byte // DER Name, with Serial; or
	Serial    *big.Int
	KeyID     []byte    // subjectKeyIdentifier, or a kekri's keyIdentifier
	Algorithm Algorithm // keyEncryptionAlgorithm

	encrypted  []byte    // the encrypted key
	originator []byte    // kari: OriginatorPublicKey, DER
	ukm        []byte    // kari: the octets of the user keying material
	derivation Algorithm // pwri
}

// Enveloped is a read EnvelopedData or AuthEnvelopedData.
type Enveloped struct {
	Type       asn1.ObjectIdentifier // of the content within
	Cipher     Cipher                // 0: one that is not had; Algorithm names it
	Algorithm  Algorithm             // contentEncryptionAlgorithm
	Recipients []RecipientInfo

	encrypted []byte
	tag       []byte // AuthEnvelopedData's mac
	attached  []byte // AuthEnvelopedData's authAttrs, DER with the tag SET
}

// Authentic is content to be authenticated.
type Authentic struct {
	Type    asn1.ObjectIdentifier
	Content []byte
	Hash    crypto.Hash // of HMAC and digest: SHA-256, SHA-384, SHA-512; 0: SHA-256
	Extra   []Attribute // authenticated attributes besides content-type and message-digest
}

// Authenticated is a read AuthenticatedData (RFC 5652 §9.1).
type Authenticated struct {
	Type            asn1.ObjectIdentifier
	Content         []byte // nil: absent
	MAC             Algorithm
	Digest          Algorithm // zero: absent, the content itself is authenticated
	Recipients      []RecipientInfo
	Attributes      []Attribute // authAttrs
	Unauthenticated []Attribute // unauthAttrs

	attributes []byte // authAttrs, DER with the tag SET
	code       []byte
}

// Capabilities is the list of algorithms that someone can use, best first
// (SMIMECapabilities, RFC 8551 §2.5.2).
type Capabilities []Algorithm

// Suite is a choice of algorithms from a recipient's [Capabilities].
type Suite struct {
	Cipher Cipher
	OAEP   crypto.Hash // for [KeyTransport]
	Hash   crypto.Hash // for [KeyAgreement]
	Wrap   int         // for [KeyAgreement]
}
