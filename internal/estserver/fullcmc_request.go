package estserver

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"chancery/cms"
	"chancery/cms/cmc"
	"chancery/est"
	"chancery/internal/ca"
)

// How possession of a key was proved, as the record has it.
const (
	possessedBySignature = "signature"
	possessedByChallenge = "challenge"
	possessedByRA        = "registration authority"
)

// enrolOne answers one certification request: a certificate, a challenge, a wait or a
// reason. Others in the same message are answered by themselves.
func (x *exchange) enrolOne(a *response, m *cmc.Message, q cmc.Request) {
	proof, err := x.possession(m, q)
	if err == nil && proof == "" {
		err = x.challenge(a, m, q)
		if err == nil {
			a.done++
			a.status(m, cmc.StatusInfoV2{Status: cmc.POPRequired, Text: "decrypt the challenge and send the request again with decryptedPOP (RFC 5272 section 6.7)"}, q.ID)
			return
		}
	}
	var result Result
	var ask Ask
	if err == nil {
		ask, err = x.ask(m, q)
	}
	if err == nil {
		ask.Detail["possession"] = proof
		result, err = x.issue(x.ctx(), x.call, ask)
	}
	x.outcome(spot{a, m, q.ID}, result, err)
}

// outcome tells what became of a request.
func (x *exchange) outcome(at spot, result Result, err error) {
	switch {
	case err != nil:
		x.fault(at, err)
	case result.Pending != nil:
		at.pending++
		at.status(at.m, cmc.StatusInfoV2{Status: cmc.Pending, Text: fmt.Sprintf("the request %s waits for an administrator's approval", result.Pending.ID),
			Pend: &cmc.PendInfo{Token: []byte(result.Pending.ID), Time: x.pendingAgain()}}, at.part)
	default:
		at.enclose(result.Record.DER)
		at.issued++
		at.success(at.m, "", at.part)
	}
}

// possession tells how it is proved that the asker has the key, "" if that is yet to be
// (RFC 5272 §3.2.1.2, RFC 4211 §4). A signature that is there has to hold whoever vouches.
func (x *exchange) possession(m *cmc.Message, q cmc.Request) (string, error) {
	signed, err := x.requestSigned(m, q)
	switch {
	case err != nil:
		return "", err
	case signed:
		return possessedBySignature, nil
	case x.witnessed(m, q.ID):
		return possessedByRA, nil
	}
	answers, err := cmc.All[cmc.DecryptedPOP](m.Data.Controls)
	if err != nil {
		return "", err
	}
	for _, f := range answers {
		if f.Value.Part == q.ID {
			return possessedByChallenge, x.answered(m, q, f.Value)
		}
	}
	return "", nil
}

func (x *exchange) requestSigned(m *cmc.Message, q cmc.Request) (bool, error) {
	switch {
	case q.PKCS10 != nil:
		none, err := q.NoSignature(x.options)
		if none || err != nil {
			return false, err
		}
		p, err := est.ParseRequest(q.PKCS10)
		if err != nil {
			return false, err
		}
		if err := p.CheckSignature(); err != nil {
			fail := cmc.POPFailed
			if est.Is(err, est.Unsupported) {
				fail = cmc.BadAlg
			}
			return false, &cmc.Error{Fail: fail, Parts: []cmc.BodyPartID{q.ID}, Reason: err.Error(), Err: err}
		}
		return true, nil
	case q.CRMF != nil:
		how, err := q.CRMF.Possession(x.options)
		switch {
		case err != nil:
			return false, err
		case how == cmc.RAVerified:
			if x.asRA(m) || x.witnessed(m, q.ID) {
				return false, x.vouch(m, q.ID)
			}
			return false, failure(cmc.POPFailed, q.ID, "raVerified is for registration authorities of this CA to say (RFC 4211 section 4)")
		case how == cmc.Unread:
			return false, failure(cmc.POPFailed, q.ID, "this proof of possession is not had here: sign the request, or ask for a challenge (subsequentMessage, challengeResp)")
		}
		return how == cmc.Signed, nil
	}
	return false, malformed(q.ID, "requests of this kind are not taken: PKCS #10 and CRMF are")
}

