package cmc

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"time"

	"chancery/cms"
)

// Identification is who says to be asking (RFC 5272 §6.2.3).
type Identification string

// IdentityProof is the proof of identity by SHA-1 (RFC 5272 §6.2.2).
type IdentityProof []byte

// IdentityProofV2 is the proof of identity (RFC 5272 §6.2.1).
type IdentityProofV2 struct {
	Hash, MAC cms.Algorithm
	Witness   []byte
}

// POPLinkRandom is what the witnesses of a message are made over (RFC 5272 §6.3.1.3).
type POPLinkRandom []byte

// POPLinkWitness is the witness by SHA-1 (RFC 5272 §6.3.1.2). It is an attribute of a
// certification request, not a control of a PKIData.
type POPLinkWitness []byte

// POPLinkWitnessV2 is the witness in a certification request that its asker is the
// one who proved an identity (RFC 5272 §6.3.1.1). It is an attribute of the request,
// not a control of a PKIData.
type POPLinkWitnessV2 struct {
	KeyGen, MAC cms.Algorithm
	Witness     []byte
}

// TransactionID holds together the messages of one transaction (RFC 5272 §6.6).
type TransactionID struct{ Number *big.Int }

// SenderNonce is new in each message (RFC 5272 §6.6).
type SenderNonce []byte

// RecipientNonce is the sender's nonce of the message that is answered (RFC 5272 §6.6).
type RecipientNonce []byte

// DataReturn is given back as it came (RFC 5272 §6.4).
type DataReturn []byte

// RegInfo is by agreement (RFC 5272 §6.12).
type RegInfo []byte

// ResponseInfo is by agreement (RFC 5272 §6.12).
type ResponseInfo []byte

// QueryPending asks again with the token of a PendInfo (RFC 5272 §6.13).
type QueryPending []byte

// ConfirmCertAcceptance accepts a certificate that was issued (RFC 5272 §6.14).
type ConfirmCertAcceptance struct {
	Issuer []byte // DER of a Name
	Serial *big.Int
}

// RevokeRequest asks for a revocation (RFC 5272 §6.11).
type RevokeRequest struct {
	Issuer         []byte // DER of a Name
	Serial         *big.Int
	Reason         int       // a CRLReason
	InvalidityDate time.Time // zero: absent
	Secret         Secret    // nil: absent; it is the registered secret itself
	Comment        string    // "": absent

	emptyComment bool // present, yet empty
}

// GetCert asks for a certificate (RFC 5272 §6.9).
type GetCert struct {
	Issuer []byte // DER of a GeneralName
	Serial *big.Int
}

// GetCRL asks for a CRL (RFC 5272 §6.10).
type GetCRL struct {
	Issuer  []byte          // DER of a Name
	CRLName []byte          // DER of a GeneralName; nil: absent
	Time    time.Time       // zero: the newest
	Reasons *asn1.BitString // ReasonFlags; nil: absent
}

// PublishTrustAnchors says what to trust from now on (RFC 5272 §6.15).
type PublishTrustAnchors struct {
	Sequence *big.Int // seqNumber: higher than any before
	Hash     cms.Algorithm
	Hashes   [][]byte // of the certificates' DER
}

// AuthData points to the AuthenticatedData in cmsSequence (RFC 5272 §6.16).
type AuthData BodyPartID

// EncryptedPOP is the challenge to a key that cannot sign (RFC 5272 §6.7).
type EncryptedPOP struct {
	Request Request
	CMS     []byte // DER of a ContentInfo: EnvelopedData over the proof value
	POP     cms.Algorithm
	Hash    cms.Algorithm // witnessAlgID
	Witness []byte
}

// DecryptedPOP is the answer to an EncryptedPOP (RFC 5272 §6.7).
type DecryptedPOP struct {
	Part      BodyPartID // the request in the message that this stands in
	Algorithm cms.Algorithm
	POP       []byte
}

// BatchRequests lists the parts of cmsSequence that are requests (RFC 5272 §6.17).
type BatchRequests []BodyPartID

// BatchResponses lists the parts of cmsSequence that are responses (RFC 5272 §6.17).
type BatchResponses []BodyPartID

// LRAPOPWitness is an RA's word that possession was proved to it (RFC 5272 §6.8).
type LRAPOPWitness struct {
	PKIData BodyPartID // part of cmsSequence, or Current
	Bodies  []BodyPartID
}

// RAIdentityWitness is an RA's word that identity was proved to it (RFC 6402 §2.5).
type RAIdentityWitness Path

// ResponseBody points to a response that has to be processed (RFC 6402 §2.6).
type ResponseBody Path

// ModCertTemplate is an RA's change of what is asked for (RFC 5272 §6.5.1).
type ModCertTemplate struct {
	PKIData  Path
	Requests []BodyPartID // at least one
	Delete   bool         // replace FALSE: the template's fields are taken away
	Template CertTemplate
}

// AddExtensions is an RA's older way to add extensions (RFC 5272 §6.5.2).
type AddExtensions struct {
	PKIData    BodyPartID // part of cmsSequence, or Current
	Requests   []BodyPartID
	Extensions []pkix.Extension
}

// ControlProcessed lists controls that an RA has seen to (RFC 5272 §6.19).
type ControlProcessed []Reference

// PublishCert changes the publication of certificates (RFC 5272 §6.18).
type PublishCert struct {
	Hash    cms.Algorithm
	Hashes  [][]byte // of the certificates' DER
	Publish bool     // false: dontPublish
	Infos   []PublicationInfo
}

// PublicationInfo is where to publish (SinglePubInfo, RFC 4211 §6.3).
type PublicationInfo struct {
	Method   int    // 0 anywhere, 1 X.500, 2 web, 3 LDAP
	Location []byte // DER of a GeneralName; nil: absent
}
