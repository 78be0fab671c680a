package cmc

import "encoding/asn1"

func control(n int) asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 7, n} }

// Controls, id-cmc (RFC 5272 §6, RFC 6402 §2.2). RFC 6402's second module swaps 33 and
// 34; RFC 5272, RFC 6402's first module and those who implement it do not.
var (
	OIDStatusInfo            = control(1)
	OIDIdentification        = control(2)
	OIDIdentityProof         = control(3)
	OIDDataReturn            = control(4)
	OIDTransactionID         = control(5)
	OIDSenderNonce           = control(6)
	OIDRecipientNonce        = control(7)
	OIDAddExtensions         = control(8)
	OIDEncryptedPOP          = control(9)
	OIDDecryptedPOP          = control(10)
	OIDLRAPOPWitness         = control(11)
	OIDGetCert               = control(15)
	OIDGetCRL                = control(16)
	OIDRevokeRequest         = control(17)
	OIDRegInfo               = control(18)
	OIDResponseInfo          = control(19)
	OIDQueryPending          = control(21)
	OIDPOPLinkRandom         = control(22)
	OIDPOPLinkWitness        = control(23)
	OIDConfirmCertAcceptance = control(24)
	OIDStatusInfoV2          = control(25)
	OIDTrustedAnchors        = control(26)
	OIDAuthData              = control(27)
	OIDBatchRequests         = control(28)
	OIDBatchResponses        = control(29)
	OIDPublishCert           = control(30)
	OIDModCertTemplate       = control(31)
	OIDControlProcessed      = control(32)
	OIDPOPLinkWitnessV2      = control(33)
	OIDIdentityProofV2       = control(34)
	OIDRAIdentityWitness     = control(35)
	OIDChangeSubjectName     = control(36) // an attribute of requests (RFC 6402 §2.8)
	OIDResponseBody          = control(37)
)

// Attributes and algorithms.
var (
	OIDUnsignedData     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 34} // RFC 5272 §3.2.3
	OIDExtensionRequest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}        // RFC 2985 §5.4.2
	OIDPasswordMAC      = asn1.ObjectIdentifier{1, 2, 840, 113533, 7, 66, 13}       // RFC 4211 §4.4
)

// Controls of CRMF's own (RFC 4211 §6, §7). RFC 5274 §4.3 says which of them CMC has no
// use for.
var (
	OIDRegToken        = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 5, 1, 1}
	OIDAuthenticator   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 5, 1, 2}
	OIDPublicationInfo = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 5, 1, 3}
	OIDArchiveOptions  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 5, 1, 4}
	OIDOldCertID       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 5, 1, 5}
	OIDProtocolEncrKey = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 5, 1, 6}
)
