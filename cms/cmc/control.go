package cmc

import (
	"encoding/asn1"
	"errors"
	"fmt"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// Value is the content of a control: each type of this package that has a method OID
// is one. Others than these travel as a [Control] of the caller's making.
type Value interface {
	// OID is the type of the control.
	OID() asn1.ObjectIdentifier
	write(builder)
}

// ErrUnknown is what decoding a control gives that this package does not know.
var ErrUnknown = errors.New("cmc: unknown control")

// NewControl writes a value as the control with this id.
func NewControl(id BodyPartID, v Value) (Control, error) {
	der, err := Marshal(v)
	if err != nil {
		return Control{}, fmt.Errorf("control %s: %w", v.OID(), err)
	}
	return Control{ID: id, Type: v.OID(), Values: [][]byte{der}}, nil
}

// Marshal writes a value's DER, as it stands among a control's or an attribute's values.
func Marshal(v Value) ([]byte, error) { return build(v.write) }

// Unmarshal reads the value of a control of this type. The error is ErrUnknown for a
// type that is not known.
func Unmarshal(oid asn1.ObjectIdentifier, der []byte) (Value, error) {
	for _, k := range kinds {
		if !k.oid.Equal(oid) {
			continue
		}
		var err error
		r := &reader{in: der, fault: &err}
		v := k.read(r)
		r.end("value")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.name, err)
		}
		return v, nil
	}
	return nil, ErrUnknown
}

// Decode reads the control's value. The error is ErrUnknown for a type that is not
// known; else an *Error that names the control.
func (c Control) Decode() (Value, error) {
	if !c.Known() {
		return nil, ErrUnknown
	}
	if len(c.Values) != 1 {
		return nil, refuse(BadRequest, c.ID, fmt.Sprintf("a control %s with %d values instead of one", c.Name(), len(c.Values)))
	}
	v, err := Unmarshal(c.Type, c.Values[0])
	if err != nil {
		return nil, &Error{Fail: BadRequest, Parts: []BodyPartID{c.ID}, Reason: "the control cannot be read", Err: err}
	}
	return v, nil
}

// Known reports whether Decode knows the control's type.
func (c Control) Known() bool { return c.kind() != nil }

// Name is the RFC's name of the control, or the numbers of its type.
func (c Control) Name() string {
	if k := c.kind(); k != nil {
		return k.name
	}
	return c.Type.String()
}

func (c Control) kind() *kind {
	for i := range kinds {
		if kinds[i].oid.Equal(c.Type) {
			return &kinds[i]
		}
	}
	return nil
}

// Found is a control that was looked for.
type Found[V Value] struct {
	ID    BodyPartID
	Value V
}

// All decodes the controls of one type, in their order.
func All[V Value](controls []Control) ([]Found[V], error) {
	var zero V
	var list []Found[V]
	for _, c := range controls {
		if !c.Type.Equal(zero.OID()) {
			continue
		}
		v, err := c.Decode()
		if err != nil {
			return nil, err
		}
		list = append(list, Found[V]{c.ID, v.(V)})
	}
	return list, nil
}

// One decodes the control of one type; nil is none. More than one is an *Error that
// names them all.
func One[V Value](controls []Control) (*Found[V], error) {
	list, err := All[V](controls)
	switch {
	case err != nil:
		return nil, err
	case len(list) == 0:
		return nil, nil
	case len(list) == 1:
		return &list[0], nil
	}
	e := &Error{Fail: BadRequest, Reason: fmt.Sprintf("%d controls of a type that may stand only once", len(list))}
	for _, one := range list {
		e.Parts = append(e.Parts, one.ID)
	}
	return nil, e
}

// kind is a type of control.
type kind struct {
	oid  asn1.ObjectIdentifier
	name string
	read func(*reader) Value
}

// kinds are the controls that are known. A value that could not be read may be nonsense:
// the reader's fault counts.
var kinds []kind

func init() { // not a literal: EncryptedPOP's reader comes back here
	octets := func(f func([]byte) Value) func(*reader) Value {
		return func(r *reader) Value { return f(r.octets("value")) }
	}
	list := func(f func([]BodyPartID) Value) func(*reader) Value {
		return func(r *reader) Value { return f(r.bodyParts(some("list"))) }
	}
	kinds = []kind{
		{OIDStatusInfo, "statusInfo", readStatusInfo},
		{OIDIdentification, "identification", func(r *reader) Value { return Identification(r.text("value")) }},
		{OIDIdentityProof, "identityProof", octets(func(b []byte) Value { return IdentityProof(b) })},
		{OIDDataReturn, "dataReturn", octets(func(b []byte) Value { return DataReturn(b) })},
		{OIDTransactionID, "transactionId", func(r *reader) Value { return TransactionID{r.integer(tags.INTEGER, "value")} }},
		{OIDSenderNonce, "senderNonce", octets(func(b []byte) Value { return SenderNonce(b) })},
		{OIDRecipientNonce, "recipientNonce", octets(func(b []byte) Value { return RecipientNonce(b) })},
		{OIDAddExtensions, "addExtensions", readAddExtensions},
		{OIDEncryptedPOP, "encryptedPOP", readEncryptedPOP},
		{OIDDecryptedPOP, "decryptedPOP", readDecryptedPOP},
		{OIDLRAPOPWitness, "lraPOPWitness", readLRAPOPWitness},
		{OIDGetCert, "getCert", readGetCert},
		{OIDGetCRL, "getCRL", readGetCRL},
		{OIDRevokeRequest, "revokeRequest", readRevokeRequest},
		{OIDRegInfo, "regInfo", octets(func(b []byte) Value { return RegInfo(b) })},
		{OIDResponseInfo, "responseInfo", octets(func(b []byte) Value { return ResponseInfo(b) })},
		{OIDQueryPending, "queryPending", octets(func(b []byte) Value { return QueryPending(b) })},
		{OIDPOPLinkRandom, "popLinkRandom", octets(func(b []byte) Value { return POPLinkRandom(b) })},
		{OIDPOPLinkWitness, "popLinkWitness", octets(func(b []byte) Value { return POPLinkWitness(b) })},
		{OIDConfirmCertAcceptance, "confirmCertAcceptance", readConfirmCertAcceptance},
		{OIDStatusInfoV2, "statusInfoV2", readStatusInfoV2},
		{OIDTrustedAnchors, "trustedAnchors", readPublishTrustAnchors},
		{OIDAuthData, "authData", func(r *reader) Value { return AuthData(r.bodyPart("value")) }},
		{OIDBatchRequests, "batchRequests", list(func(l []BodyPartID) Value { return BatchRequests(l) })},
		{OIDBatchResponses, "batchResponses", list(func(l []BodyPartID) Value { return BatchResponses(l) })},
		{OIDPublishCert, "publishCert", readPublishCert},
		{OIDModCertTemplate, "modCertTemplate", readModCertTemplate},
		{OIDControlProcessed, "controlProcessed", readControlProcessed},
		{OIDPOPLinkWitnessV2, "popLinkWitnessV2", func(r *reader) Value { return POPLinkWitnessV2(readWitness(r)) }},
		{OIDIdentityProofV2, "identityProofV2", func(r *reader) Value { return IdentityProofV2(readIdentityProof(r)) }},
		{OIDRAIdentityWitness, "raIdentityWitness", func(r *reader) Value { return RAIdentityWitness(r.path("value")) }},
		{OIDChangeSubjectName, "changeSubjectName", readChangeSubjectName},
		{OIDResponseBody, "responseBody", func(r *reader) Value { return ResponseBody(r.path("value")) }},
	}
}
