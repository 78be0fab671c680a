package cmc

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"

	"chancery/cms"
)

// Opener has the keys to messages. What it has not is refused.
type Opener struct {
	// Decrypt gives the content of an EnvelopedData, by whichever recipient it can.
	Decrypt func(*cms.Enveloped) ([]byte, error)
	// Authenticate says whether the code of an AuthenticatedData holds.
	Authenticate func(*cms.Authenticated) error
}

// Layer is one CMS wrapper of a message; one field is set.
type Layer struct {
	Signed        *cms.SignedData
	Enveloped     *cms.Enveloped     // it has been decrypted
	Authenticated *cms.Authenticated // its code holds
}

// Message is a message out of its wrappers. Its signatures are not verified yet:
// [Message.Signers] and [Message.Verify].
type Message struct {
	Layers   []Layer // the outermost first
	Data     *PKIData
	Response *PKIResponse // neither it nor Data: a Simple PKI Response, certificates alone

	Parent *Message   // the message whose cmsSequence it came of, or nil
	Part   BodyPartID // in Parent

	opened map[BodyPartID]*Message
}

// Signer is one who signed a message, or says so.
type Signer struct {
	Layer, Index int               // Layers[Layer].Signed.Signers[Index]
	Info         cms.Signer        // how the signer is named; Info.NoSignature: by a hash alone
	Certificate  *x509.Certificate // of that name, among those enclosed in any layer; nil: none. Not verified
}

// Open takes a message out of its wrappers, DER or BER: SignedData, EnvelopedData and
// AuthenticatedData, in any order, at most MaxLayers (RFC 5272 §5). What is inside must
// be DER. An error is an *Error of body part 0: badMessageCheck if it cannot be decrypted
// or authenticated (§3.2.1.3.3), badRequest if it is no such message.
func (o Opener) Open(contentInfo []byte) (*Message, error) {
	m := new(Message)
	if err := o.open(m, contentInfo); err != nil {
		return nil, err
	}
	return m, nil
}

func (o Opener) open(m *Message, in []byte) error {
	for range MaxLayers {
		layer, inner, err := o.layer(in)
		if err != nil {
			return whole(err)
		}
		m.Layers = append(m.Layers, layer)
		switch {
		case inner.Type.Equal(cms.OIDPKIData):
			m.Data, err = ParsePKIData(inner.Content)
			return err
		case inner.Type.Equal(cms.OIDPKIResponse):
			m.Response, err = ParsePKIResponse(inner.Content)
			return err
		case layer.Signed != nil && len(inner.Content) == 0: // some send an empty eContent where there is none
			return nil
		case !slices.ContainsFunc(wrappers, inner.Type.Equal):
			return refuse(BadRequest, Current, fmt.Sprintf("the content %s is no PKIData, no PKIResponse and no wrapper of one", inner.Type))
		}
		if in, err = contentInfo(inner); err != nil {
			return whole(err)
		}
	}
	return refuse(BadRequest, Current, fmt.Sprintf("more than %d wrappers around a message", MaxLayers))
}

var wrappers = []asn1.ObjectIdentifier{cms.OIDSignedData, cms.OIDEnvelopedData, cms.OIDAuthEnvelopedData, cms.OIDAuthenticatedData}

// contentInfo is the ContentInfo of a wrapper in a wrapper. By RFC 5652 the content is the
// bare inner structure; who puts a ContentInfo there means the same.
func contentInfo(inner cms.ContentInfo) ([]byte, error) {
	if already, err := cms.ParseContentInfo(inner.Content); err == nil && already.Type.Equal(inner.Type) {
		return inner.Content, nil
	}
	return inner.Marshal()
}

// whole makes an error of cms one of the whole message.
func whole(err error) error {
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	return &Error{Fail: BadRequest, Parts: []BodyPartID{Current}, Reason: "the message cannot be read", Err: err}
}