// vouch notes that an RA which made the message itself vouches for a key.
func (x *exchange) vouch(m *cmc.Message, part cmc.BodyPartID) error {
	if x.vouched == nil {
		x.vouched = map[*cmc.Message][]cmc.BodyPartID{}
	}
	x.vouched[m] = append(x.vouched[m], part)
	return nil
}

// witnessed tells whether an RA has said that possession was proved to it (RFC 5272 §6.8).
func (x *exchange) witnessed(m *cmc.Message, part cmc.BodyPartID) bool {
	if slices.Contains(x.vouched[m], part) {
		return true
	}
	for up := m; up != nil; up = up.Parent {
		if !x.asRA(up) || up != m && up != m.Parent {
			continue
		}
		found, err := cmc.All[cmc.LRAPOPWitness](up.Data.Controls)
		if err != nil {
			return false
		}
		for _, w := range found {
			here := up == m && w.Value.PKIData == cmc.Current || up == m.Parent && w.Value.PKIData == m.Part
			if here && slices.Contains(w.Value.Bodies, part) {
				return true
			}
		}
	}
	return false
}

// challengeSlot is how long a challenge is good, at least; twice as long at most.
const challengeSlot = time.Hour

// proofFor gives the proof value of the challenge for a request's key.
func (x *exchange) proofFor(m *cmc.Message, q cmc.Request, slot int64) ([]byte, error) {
	e := ca.Principal{Room: Room, ID: "server"}.Event(x.call.now, "est-challenge-key.made", "cmc")
	key, err := x.challengeKey(x.ctx(), e)
	if err != nil {
		return nil, err
	}
	spki, err := q.PublicKey()
	if err != nil {
		return nil, err
	}
	return proofValue(key, slot, x.call.label.Name, x.asker(m).who.String(), string(spki)), nil
}

func (x *exchange) slot() int64 { return x.call.now.Unix() / int64(challengeSlot/time.Second) }

// challenge has the asker decrypt something with a key that cannot sign (RFC 5272 §6.7).
func (x *exchange) challenge(a *response, m *cmc.Message, q cmc.Request) error {
	t, err := q.Template()
	if err != nil {
		return err
	}
	if _, err := certifiable(q.ID, t.PublicKey); err != nil {
		return err
	}
	proof, err := x.proofFor(m, q, x.slot())
	if err != nil {
		return err
	}
	v, _, err := cmc.NewChallenge(cmc.Challenged{Request: q, Proof: proof})
	if err != nil {
		return err
	}
	a.values = append(a.values, v)
	return nil
}

// answered checks the answer to a challenge of this hour or the one before.
func (x *exchange) answered(m *cmc.Message, q cmc.Request, v cmc.DecryptedPOP) error {
	var last error
	for _, slot := range []int64{x.slot(), x.slot() - 1} {
		proof, err := x.proofFor(m, q, slot)
		if err != nil {
			return err
		}
		if last = v.Verify(proof, q, x.options); last == nil {
			return nil
		}
	}
	return last
}

// certifiable reads a public key.
func certifiable(part cmc.BodyPartID, spki []byte) (any, error) {
	if len(spki) == 0 || len(spki) > maxRequest {
		return nil, malformed(part, "the request has no public key")
	}
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, &cmc.Error{Fail: cmc.BadAlg, Parts: []cmc.BodyPartID{part}, Reason: "the public key is of a kind that is not certified here", Err: err}
	}
	return key, nil
}

// ask reads what a request asks for, as RAs have changed it.
func (x *exchange) ask(m *cmc.Message, q cmc.Request) (Ask, error) {
	t, err := q.Template()
	if err != nil {
		return Ask{}, err
	}
	ask := Ask{Detail: map[string]string{"format": "pkcs10", "signed_by": x.parties[m].signed}, CSR: q.PKCS10}
	if q.CRMF != nil {
		ask.Detail["format"] = "crmf"
	}
	maps.Copy(ask.Detail, x.details(m))
	if ask.Key, err = certifiable(q.ID, t.PublicKey); err != nil {
		return ask, err
	}
	if ask.Linking, err = x.linking(m, q); err != nil {
		return ask, err
	}
	if err = ask.passphraseIn(q); err != nil {
		return ask, err
	}
	if t, err = x.renamed(q, t, &ask); err != nil {
		return ask, err
	}
	changed, err := x.modified(m, q, &t)
	if err != nil {
		return ask, err
	}
	if changed {
		ask.Detail["changed_by"] = "registration authority"
	}
	if changed || q.CRMF != nil {
		if ask.CSR, err = asCRMF(q.ID, t); err != nil {
			return ask, err
		}
	}
	return ask, x.wants(&ask, t, q.ID)
}

