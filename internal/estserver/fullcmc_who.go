package estserver

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"net/http"
	"slices"
	"time"

	"chancery/cms"
	"chancery/cms/cmc"
	"chancery/internal/ca"
)

// nonceLife is how long a message that a secret authenticates is known again.
const nonceLife = 90 * 24 * time.Hour

var wrappers = []asn1.ObjectIdentifier{cms.OIDSignedData, cms.OIDEnvelopedData, cms.OIDAuthEnvelopedData, cms.OIDAuthenticatedData}

func slicesHas(list []asn1.ObjectIdentifier, oid asn1.ObjectIdentifier) bool {
	return slices.ContainsFunc(list, oid.Equal)
}

// How a message was signed, as the record has it.
const (
	bySigner = "certificate" // of a holder
	byOwnKey = "request key" // of a key that is to be certified
	byCode   = "shared secret"
	byHash   = "no-signature" // a hash in a signature's place (RFC 5272 App. C.1): of a key that cannot sign
	byNobody = "nobody"
)

// party is who made one message, as far as it shows.
type party struct {
	who    Identity
	secret cmc.Secret // by which identity was proven; nil: otherwise
	signed string
	linked bool // its requests are linked to the secret (RFC 5272 §6.3)
}

// bound tells whether somebody vouches for the requests of the message: by a signature or a
// code over the whole, or, where the key cannot sign, by a proof of identity over all of
// them (RFC 5272 §6.2, App. C.1).
func (p *party) bound() bool {
	return p.secret != nil || p.signed != byNobody && p.signed != byHash
}

// malformed makes an error of a part of a message.
func malformed(part cmc.BodyPartID, reason string) *cmc.Error {
	return &cmc.Error{Fail: cmc.BadRequest, Parts: []cmc.BodyPartID{part}, Reason: reason}
}

func failure(fail cmc.FailInfo, part cmc.BodyPartID, reason string) *cmc.Error {
	return &cmc.Error{Fail: fail, Parts: []cmc.BodyPartID{part}, Reason: reason}
}

// identify finds out who made a message: by its signatures, each of which has to hold (RFC
// 5272 §3.2.1.3.4), by the code of an AuthenticatedData, and by a proof of identity.
func (x *exchange) identify(m *cmc.Message) (*party, error) {
	p := &party{signed: byNobody}
	signers := m.Signers()
	if len(signers) > maxFullSigners {
		return nil, malformed(cmc.Current, "the message has too many signers")
	}
	for _, s := range signers {
		if err := x.signature(m, s, p); err != nil {
			return nil, err
		}
	}
	for _, l := range m.Layers {
		if l.Authenticated == nil {
			continue
		}
		found := x.codes[l.Authenticated]
		if found == nil { // of a wrapper that the opener has opened: never
			return nil, failure(cmc.BadMessageCheck, cmc.Current, "the message's authentication does not hold")
		}
		p.signed, p.secret = byCode, found.secret
		p.who.Credential, p.who.Via = found.credential, ViaCMC
	}
	if err := x.proof(m, p); err != nil {
		return nil, err
	}
	return p, x.links(m, p)
}

// signature judges one signer.
func (x *exchange) signature(m *cmc.Message, s cmc.Signer, p *party) error {
	if s.Info.NoSignature() {
		if p.signed == byNobody {
			p.signed = byHash
		}
		return m.VerifyNoSignature(s, x.options)
	}
	cert := s.Certificate
	if cert == nil {
		var err error
		if cert, err = x.own(s.Info); err != nil {
			return err
		}
	}
	if cert == nil || x.asksFor(m, cert.RawSubjectPublicKeyInfo) && !x.issuedHere(cert) {
		// A certificate that somebody made for himself says no more than its key.
		return x.requestKey(m, s, p)
	}
	if err := m.Verify(s, cert.PublicKey, x.options); err != nil {
		return err
	}
	who, err := x.judge(x.call, append([]*x509.Certificate{cert}, enclosed(m, cert)...))
	if err != nil {
		if r, known := asRefusal(err); known == nil && !r.later() {
			return &cmc.Error{Fail: cmc.BadIdentity, Parts: []cmc.BodyPartID{cmc.Current}, Reason: r.Text}
		}
		return err
	}
	if p.who.Certificate != nil && !p.who.Certificate.Equal(cert) {
		return malformed(cmc.Current, "the message is signed with two certificates; sign it with one, or wrap one message in another")
	}
	p.who.Certificate, p.who.Record, p.who.Holder = who.Certificate, who.Record, who.Holder
	p.who.Maker, p.who.RA = who.Maker, who.RA
	p.signed = bySigner
	return nil
}