// layer takes the outermost wrapper off.
func (o Opener) layer(in []byte) (Layer, cms.ContentInfo, error) {
	outer, err := cms.ParseContentInfo(in)
	if err != nil {
		return Layer{}, cms.ContentInfo{}, err
	}
	switch {
	case outer.Type.Equal(cms.OIDSignedData):
		s, err := cms.ParseSignedData(in)
		if err != nil {
			return Layer{}, cms.ContentInfo{}, err
		}
		return Layer{Signed: s}, cms.ContentInfo{Type: s.Type, Content: s.Content}, nil
	case outer.Type.Equal(cms.OIDEnvelopedData), outer.Type.Equal(cms.OIDAuthEnvelopedData):
		e, err := cms.ParseEnveloped(in)
		if err != nil {
			return Layer{}, cms.ContentInfo{}, err
		}
		if o.Decrypt == nil {
			return Layer{}, cms.ContentInfo{}, refuse(BadMessageCheck, Current, "encrypted messages are not taken here")
		}
		content, err := o.Decrypt(e)
		if err != nil { // the cause stays here: it could be an oracle
			return Layer{}, cms.ContentInfo{}, refuse(BadMessageCheck, Current, "the message cannot be decrypted")
		}
		return Layer{Enveloped: e}, cms.ContentInfo{Type: e.Type, Content: content}, nil
	case outer.Type.Equal(cms.OIDAuthenticatedData):
		a, err := cms.ParseAuthenticated(in)
		if err != nil {
			return Layer{}, cms.ContentInfo{}, err
		}
		if o.Authenticate == nil || o.Authenticate(a) != nil {
			return Layer{}, cms.ContentInfo{}, refuse(BadMessageCheck, Current, "the message's authentication does not hold")
		}
		return Layer{Authenticated: a}, cms.ContentInfo{Type: a.Type, Content: a.Content}, nil
	}
	return Layer{}, cms.ContentInfo{}, refuse(BadRequest, Current, fmt.Sprintf("a message of the type %s", outer.Type))
}

// Signers lists those who signed, of all layers, the outermost first.
func (m *Message) Signers() []Signer {
	var list []Signer
	enclosed := m.Certificates()
	for i, l := range m.Layers {
		if l.Signed == nil {
			continue
		}
		for n, info := range l.Signed.Signers {
			list = append(list, Signer{i, n, info, info.Certificate(enclosed)})
		}
	}
	return list
}

// Verify checks the signature of one who signed with the key. The error is
// badMessageCheck for body part 0 (RFC 5272 §3.2.1.3.4). One that is a hash alone
// (App. C.1) never verifies.
func (m *Message) Verify(s Signer, key crypto.PublicKey, o Options) error {
	if s.Layer < 0 || s.Layer >= len(m.Layers) || m.Layers[s.Layer].Signed == nil {
		return refuse(BadMessageCheck, Current, "there is no such signature")
	}
	err := m.Layers[s.Layer].Signed.VerifyWith(s.Index, cms.Verification{Key: key, SHA1: o.SHA1})
	if err != nil {
		return &Error{Fail: BadMessageCheck, Parts: []BodyPartID{Current}, Reason: "the signature of the message does not hold", Err: err}
	}
	return nil
}

// VerifyNoSignature checks the hash of one who could not sign (RFC 5272 App. C.1).
func (m *Message) VerifyNoSignature(s Signer, o Options) error {
	if s.Layer < 0 || s.Layer >= len(m.Layers) || m.Layers[s.Layer].Signed == nil {
		return refuse(BadMessageCheck, Current, "there is no such signature")
	}
	err := m.Layers[s.Layer].Signed.VerifyNoSignature(s.Index, cms.Verification{SHA1: o.SHA1})
	if err != nil {
		return &Error{Fail: BadMessageCheck, Parts: []BodyPartID{Current}, Reason: "the hash in the signature's place does not hold", Err: err}
	}
	return nil
}

// Certificates are those enclosed in the message's layers, DER, the innermost first: those
// that a response brings are in the innermost SignedData (RFC 5272 §4.2).
func (m *Message) Certificates() [][]byte {
	return m.enclosed(func(s *cms.SignedData) [][]byte { return s.Certificates })
}

// CRLs are those enclosed in the message's layers, DER.
func (m *Message) CRLs() [][]byte {
	return m.enclosed(func(s *cms.SignedData) [][]byte { return s.CRLs })
}

func (m *Message) enclosed(of func(*cms.SignedData) [][]byte) (list [][]byte) {
	for _, l := range slices.Backward(m.Layers) {
		if l.Signed != nil {
			list = append(list, of(l.Signed)...)
		}
	}
	return list
}