// requestBlock is the PEM type of a kept request.
func requestBlock(der []byte) string {
	if _, err := cmc.ParseCertReqMsg(der); err == nil {
		return "CERTIFICATE REQUEST MESSAGE" // RFC 4211
	}
	return "CERTIFICATE REQUEST"
}

// wants reads subject and names. Asked by the holder of a certificate with the very same,
// it is that certificate's renewal (RFC 7030 §2.3).
func (x *exchange) wants(ask *Ask, t cmc.CertTemplate, part cmc.BodyPartID) error {
	if err := supported(part, t.Extensions, false); err != nil {
		return err
	}
	n := requestNames{subject: t.Subject}
	if san, ok := t.Find(oidSubjectAltName); ok {
		n.san = san.Value
	}
	var err error
	if ask.Subject, err = n.wanted(); err != nil {
		return err
	}
	if n.san != nil {
		if ask.Names, err = ca.NamesOf(n.san); err != nil {
			return err
		}
	}
	if who := x.call.who; ask.Renews == nil && who.Record != nil && !who.RA && n.subject != nil && n.same(who.Certificate) {
		ask.Renews = who.Record
	}
	return nil
}

// renamed follows ChangeSubjectName (RFC 6402 §2.8): the request repeats the names of the
// certificate that signed the message, and the attribute has the new ones.
func (x *exchange) renamed(q cmc.Request, t cmc.CertTemplate, ask *Ask) (cmc.CertTemplate, error) {
	attributes, err := q.Attributes()
	if err != nil {
		return t, err
	}
	one, err := cms.One(attributes, cmc.OIDChangeSubjectName)
	if one == nil || err != nil {
		return t, err
	}
	change, err := est.ParseNameChange(one)
	if err != nil {
		return t, err
	}
	who := x.call.who
	n := requestNames{subject: t.Subject}
	if san, ok := t.Find(oidSubjectAltName); ok {
		n.san = san.Value
	}
	switch {
	case !x.call.label.ChangeSubject:
		return t, refuse(http.StatusForbidden, "names cannot be changed here; leave the attribute ChangeSubjectName out")
	case who.Certificate == nil || who.RA || !n.same(who.Certificate):
		return t, refuse(http.StatusForbidden, "a request with ChangeSubjectName has the names of the certificate that signs the message, and the new ones in the attribute alone (RFC 6402 section 2.8)")
	}
	ask.Renews, ask.Detail["changed_from"] = who.Record, rdnText(t.Subject)
	t.Subject = change.Subject
	t.Extensions = slices.DeleteFunc(slices.Clone(t.Extensions), func(e pkix.Extension) bool { return e.Id.Equal(oidSubjectAltName) })
	if change.SAN != nil {
		t.Extensions = append(t.Extensions, pkix.Extension{Id: oidSubjectAltName, Value: change.SAN})
	}
	return t, nil
}

// modified makes the changes of the RAs around a request, the innermost first (RFC 5272
// §6.5).
func (x *exchange) modified(m *cmc.Message, q cmc.Request, t *cmc.CertTemplate) (changed bool, err error) {
	for up := m; up != nil; up = up.Parent {
		if !x.asRA(up) {
			continue
		}
		for _, c := range up.Data.Controls {
			v, err := c.Decode()
			if errors.Is(err, cmc.ErrUnknown) {
				continue
			} else if err != nil {
				return changed, err
			}
			apply, err := x.change(change{ra: up, m: m, part: q.ID}, v)
			if err != nil {
				return changed, &cmc.Error{Fail: failOfModification(err), Parts: []cmc.BodyPartID{q.ID}, Reason: fmt.Sprintf("as %s (%d) changes it: %v", c.Name(), c.ID, err), Err: err}
			}
			if apply == nil {
				continue
			}
			if *t, err = apply(*t); err != nil {
				return changed, err
			}
			changed = true
		}
	}
	return changed, nil
}