// requestKey verifies a signature by a key that the message asks to certify (RFC 5272
// §4.2: named by its key identifier, as it has no certificate).
func (x *exchange) requestKey(m *cmc.Message, s cmc.Signer, p *party) error {
	var last error = failure(cmc.BadMessageCheck, cmc.Current, "the signer's certificate is neither enclosed nor known, and no key that is asked for signed the message")
	for _, q := range m.Data.Requests {
		der, err := q.PublicKey()
		if err != nil || len(der) > maxRequest {
			continue
		}
		key, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			continue
		}
		if last = m.Verify(s, key, x.options); last == nil {
			if p.signed == byNobody {
				p.signed = byOwnKey
			}
			return nil
		}
	}
	return last
}

func (x *exchange) asksFor(m *cmc.Message, spki []byte) bool {
	return slices.ContainsFunc(m.Data.Requests, func(q cmc.Request) bool {
		der, err := q.PublicKey()
		return err == nil && bytes.Equal(der, spki)
	})
}

// own finds the signer's certificate among those issued here, if it is not enclosed; nil:
// there is none.
func (x *exchange) own(info cms.Signer) (*x509.Certificate, error) {
	var found []ca.Record
	switch {
	case info.Serial != nil:
		r, err := x.Ledger.BySerial(x.ctx(), ca.SerialOf(info.Serial))
		if err != nil && ca.KindOf(err) != ca.NotFound {
			return nil, err
		}
		found = append(found, r)
	case len(info.KeyID) > 0:
		var err error
		if found, err = x.Certificates.ByKeyID(x.ctx(), info.KeyID, x.call.now); err != nil {
			return nil, err
		}
	}
	for _, r := range found {
		cert, err := x509.ParseCertificate(r.DER)
		if err == nil && (info.Serial == nil || bytes.Equal(cert.RawIssuer, info.Issuer)) {
			return cert, nil
		}
	}
	return nil, nil
}

// maxRSA bounds the keys above a signer's, in bits.
const maxRSA = 8192

// enclosed gives the other certificates of a message, not too many.
func enclosed(m *cmc.Message, but *x509.Certificate) []*x509.Certificate {
	var list []*x509.Certificate
	for _, der := range m.Certificates() {
		cert, err := x509.ParseCertificate(der)
		if err != nil || cert.Equal(but) {
			continue
		}
		if key, ok := cert.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSA {
			continue // a signature by it would take long to verify
		}
		list = append(list, cert)
		if len(list) == 16 {
			break
		}
	}
	return list
}

// proof looks at a proof of identity, if there is one (RFC 5272 §6.2). One that was seen
// to by an RA is the RA's; see settled.
func (x *exchange) proof(m *cmc.Message, p *party) error {
	at := cmc.BodyPartID(0)
	for _, c := range m.Data.Controls {
		if c.Type.Equal(cmc.OIDIdentityProofV2) || c.Type.Equal(cmc.OIDIdentityProof) {
			at = c.ID
		}
	}
	if at == 0 || x.settled(m, at) {
		return nil
	}
	name, err := cmc.One[cmc.Identification](m.Data.Controls)
	if err != nil {
		return err
	}
	user := ""
	if name != nil {
		user = string(name.Value)
	}
	found, err := x.proved(user, func(secret cmc.Secret) error { return m.Data.VerifyIdentity(secret, x.options) })
	if err != nil {
		return err
	}
	switch {
	case found == nil:
		return failure(cmc.BadIdentity, at, "the proof of identity does not hold for any shared secret of this name; ask the administrators for one: chancery est user add --cmc, or chancery est otp add --cmc")
	case p.who.Credential != nil && p.who.Credential.ID != found.credential.ID:
		return failure(cmc.BadIdentity, at, "the message is authenticated by two different secrets")
	}
	p.who.Credential, p.who.Via, p.secret = found.credential, ViaCMC, found.secret
	return nil
}