// UnsignedData is the outermost wrapper's, which must be the same for all its signers
// (RFC 5272 §3.2.3).
func (m *Message) UnsignedData() ([]UnsignedData, error) {
	if len(m.Layers) == 0 {
		return nil, nil
	}
	switch outer := m.Layers[0]; {
	case outer.Authenticated != nil:
		return UnsignedDataOf(outer.Authenticated.Unauthenticated)
	case outer.Signed != nil && len(outer.Signed.Signers) > 0:
		var first *cms.Attribute
		for i, s := range outer.Signed.Signers {
			this := cms.Find(s.Unsigned, OIDUnsignedData)
			if i > 0 && !sameValues(first, this) {
				return nil, refuse(BadRequest, Current, "the signers do not have the same unsigned data")
			}
			first = this
		}
		return UnsignedDataOf(outer.Signed.Signers[0].Unsigned)
	}
	return nil, nil
}

func sameValues(a, b *cms.Attribute) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.EqualFunc(a.Values, b.Values, bytes.Equal)
}

// Controls are those of the PKIData or PKIResponse.
func (m *Message) Controls() []Control {
	switch {
	case m.Data != nil:
		return m.Data.Controls
	case m.Response != nil:
		return m.Response.Controls
	}
	return nil
}

func (m *Message) nested() []TaggedContentInfo {
	switch {
	case m.Data != nil:
		return m.Data.CMS
	case m.Response != nil:
		return m.Response.CMS
	}
	return nil
}

// Open opens a part of cmsSequence, once: the same part is the same message again. An
// error names the part.
func (m *Message) Open(part BodyPartID, o Opener) (*Message, error) {
	if child := m.opened[part]; child != nil {
		return child, nil
	}
	depth := 1
	for up := m.Parent; up != nil; up = up.Parent {
		depth++
	}
	if depth >= MaxDepth {
		return nil, refuse(BadRequest, part, fmt.Sprintf("messages within messages more than %d deep", MaxDepth))
	}
	for _, c := range m.nested() {
		if c.ID != part {
			continue
		}
		child := &Message{Parent: m, Part: part}
		if err := o.open(child, c.ContentInfo); err != nil {
			var inner *Error
			if !errors.As(err, &inner) { // open gives no other
				return nil, at(part, err)
			}
			return nil, &Error{Fail: inner.Fail, Parts: []BodyPartID{part}, Reason: "the nested message: " + inner.Reason, Err: err}
		}
		if m.opened == nil {
			m.opened = map[BodyPartID]*Message{}
		}
		m.opened[part] = child
		return child, nil
	}
	return nil, refuse(BadRequest, part, "no nested message has this id")
}

// At follows a path: all ids but the last are opened. It gives the message that the last
// is a part of, which Current is of each.
func (m *Message) At(path Path, o Opener) (*Message, BodyPartID, error) {
	if len(path) == 0 || len(path) > MaxPath {
		return nil, 0, refuse(BadRequest, Current, fmt.Sprintf("a path of %d ids", len(path)))
	}
	for _, id := range path[:len(path)-1] {
		child, err := m.Open(id, o)
		if err != nil {
			return nil, 0, err
		}
		m = child
	}
	return m, path[len(path)-1], nil
}

// AuthData opens the AuthenticatedData that a control authData points to, and gives the
// PKIData within, whose controls count (RFC 5272 §6.16). nil: there is no such control.
// The error is authDataFail, and names the control.
func (m *Message) AuthData(o Opener) (*Message, error) {
	c, err := One[AuthData](m.Controls())
	if c == nil || err != nil {
		return nil, err
	}
	child, err := m.Open(BodyPartID(c.Value), o)
	if err != nil {
		return nil, &Error{Fail: AuthDataFail, Parts: []BodyPartID{c.ID}, Reason: "the authenticated data does not hold", Err: err}
	}
	if len(child.Layers) != 1 || child.Layers[0].Authenticated == nil || child.Data == nil {
		return nil, refuse(AuthDataFail, c.ID, "the authenticated data is not a PKIData in an AuthenticatedData")
	}
	return child, nil
}

// Path leads from the outermost message to this part of it.
func (m *Message) Path(part BodyPartID) Path {
	path := Path{part}
	for ; m.Parent != nil; m = m.Parent {
		path = append(Path{m.Part}, path...)
	}
	return path
}