func failOfModification(err error) cmc.FailInfo {
	var known *cmc.Error
	if errors.As(err, &known) {
		return known.Fail
	}
	return cmc.BadRequest
}

// change is a control of an RA's message, and a request that it may be about.
type change struct {
	ra, m *cmc.Message
	part  cmc.BodyPartID
}

// change gives what a control in an RA's message changes in a request; nil: nothing.
func (x *exchange) change(of change, v cmc.Value) (func(cmc.CertTemplate) (cmc.CertTemplate, error), error) {
	ra, m, part := of.ra, of.m, of.part
	switch v := v.(type) {
	case cmc.ModCertTemplate:
		target, err := x.target(ra, v.PKIData)
		if err != nil || target != m || !slices.Contains(v.Requests, part) {
			return nil, err
		}
		w := v.Template
		if w.SerialNumber != nil || w.Validity != nil || w.Issuer != nil || w.SigningAlg != nil || w.IssuerUID != nil || w.SubjectUID != nil {
			return nil, malformed(part, "only subject and extensions can be changed here: the rest is the profile's")
		}
		return v.Apply, supported(part, w.Extensions, true)
	case cmc.AddExtensions:
		target, err := x.target(ra, cmc.Path{v.PKIData})
		if err != nil || target != m || !slices.Contains(v.Requests, part) {
			return nil, err
		}
		return v.Apply, supported(part, v.Extensions, true)
	}
	return nil, nil
}

// target is the message that a path of an RA's control leads to.
func (x *exchange) target(from *cmc.Message, path cmc.Path) (*cmc.Message, error) {
	for _, id := range path {
		if id == cmc.Current {
			break
		}
		inner, err := from.Open(id, x.opener)
		if err != nil {
			return nil, err
		}
		from = inner
	}
	return from, nil
}

// fixed are the extensions that profiles make: asking for one is asking for what the
// profile gives. Names are looked at.
var fixed = []string{"2.5.29.14", "2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.35", "2.5.29.37"}

// supported refuses extensions that no certificate from here has: of clients the critical
// ones, as others are passed over in PKCS #10 too, and of an RA all.
func supported(part cmc.BodyPartID, list []pkix.Extension, all bool) error {
	var unknown []string
	seen := map[string]bool{}
	for _, e := range list {
		oid := e.Id.String()
		if seen[oid] {
			return malformed(part, "the extension "+oid+" is there twice")
		}
		seen[oid] = true
		if !slices.Contains(fixed, oid) && (all || e.Critical) {
			unknown = append(unknown, oid)
		}
	}
	if unknown == nil {
		return nil
	}
	return failure(cmc.UnsupportedExt, part, "extensions that are not certified here: "+clipList(unknown))
}

// linking is link for a request in a CMC message: bound to the TLS connection, or to a
// shared secret (RFC 7030 §3.5, RFC 5272 §6.3).
func (x *exchange) linking(m *cmc.Message, q cmc.Request) (string, error) {
	attributes, err := q.Attributes()
	if err != nil {
		return "", err
	}
	p := &est.Parsed{Attributes: attributes} // a CRMF request has them as controls
	values, err := x.call.linkingValues(p)
	if err != nil {
		return "", err
	}
	if len(values) == 0 && x.parties[m].linked {
		return "shared secret by popLinkWitness", nil
	}
	return x.call.linkOf(p)
}

// details says for the auditor how the message came.
func (x *exchange) details(m *cmc.Message) map[string]string {
	d := map[string]string{}
	if x.beside != "" {
		d["tls_identity"] = x.beside
	}
	if id, err := cmc.One[cmc.TransactionID](m.Data.Controls); err == nil && id != nil {
		d["transaction"] = clip(id.Value.Number.String())
	}
	infos, err := cmc.All[cmc.RegInfo](m.Data.Controls)
	if err != nil {
		return d
	}
	var words []string
	for _, f := range infos {
		words = append(words, infoText(f.Value))
	}
	if words != nil {
		d["registration_info"] = clip(strings.Join(words, " "))
	}
	return d
}

// infoText shows what was sent as text where it is one.
func infoText(in []byte) string {
	for _, b := range in {
		if b < ' ' || b > '~' {
			return "hex:" + hex.EncodeToString(in[:min(len(in), 40)])
		}
	}
	return string(in)
}
