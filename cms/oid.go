package cms

import "encoding/asn1"

// Content types.
var (
	OIDData              = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}         // RFC 5652 §4
	OIDSignedData        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}         // RFC 5652 §5
	OIDEnvelopedData     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3}         // RFC 5652 §6
	OIDAuthenticatedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 2}  // RFC 5652 §9
	OIDAuthEnvelopedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 23} // RFC 5083
	OIDPKIData           = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 12, 2}         // RFC 5272 §3.2
	OIDPKIResponse       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 12, 3}         // RFC 5272 §4
	OIDKeyPackage        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 2, 1, 2, 78, 5} // RFC 5958 §2
	OIDTrustAnchorList   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 34} // RFC 5914 §4
)

// Attributes that this package sets and checks by itself.
var (
	OIDContentType       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}  // RFC 5652 §11.1
	OIDMessageDigest     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}  // RFC 5652 §11.2
	OIDSigningTime       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}  // RFC 5652 §11.3
	OIDSMIMECapabilities = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 15} // RFC 8551 §2.5.2
)

// Algorithms that callers name.
var (
	OIDNoSignature = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 6, 2} // RFC 5272 App. C.1
)
