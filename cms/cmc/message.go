package cmc

import "encoding/asn1"

// Control is a TaggedAttribute (RFC 5272 §3.2.1.1): a control as it travels. An
// unknown one is no different from others until it is decoded.
type Control struct {
	ID     BodyPartID
	Type   asn1.ObjectIdentifier
	Values [][]byte // DER of each; the controls of this package have one
}

// PKIData is the content of a Full PKI Request (RFC 5272 §3.2.1).
type PKIData struct {
	Controls []Control
	Requests []Request
	CMS      []TaggedContentInfo
	Other    []OtherMsg
}

// PKIResponse is the content of a Full PKI Response (RFC 5272 §4.2.1).
type PKIResponse struct {
	Controls []Control
	CMS      []TaggedContentInfo
	Other    []OtherMsg
}

// Request is a TaggedRequest (RFC 5272 §3.2.1.2): exactly one of PKCS10, CRMF and
// Other is set.
type Request struct {
	ID     BodyPartID    // of a CRMF request: its certReqId
	PKCS10 []byte        // DER of a CertificationRequest, for others to read
	CRMF   *CertReqMsg   // RFC 4211
	Other  *OtherRequest // anything else, raw
}

// OtherRequest is what the orm arm of a TaggedRequest holds beside its id
// (RFC 5272 §3.2.1.2.3).
type OtherRequest struct {
	Type  asn1.ObjectIdentifier
	Value []byte // DER
}

// TaggedContentInfo is a nested CMS message (RFC 5272 §3.2.1.3).
type TaggedContentInfo struct {
	ID          BodyPartID
	ContentInfo []byte // DER
}

// OtherMsg is data that a control refers to (RFC 5272 §3.2.1.4).
type OtherMsg struct {
	ID    BodyPartID
	Type  asn1.ObjectIdentifier
	Value []byte // DER
}