// links checks what ties each request to the secret (RFC 5272 §6.3.1).
func (x *exchange) links(m *cmc.Message, p *party) error {
	random, err := cmc.One[cmc.POPLinkRandom](m.Data.Controls)
	if err != nil || p.secret == nil || len(m.Data.Requests) == 0 {
		return err
	}
	witnessed := false
	for _, q := range m.Data.Requests {
		attributes, err := q.Attributes()
		if err != nil {
			return err
		}
		witnessed = witnessed || cms.Find(attributes, cmc.OIDPOPLinkWitnessV2) != nil || cms.Find(attributes, cmc.OIDPOPLinkWitness) != nil
	}
	if random == nil && !witnessed {
		return nil
	}
	p.linked = true
	return m.Data.VerifyLinks(p.secret, x.options)
}

// mayAsk refuses whose authentication the label does not take.
func (x *exchange) mayAsk(p *party) error {
	if slices.ContainsFunc(x.call.label.Accept, p.who.meets) {
		return nil
	}
	reason := "the message does not say who asks: sign it with a certificate, or prove identity by a shared secret (RFC 5272 section 6.2)"
	if len(p.who.means()) > 0 {
		reason = "what the message is authenticated with is not enough here"
	}
	return failure(cmc.BadIdentity, cmc.Current, reason)
}

// asRA tells whether the maker of a message is an RA whose assertions count (RFC 7030 §3.7).
func (x *exchange) asRA(m *cmc.Message) bool {
	p := x.parties[m]
	return p != nil && p.who.RA
}

// settled tells whether an RA around the message has seen to the control, by
// controlProcessed, or vouches for the identity by raIdentityWitness (RFC 6402 §2.5).
func (x *exchange) settled(m *cmc.Message, part cmc.BodyPartID) bool {
	path := cmc.Path{part}
	for up := m.Parent; up != nil; m, up = up, up.Parent {
		path = append(cmc.Path{m.Part}, path...)
		if !x.asRA(up) {
			continue
		}
		processed, err := cmc.All[cmc.ControlProcessed](up.Data.Controls)
		if err != nil {
			return false
		}
		for _, list := range processed {
			if slices.ContainsFunc(list.Value, func(r cmc.Reference) bool { return slices.Equal(r.Path, path) }) {
				return true
			}
		}
		witnesses, err := cmc.All[cmc.RAIdentityWitness](up.Data.Controls)
		if err != nil {
			return false
		}
		for _, w := range witnesses {
			// It points to the control, or to the message that has it.
			if slices.Equal(cmc.Path(w.Value), path) || slices.Equal(cmc.Path(w.Value), path[:len(path)-1]) {
				return true
			}
		}
	}
	return false
}

// httpOf is the status that goes with a reason (RFC 7030 §4.3.2: 4xx or 5xx).
func httpOf(f cmc.FailInfo) int {
	switch f {
	case cmc.BadIdentity, cmc.POPFailed, cmc.NoKeyReuse, cmc.AuthDataFail:
		return http.StatusForbidden
	case cmc.BadCertID:
		return http.StatusNotFound
	case cmc.InternalCAError:
		return http.StatusInternalServerError
	case cmc.TryLater:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// failOf finds the reason and the words for an error.
func (x *exchange) failOf(err error) (fail cmc.FailInfo, status int, r *refusal) {
	var known *cmc.Error
	if errors.As(err, &known) {
		return known.Fail, httpOf(known.Fail), &refusal{Status: httpOf(known.Fail), Text: known.Reason, Err: err}
	}
	r = x.refusalOf(x.ctx(), err)
	fail = cmc.BadRequest
	switch kind := ca.KindOf(err); {
	case errors.Is(err, errUnlinked):
		fail = cmc.POPFailed
	case kind == ca.BadKey:
		fail = cmc.BadAlg
	case kind == ca.NotFound:
		fail = cmc.BadCertID
	case kind == ca.Limited, kind == ca.Unavailable, kind == ca.CAAUnknown, r.Status == http.StatusTooManyRequests, r.later():
		fail = cmc.TryLater
	case r.Status >= http.StatusInternalServerError:
		fail = cmc.InternalCAError
	}
	return fail, r.Status, r
}
