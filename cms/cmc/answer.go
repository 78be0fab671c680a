package cmc

import (
	"crypto/rand"
	"crypto/x509/pkix"
	"slices"
)

// NewSenderNonce makes 16 random octets.
func NewSenderNonce() SenderNonce {
	nonce := make([]byte, 16)
	rand.Read(nonce) // it never fails
	return nonce
}

// Echo gives what an answer to a message with these controls has to have because of them:
// its transaction id, its nonce as the recipient's with a new one (RFC 5272 §6.6), and
// its data (§6.4).
func Echo(controls []Control) ([]Value, error) {
	var list []Value
	id, err := One[TransactionID](controls)
	if err != nil {
		return nil, err
	}
	if id != nil {
		list = append(list, id.Value)
	}
	nonce, err := One[SenderNonce](controls)
	if err != nil {
		return nil, err
	}
	if nonce != nil {
		list = append(list, RecipientNonce(nonce.Value), NewSenderNonce())
	}
	data, err := All[DataReturn](controls)
	for _, d := range data {
		list = append(list, d.Value)
	}
	return list, err
}

// Statuses are what a message says became of its parts, of both versions of the control, in
// their order. None is success (RFC 5272 §6.1.1).
func Statuses(controls []Control) ([]StatusInfoV2, error) {
	var list []StatusInfoV2
	for _, c := range controls {
		if !c.Type.Equal(OIDStatusInfo) && !c.Type.Equal(OIDStatusInfoV2) {
			continue
		}
		v, err := c.Decode()
		if err != nil {
			return nil, err
		}
		switch v := v.(type) {
		case StatusInfoV2:
			list = append(list, v)
		case StatusInfo:
			list = append(list, v.V2())
		}
	}
	return list, nil
}

// V2 is the same as an extended status info.
func (v StatusInfo) V2() StatusInfoV2 {
	out := StatusInfoV2{Status: v.Status, Text: v.Text, Fail: v.Fail, Pend: v.Pend, emptyText: v.emptyText}
	for _, id := range v.Bodies {
		out.Bodies = append(out.Bodies, Reference{ID: id})
	}
	return out
}

// VerifyIdentity checks the message's proof of identity with the secret that its
// identification, if any, leads to: the newer proof if there is one, else the older. The
// error names the control, badIdentity if it does not hold or there is none.
func (p *PKIData) VerifyIdentity(secret Secret, o Options) error {
	name, err := One[Identification](p.Controls)
	if err != nil {
		return err
	}
	id := Identity{Secret: secret}
	if name != nil {
		id.Name = name.Value
	}
	requests, err := p.RequestBytes()
	if err != nil {
		return err
	}
	newer, err := One[IdentityProofV2](p.Controls)
	if err != nil {
		return err
	}
	if newer != nil {
		return at(newer.ID, newer.Value.Verify(id, requests, o))
	}
	older, err := One[IdentityProof](p.Controls)
	if err != nil {
		return err
	}
	if older == nil {
		return refuse(BadIdentity, Current, "the message has no proof of identity")
	}
	return at(older.ID, older.Value.Verify(id, requests, o))
}

// VerifyLinks checks that each request of the message is linked to the secret by the
// message's random value (RFC 5272 §6.3.1.1). The error names the request.
func (p *PKIData) VerifyLinks(secret Secret, o Options) error {
	random, err := One[POPLinkRandom](p.Controls)
	if err != nil {
		return err
	}
	if random == nil {
		return refuse(POPFailed, Current, "the message has no POP link random")
	}
	for _, q := range p.Requests {
		if err := q.VerifyLink(secret, random.Value, o); err != nil {
			return err
		}
	}
	return nil
}

// Template is what the request asks for: of a PKCS #10 request its subject, key and
// extensions. An orm asks for nothing.
func (q Request) Template() (CertTemplate, error) {
	if q.CRMF != nil {
		return q.CRMF.Request.Template, nil
	}
	var t CertTemplate
	var err error
	if t.Subject, err = q.Subject(); err != nil {
		return CertTemplate{}, err
	}
	if t.PublicKey, err = q.PublicKey(); err != nil {
		return CertTemplate{}, err
	}
	t.Extensions, err = q.Extensions()
	return t, err
}

// Apply changes what is asked for as the control says: each field of the control's template
// that is there replaces the other's, or takes it away, and so does each extension by
// itself (RFC 5272 §6.5.1). Those of inner messages come first. The key is the one whose
// possession is proved: a control that changes it is badRequest.
func (v ModCertTemplate) Apply(t CertTemplate) (CertTemplate, error) {
	if v.Template.PublicKey != nil {
		return CertTemplate{}, refuse(BadRequest, Current, "a change of the key that is to be certified")
	}
	changed, with := t, v.Template
	changed.Version = changeField(t.Version, with.Version, v.Delete)
	changed.SerialNumber = changeField(t.SerialNumber, with.SerialNumber, v.Delete)
	changed.SigningAlg = changeField(t.SigningAlg, with.SigningAlg, v.Delete)
	changed.Validity = changeField(t.Validity, with.Validity, v.Delete)
	changed.IssuerUID = changeField(t.IssuerUID, with.IssuerUID, v.Delete)
	changed.SubjectUID = changeField(t.SubjectUID, with.SubjectUID, v.Delete)
	changed.Issuer = changeName(t.Issuer, with.Issuer, v.Delete)
	changed.Subject = changeName(t.Subject, with.Subject, v.Delete)
	changed.Extensions = slices.Clone(t.Extensions)
	for _, e := range with.Extensions {
		i := slices.IndexFunc(changed.Extensions, func(have pkix.Extension) bool { return have.Id.Equal(e.Id) })
		switch {
		case i >= 0 && v.Delete:
			changed.Extensions = slices.Delete(changed.Extensions, i, i+1)
		case i >= 0:
			changed.Extensions[i] = e
		case !v.Delete:
			changed.Extensions = append(changed.Extensions, e)
		}
	}
	return changed, nil
}

func changeField[T any](have, with *T, take bool) *T {
	switch {
	case with == nil:
		return have
	case take:
		return nil
	}
	return with
}

func changeName(have, with []byte, take bool) []byte {
	switch {
	case with == nil:
		return have
	case take:
		return nil
	}
	return with
}

// Apply adds the extensions to what is asked for; one that is there already is replaced
// (RFC 5272 §6.5.2: the outermost counts). Two controls in one message that conflict are
// for the caller to refuse.
func (v AddExtensions) Apply(t CertTemplate) (CertTemplate, error) {
	return ModCertTemplate{Template: CertTemplate{Extensions: v.Extensions}}.Apply(t)
}
