package cmc

import (
	"encoding/asn1"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// OID is id-cmc-identification.
func (Identification) OID() asn1.ObjectIdentifier { return OIDIdentification }

// OID is id-cmc-identityProof.
func (IdentityProof) OID() asn1.ObjectIdentifier { return OIDIdentityProof }

// OID is id-cmc-identityProofV2.
func (IdentityProofV2) OID() asn1.ObjectIdentifier { return OIDIdentityProofV2 }

// OID is id-cmc-popLinkRandom.
func (POPLinkRandom) OID() asn1.ObjectIdentifier { return OIDPOPLinkRandom }

// OID is id-cmc-popLinkWitness.
func (POPLinkWitness) OID() asn1.ObjectIdentifier { return OIDPOPLinkWitness }

// OID is id-cmc-popLinkWitnessV2.
func (POPLinkWitnessV2) OID() asn1.ObjectIdentifier { return OIDPOPLinkWitnessV2 }

// OID is id-cmc-transactionId.
func (TransactionID) OID() asn1.ObjectIdentifier { return OIDTransactionID }

// OID is id-cmc-senderNonce.
func (SenderNonce) OID() asn1.ObjectIdentifier { return OIDSenderNonce }

// OID is id-cmc-recipientNonce.
func (RecipientNonce) OID() asn1.ObjectIdentifier { return OIDRecipientNonce }

// OID is id-cmc-dataReturn.
func (DataReturn) OID() asn1.ObjectIdentifier { return OIDDataReturn }

// OID is id-cmc-regInfo.
func (RegInfo) OID() asn1.ObjectIdentifier { return OIDRegInfo }

// OID is id-cmc-responseInfo.
func (ResponseInfo) OID() asn1.ObjectIdentifier { return OIDResponseInfo }

// OID is id-cmc-queryPending.
func (QueryPending) OID() asn1.ObjectIdentifier { return OIDQueryPending }

// OID is id-cmc-authData.
func (AuthData) OID() asn1.ObjectIdentifier { return OIDAuthData }

// OID is id-cmc-batchRequests.
func (BatchRequests) OID() asn1.ObjectIdentifier { return OIDBatchRequests }

// OID is id-cmc-batchResponses.
func (BatchResponses) OID() asn1.ObjectIdentifier { return OIDBatchResponses }

// OID is id-cmc-raIdentityWitness.
func (RAIdentityWitness) OID() asn1.ObjectIdentifier { return OIDRAIdentityWitness }

// OID is id-cmc-responseBody.
func (ResponseBody) OID() asn1.ObjectIdentifier { return OIDResponseBody }

func (v Identification) write(b builder)    { b.text(string(v), "identification") }
func (v IdentityProof) write(b builder)     { b.AddASN1OctetString(v) }
func (v POPLinkRandom) write(b builder)     { b.AddASN1OctetString(v) }
func (v POPLinkWitness) write(b builder)    { b.AddASN1OctetString(v) }
func (v TransactionID) write(b builder)     { b.integer(v.Number, "transactionId") }
func (v SenderNonce) write(b builder)       { b.AddASN1OctetString(v) }
func (v RecipientNonce) write(b builder)    { b.AddASN1OctetString(v) }
func (v DataReturn) write(b builder)        { b.AddASN1OctetString(v) }
func (v RegInfo) write(b builder)           { b.AddASN1OctetString(v) }
func (v ResponseInfo) write(b builder)      { b.AddASN1OctetString(v) }
func (v QueryPending) write(b builder)      { b.AddASN1OctetString(v) }
func (v AuthData) write(b builder)          { b.bodyPart(BodyPartID(v)) }
func (v BatchRequests) write(b builder)     { b.bodyParts(v, some("batchRequests")) }
func (v BatchResponses) write(b builder)    { b.bodyParts(v, some("batchResponses")) }
func (v RAIdentityWitness) write(b builder) { b.path(Path(v), "raIdentityWitness") }
func (v ResponseBody) write(b builder)      { b.path(Path(v), "responseBody") }

func (v IdentityProofV2) write(b builder) {
	b.sequence(func(b builder) {
		b.algorithm(v.Hash, tags.SEQUENCE)
		b.algorithm(v.MAC, tags.SEQUENCE)
		b.AddASN1OctetString(v.Witness)
	})
}

func (v POPLinkWitnessV2) write(b builder) {
	IdentityProofV2{Hash: v.KeyGen, MAC: v.MAC, Witness: v.Witness}.write(b)
}

func readIdentityProof(r *reader) (v IdentityProofV2) {
	r.sub(tags.SEQUENCE, "proof", func(r *reader) {
		v.Hash = r.algorithm(tags.SEQUENCE, "hash algorithm")
		v.MAC = r.algorithm(tags.SEQUENCE, "MAC algorithm")
		v.Witness = r.octets("witness")
	})
	return v
}

func readWitness(r *reader) POPLinkWitnessV2 {
	v := readIdentityProof(r) // the same syntax
	return POPLinkWitnessV2{KeyGen: v.Hash, MAC: v.MAC, Witness: v.Witness}
}

// OID is id-cmc-confirmCertAcceptance.
func (ConfirmCertAcceptance) OID() asn1.ObjectIdentifier { return OIDConfirmCertAcceptance }

func (v ConfirmCertAcceptance) write(b builder) {
	b.sequence(func(b builder) {
		b.name(v.Issuer, "issuer")
		b.integer(v.Serial, "serial number")
	})
}

func readConfirmCertAcceptance(r *reader) Value {
	var v ConfirmCertAcceptance
	r.sub(tags.SEQUENCE, "certificate", func(r *reader) {
		v.Issuer = r.name("issuer")
		v.Serial = r.integer(tags.INTEGER, "serial number")
	})
	return v
}

// OID is id-cmc-getCert.
func (GetCert) OID() asn1.ObjectIdentifier { return OIDGetCert }

func (v GetCert) write(b builder) {
	b.sequence(func(b builder) {
		b.generalName(v.Issuer, "issuer")
		b.integer(v.Serial, "serial number")
	})
}

func readGetCert(r *reader) Value {
	var v GetCert
	r.sub(tags.SEQUENCE, "certificate", func(r *reader) {
		v.Issuer = r.generalName("issuer")
		v.Serial = r.integer(tags.INTEGER, "serial number")
	})
	return v
}

// OID is id-cmc-getCRL.
func (GetCRL) OID() asn1.ObjectIdentifier { return OIDGetCRL }

func (v GetCRL) write(b builder) {
	b.sequence(func(b builder) {
		b.name(v.Issuer, "issuer")
		if v.CRLName != nil {
			b.generalName(v.CRLName, "CRL name")
		}
		if !v.Time.IsZero() {
			b.generalized(v.Time, "time")
		}
		if v.Reasons != nil {
			b.bits(*v.Reasons, tags.BIT_STRING, "reasons")
		}
	})
}

func readGetCRL(r *reader) Value {
	var v GetCRL
	r.sub(tags.SEQUENCE, "CRL", func(r *reader) {
		v.Issuer = r.name("issuer")
		if r.more() && !r.next(tags.GeneralizedTime) && !r.next(tags.BIT_STRING) {
			v.CRLName = r.generalName("CRL name")
		}
		if r.next(tags.GeneralizedTime) {
			v.Time = r.generalized("time")
		}
		if r.more() {
			bits := r.bits(tags.BIT_STRING, "reasons")
			v.Reasons = &bits
		}
	})
	return v
}

// OID is id-cmc-revokeRequest.
func (RevokeRequest) OID() asn1.ObjectIdentifier { return OIDRevokeRequest }

func (v RevokeRequest) write(b builder) {
	b.sequence(func(b builder) {
		b.name(v.Issuer, "issuer")
		b.integer(v.Serial, "serial number")
		b.enumerated(v.Reason)
		if !v.InvalidityDate.IsZero() {
			b.generalized(v.InvalidityDate, "invalidity date")
		}
		if v.Secret != nil {
			b.AddASN1OctetString(v.Secret)
		}
		if v.Comment != "" || v.emptyComment {
			b.text(v.Comment, "comment")
		}
	})
}

func readRevokeRequest(r *reader) Value {
	var v RevokeRequest
	r.sub(tags.SEQUENCE, "revocation", func(r *reader) {
		v.Issuer = r.name("issuer")
		v.Serial = r.integer(tags.INTEGER, "serial number")
		v.Reason = r.small(tags.ENUM, "reason")
		if r.next(tags.GeneralizedTime) {
			v.InvalidityDate = r.generalized("invalidity date")
		}
		if r.next(tags.OCTET_STRING) {
			v.Secret = r.octets("shared secret")
		}
		if r.more() {
			v.Comment = r.text("comment")
			v.emptyComment = v.Comment == ""
		}
	})
	return v
}
