package estserver

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"chancery/cms"
	"chancery/cms/cmc"
)

// response collects what a message is answered with.
type response struct {
	root     *cmc.Message // what it answers; nil: a message that could not be opened
	statuses []cmc.StatusInfoV2
	values   []cmc.Value
	nested   [][]byte // whole responses to the messages of a batch
	certs    [][]byte
	crls     [][]byte
	publish  bool // trust anchors go along

	done, pending, failed int
	issued                int
	http                  int           // of the first failure
	retry                 time.Duration // that it advises
	reason                string        // its words
}

// reference names a part of a message as this response has to: by a path when the message
// is nested in the one that is answered (RFC 5272 §6.1.1).
func (a *response) reference(m *cmc.Message, part cmc.BodyPartID) cmc.Reference {
	if m == nil || m == a.root {
		return cmc.Reference{ID: part}
	}
	path := m.Path(part)
	if a.root != nil {
		path = path[len(a.root.Path(part))-1:]
	}
	if part == cmc.Current {
		path = path[:len(path)-1]
	}
	if len(path) == 1 {
		return cmc.Reference{ID: path[0]}
	}
	return cmc.Reference{Path: path}
}

// success tells that parts were done.
func (a *response) success(m *cmc.Message, text string, parts ...cmc.BodyPartID) {
	a.done++
	a.status(m, cmc.StatusInfoV2{Status: cmc.Success, Text: text}, parts...)
}

func (a *response) status(m *cmc.Message, v cmc.StatusInfoV2, parts ...cmc.BodyPartID) {
	if len(parts) == 0 {
		parts = []cmc.BodyPartID{cmc.Current}
	}
	for _, part := range parts {
		v.Bodies = append(v.Bodies, a.reference(m, part))
	}
	a.statuses = append(a.statuses, v)
}

// fault tells what was wrong, and with which parts: those that a *cmc.Error names, else
// this one.
func (x *exchange) fault(at spot, err error) {
	a := at.response
	fail, status, r := x.failOf(err)
	parts := []cmc.BodyPartID{at.part}
	var known *cmc.Error
	if errors.As(err, &known) && len(known.Parts) > 0 && !slices.Contains(known.Parts, cmc.Current) {
		parts = known.Parts
	}
	if a.failed == 0 {
		a.http, a.retry, a.reason = status, r.RetryAfter, r.Text
	}
	a.failed++
	text := r.Text
	if len(text) > maxStatusText {
		text = clip(text)
	}
	a.status(at.m, cmc.StatusInfoV2{Status: cmc.Failed, Fail: &fail, Text: text}, parts...)
	x.call.log.Info("a part of a Full PKI Request was refused", "parts", parts, "fail", fail.String(), "reason", r.Text, "error", r.Err)
}

// unsupported tells that a control asks for what is not had here.
func (x *exchange) unsupported(at spot, text string) {
	a := at.response
	if a.failed == 0 {
		a.http, a.reason = httpOf(cmc.BadRequest), text
	}
	a.failed++
	a.status(at.m, cmc.StatusInfoV2{Status: cmc.NoSupport, Text: text}, at.part)
}

// maxStatusText bounds the words of one status, in octets.
const maxStatusText = 2000

// body makes the PKIResponse with all its controls.
func (x *exchange) body(a *response) (*cmc.PKIResponse, error) {
	p := &cmc.PKIResponse{}
	if len(a.statuses) == 0 {
		a.success(nil, "")
	}
	for _, v := range a.statuses {
		if err := p.Add(v); err != nil {
			return nil, err
		}
	}
	if a.root != nil && a.root.Data != nil {
		echo, err := cmc.Echo(a.root.Data.Controls)
		if err != nil { // told as a fault already: what can be echoed is
			echo = nil
		}
		if err := p.Add(echo...); err != nil {
			return nil, err
		}
	}
	if err := p.Add(a.values...); err != nil {
		return nil, err
	}
	var batch cmc.BatchResponses
	for _, der := range a.nested {
		batch = append(batch, p.AddCMS(der))
	}
	if batch != nil {
		if err := p.Add(batch); err != nil {
			return nil, err
		}
	}
	if a.publish || a.issued > 0 {
		return p, x.anchors(a, p)
	}
	return p, nil
}

// anchors adds our roots for clients to trust (RFC 5272 §6.15): signed by the responder,
// for who trusts one of them already, and for who shares a secret in an AuthenticatedData
// with it, which vouches for them to who trusts none (§6.16). The sequence number is when
// the hierarchy changed last.
func (x *exchange) anchors(a *response, p *cmc.PKIResponse) error {
	var roots [][]byte
	newest := time.Time{}
	for _, root := range x.Authority.Issuers().Roots() {
		if x.call.now.Before(root.NotAfter) {
			roots = append(roots, root.Raw)
		}
	}
	for _, i := range x.Authority.Issuers().List() {
		if i.Created.After(newest) {
			newest = i.Created
		}
	}
	if len(roots) == 0 {
		return nil
	}
	v, err := cmc.Publish(big.NewInt(newest.Unix()), roots...)
	if err != nil {
		return err
	}
	for _, der := range roots {
		a.enclose(der)
	}
	if err := p.Add(v); err != nil {
		return err
	}
	who := x.parties[a.root]
	if who == nil || who.secret == nil {
		return nil
	}
	inner := &cmc.PKIData{}
	if err := inner.Add(v); err != nil {
		return err
	}
	der, err := cmc.FullRequest(inner, cmc.Wrapping{Authenticate: cms.Password{Passphrase: cms.Passphrase(who.secret)}})
	if err != nil {
		return err
	}
	return p.Add(cmc.AuthData(p.AddCMS(der)))
}

func (a *response) enclose(der []byte) {
	if !slices.ContainsFunc(a.certs, func(c []byte) bool { return bytes.Equal(c, der) }) {
		a.certs = append(a.certs, der)
	}
}

// sign makes the Full PKI Response: signed by the responder, whose chain is enclosed with
// what was issued (RFC 5272 §4.2).
func (x *exchange) sign(a *response) ([]byte, error) {
	p, err := x.body(a)
	if err != nil {
		return nil, fmt.Errorf("making a CMC response: %w", err)
	}
	for _, cert := range x.self.Chain {
		a.enclose(cert.Raw)
	}
	return cmc.FullResponse(p, cmc.Wrapping{
		Certificates: a.certs, CRLs: a.crls,
		Signers: []cms.Signing{{Key: x.self.Key, Certificate: x.self.Chain[0], Extra: []cms.Attribute{cms.SigningTime(x.call.now)}}},
	})
}
