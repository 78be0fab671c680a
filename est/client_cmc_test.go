package est

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/cms"
	"chancery/cms/cmc"
	"chancery/internal/certtest"
)

// desk is a CMC server: as much of one as its clients need to be tried.
type desk struct {
	*shop
	t       *testing.T
	cert    *x509.Certificate // who signs its answers
	key     crypto.Signer
	data    *cmc.PKIData // of the last request
	message *cmc.Message
	state   *tls.ConnectionState
	reply   func(p *cmc.PKIResponse) // changes the answer
	status  int
	others  []*x509.Certificate // enclosed besides
	// challenge tells whether a request is challenged first, and with what.
	challenge func(q cmc.Request, p *cmc.PKIResponse) bool
	signed    time.Time
}

func newDesk(t *testing.T) *desk {
	o := &desk{shop: open(t, nil), t: t, status: http.StatusOK, signed: time.Now()}
	o.key = testKey(t)
	o.cert = certify(t, o.ca, x509.Certificate{Subject: pkix.Name{CommonName: "CMC"}, KeyUsage: x509.KeyUsageDigitalSignature, UnknownExtKeyUsage: append(cmcRA, oidCMCCA)}, o.key)
	o.handler[FullCMC] = o.serve
	return o
}

func (o *desk) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if got := r.Header.Get("Content-Type"); got != "application/pkcs7-mime; smime-type=CMC-request" {
		o.t.Errorf("%q", got)
	}
	der, err := Decode(body, bodyMax)
	if err != nil {
		o.t.Error(err)
		return
	}
	if o.message, err = (cmc.Opener{}).Open(der); err != nil {
		o.t.Error(err)
		return
	}
	o.data, o.state = o.message.Data, r.TLS
	if err := o.data.Check(); err != nil {
		o.t.Error(err)
	}
	p := &cmc.PKIResponse{}
	var bodies []cmc.Reference
	enclosed := [][]byte{o.cert.Raw}
	for _, c := range o.others {
		enclosed = append(enclosed, c.Raw)
	}
	for _, q := range o.data.Requests {
		bodies = append(bodies, cmc.Reference{ID: q.ID})
		if answered, _ := cmc.One[cmc.DecryptedPOP](o.data.Controls); o.challenge != nil && answered == nil {
			continue
		}
		if made := o.grant(q); made != nil {
			enclosed = append(enclosed, made.Raw)
		}
	}
	if bodies == nil {
		bodies = []cmc.Reference{{ID: cmc.Current}}
	}
	transaction, _ := cmc.One[cmc.TransactionID](o.data.Controls)
	nonce, _ := cmc.One[cmc.SenderNonce](o.data.Controls)
	if err := p.Add(cmc.StatusInfoV2{Status: cmc.Success, Bodies: bodies}, transaction.Value, cmc.RecipientNonce(nonce.Value)); err != nil {
		o.t.Error(err)
	}
	if o.reply != nil {
		o.reply(p)
	}
	if o.challenge != nil {
		o.challenge(o.data.Requests[0], p)
	}
	signing := cms.Signing{Key: o.key, Certificate: o.cert, Extra: []cms.Attribute{cms.SigningTime(o.signed)}}
	out, err := cmc.FullResponse(p, cmc.Wrapping{Certificates: enclosed, Signers: []cms.Signing{signing}})
	if err != nil {
		o.t.Error(err)
		return
	}
	w.Header().Set("Content-Type", PKCS7Mime+"; smime-type="+CMCResponse)
	w.WriteHeader(o.status)
	_, _ = w.Write(Encode(out, Wrapped))
}

// grant checks a request and certifies its key.
func (o *desk) grant(q cmc.Request) *x509.Certificate {
	template := x509.Certificate{SerialNumber: certtest.Serial()}
	der, err := q.PublicKey()
	if err != nil {
		o.t.Error(err)
		return nil
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		o.t.Error(err)
		return nil
	}
	if q.PKCS10 != nil {
		p, err := ParseRequest(q.PKCS10)
		if err == nil {
			err = p.CheckSignature()
		}
		if err != nil {
			o.t.Error(err)
			return nil
		}
		return o.certified(p)
	}
	if proof, err := q.CRMF.Possession(cmc.Options{}); err != nil || proof != cmc.Signed && o.challenge == nil {
		o.t.Errorf("%s, %v", proof, err)
	}
	template.RawSubject = q.CRMF.Request.Template.Subject
	if san, ok := q.CRMF.Request.Template.Find(oidSAN); ok {
		template.ExtraExtensions = []pkix.Extension{san}
	}
	return certify(o.t, o.ca, template, publicOnly{public})
}

// publicOnly lets a key be certified of which only the public half is known.
type publicOnly struct{ crypto.PublicKey }

func (p publicOnly) Public() crypto.PublicKey { return p.PublicKey }

func (publicOnly) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("there is no private key")
}

func TestFullCMCEnrols(t *testing.T) {
	o := newDesk(t)
	holder := identity(t, o.ca, x509.Certificate{Subject: pkix.Name{CommonName: "holder"}})
	for name, f := range map[string]Full{
		"PKCS #10, signed by its own key": {Enrolment: device(t)},
		"CRMF, signed by its own key":     {Enrolment: device(t), CRMF: true},
		"PKCS #10, signed by another":     {Enrolment: device(t), Signer: &holder},
		"CRMF, with a shared secret":      {Enrolment: device(t), CRMF: true, Proof: &Proof{Name: "device1", Secret: "s3cret"}},
		"PKCS #10, with a shared secret":  {Enrolment: device(t), Proof: &Proof{Secret: "s3cret"}},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := o.client(t, nil).FullCMC(t.Context(), f)
			if err != nil || a.Issued == nil || !sameKey(a.Issued.Certificate.PublicKey, f.Key.Public()) || !a.Signer.Equal(o.cert) {
				t.Fatalf("%+v, %v", a, err)
			}
			signers := o.message.Signers()
			if len(signers) != 1 {
				t.Fatalf("%d signers", len(signers))
			}
			by := f.Key.Public()
			if f.Signer != nil {
				by = f.Signer.Certificate.PublicKey
			}
			if err := o.message.Verify(signers[0], by, cmc.Options{}); err != nil {
				t.Error(err)
			}
			q := o.data.Requests[0]
			if !f.CRMF {
				p, err := ParseRequest(q.PKCS10)
				if err != nil {
					t.Fatal(err)
				}
				b, err := BindingOf(o.state)
				if text, _, _ := p.ChallengePassword(); err != nil || !b.Matches(text) || !a.Issued.Linked {
					t.Errorf("the request is not linked: %v", err)
				}
			}
			if f.Proof == nil {
				return
			}
			proof, err := cmc.One[cmc.IdentityProofV2](o.data.Controls)
			if err != nil || proof == nil {
				t.Fatalf("there is no proof of identity: %v", err)
			}
			requests, err := o.data.RequestBytes()
			if err != nil {
				t.Fatal(err)
			}
			id := cmc.Identity{Secret: cmc.Secret(f.Proof.Secret), Name: cmc.Identification(f.Proof.Name)}
			if err := proof.Value.Verify(id, requests, cmc.Options{}); err != nil {
				t.Error(err)
			}
			random, err := cmc.One[cmc.POPLinkRandom](o.data.Controls)
			if err != nil || random == nil {
				t.Fatalf("there is no random value: %v", err)
			}
			if err := q.VerifyLink(cmc.Secret(f.Proof.Secret), random.Value, cmc.Options{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFullCMCRevokesAndPolls(t *testing.T) {
	o := newDesk(t)
	holder := identity(t, o.ca, x509.Certificate{Subject: pkix.Name{CommonName: "holder"}})
	a, err := o.client(t, nil).FullCMC(t.Context(), Full{Signer: &holder, Revoke: &Revocation{Certificate: holder.Certificate, Reason: 1, Comment: "stolen"}})
	if err != nil || len(a.Statuses) != 1 || a.Statuses[0].Status != cmc.Success {
		t.Fatalf("%+v, %v", a, err)
	}
	v, err := cmc.One[cmc.RevokeRequest](o.data.Controls)
	if err != nil || v == nil || v.Value.Serial.Cmp(holder.Certificate.SerialNumber) != 0 || v.Value.Reason != 1 || v.Value.Comment != "stolen" || v.Value.Secret != nil {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := o.client(t, nil).FullCMC(t.Context(), Full{Revoke: &Revocation{Certificate: holder.Certificate, Secret: "burn"}}); err != nil {
		t.Fatal(err)
	}
	v, _ = cmc.One[cmc.RevokeRequest](o.data.Controls)
	if !v.Value.SecretIs(cmc.Secret("burn")) || len(o.message.Signers()) != 0 {
		t.Errorf("%+v", v)
	}
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	o.reply = func(p *cmc.PKIResponse) {
		p.Controls[0] = control(t, cmc.StatusInfoV2{Status: cmc.Pending, Bodies: []cmc.Reference{{ID: 3}}, Text: "wait", Pend: &cmc.PendInfo{Token: []byte("tok"), Time: soon}})
	}
	f := Full{Enrolment: device(t)}
	_, err = o.client(t, nil).FullCMC(t.Context(), f)
	failed, ok := errors.AsType[*FullError](err)
	if !ok || !failed.Pending || string(failed.Token) != "tok" || failed.After < 58*time.Minute || failed.Transaction == nil {
		t.Fatalf("%+v, %v", failed, err)
	}
	// The same with the status that RFC 7030 has for it.
	o.status = http.StatusAccepted
	_, err = o.client(t, func(c *ClientConfig) {
		c.Pending = func(context.Context, *PendingError) error { t.Error("repeated, not asked for"); return nil }
	}).FullCMC(t.Context(), f)
	if failed, ok = errors.AsType[*FullError](err); !ok || !failed.Pending || string(failed.Token) != "tok" {
		t.Fatalf("%+v, %v", failed, err)
	}
	o.status = http.StatusOK
	o.reply = nil
	if _, err := o.client(t, nil).FullCMC(t.Context(), Full{Signer: &holder, Poll: failed.Token, Transaction: failed.Transaction}); err != nil {
		t.Fatal(err)
	}
	poll, err := cmc.One[cmc.QueryPending](o.data.Controls)
	transaction, _ := cmc.One[cmc.TransactionID](o.data.Controls)
	if err != nil || poll == nil || string(poll.Value) != "tok" || transaction.Value.Number.Cmp(failed.Transaction) != 0 {
		t.Errorf("%+v, %v", poll, err)
	}
}

func control(t *testing.T, v cmc.Value) cmc.Control {
	t.Helper()
	c, err := cmc.NewControl(1, v)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Answers that are refusals, or that nobody should believe.
func TestFullCMCRefusals(t *testing.T) {
	o := newDesk(t)
	no := cmc.POPFailed
	o.status = http.StatusForbidden
	o.reply = func(p *cmc.PKIResponse) {
		p.Controls[0] = control(t, cmc.StatusInfoV2{Status: cmc.Failed, Bodies: []cmc.Reference{{ID: 1}}, Text: "link it", Fail: &no})
	}
	_, err := o.client(t, nil).FullCMC(t.Context(), Full{Enrolment: device(t)})
	if failed, ok := errors.AsType[*FullError](err); !ok || failed.HTTP != 403 || failed.Pending || !strings.Contains(err.Error(), "popFailed") || !strings.Contains(err.Error(), "link it") {
		t.Errorf("%v", err)
	}
	o.status, o.reply = http.StatusOK, nil
	good, key := o.cert, o.key
	stranger := newIssuer(t, "Stranger", nil)
	for name, bend := range map[string]func(){
		"a signer of another CA": func() { o.cert = certify(t, stranger, x509.Certificate{}, key) },
		"a signer for the web alone": func() {
			o.cert = certify(t, o.ca, x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, key)
		},
		"another's signature": func() { o.key = testKey(t) },
		"another nonce": func() {
			o.reply = func(p *cmc.PKIResponse) { p.Controls[2] = control(t, cmc.RecipientNonce("old")); p.Controls[2].ID = 3 }
		},
		"another transaction": func() {
			o.reply = func(p *cmc.PKIResponse) {
				p.Controls[1] = control(t, cmc.TransactionID{Number: big.NewInt(5)})
				p.Controls[1].ID = 2
			}
		},
	} {
		o.cert, o.key, o.reply = good, key, nil
		bend()
		if a, err := o.client(t, nil).FullCMC(t.Context(), Full{Enrolment: device(t)}); err == nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// A key that can only decrypt proves itself by the server's challenge.
func TestFullCMCOfAKeyThatCannotSign(t *testing.T) {
	for name, key := range map[string]crypto.PrivateKey{"ECDH": testKey(t), "RSA": identityKey} {
		for _, honest := range []bool{true, false} {
			o := newDesk(t)
			holder := identity(t, o.ca, x509.Certificate{Subject: pkix.Name{CommonName: "holder"}})
			var proof []byte
			o.challenge = func(q cmc.Request, p *cmc.PKIResponse) bool {
				if answer, err := cmc.One[cmc.DecryptedPOP](o.data.Controls); err == nil && answer != nil {
					err := answer.Value.Verify(proof, q, cmc.Options{})
					nonce, _ := cmc.One[cmc.RecipientNonce](o.data.Controls)
					if err != nil || string(nonce.Value) != "challenge-nonce" {
						t.Errorf("%s: %v", name, err)
					}
					return false
				}
				asked := q
				if !honest { // to somebody else
					other := *q.CRMF
					der, _ := x509.MarshalPKIXPublicKey(testKey(t).Public())
					other.Request.Template.PublicKey = der
					asked.CRMF = &other
				}
				c, value, err := cmc.NewChallenge(cmc.Challenged{Request: asked})
				if err != nil {
					t.Error(err)
				}
				proof = value
				need := cmc.POPMissing
				p.Controls[0] = control(t, cmc.StatusInfoV2{Status: cmc.POPRequired, Bodies: []cmc.Reference{{ID: q.ID}}, Fail: &need})
				if err := p.Add(c, cmc.SenderNonce("challenge-nonce")); err != nil {
					t.Error(err)
				}
				return true
			}
			e := device(t)
			e.Key = nil
			a, err := o.client(t, nil).FullCMC(t.Context(), Full{Enrolment: e, Sealed: key, Signer: &holder})
			switch {
			case honest && (err != nil || !sameKey(a.Issued.Certificate.PublicKey, key.(publicHalf).Public())):
				t.Errorf("%s: %+v, %v", name, a, err)
			case !honest && err == nil:
				t.Errorf("%s: another's challenge is answered", name)
			}
		}
	}
}

// Published anchors: the first by a person's word, later ones by who stands under a
// current one, now, and in their order (RFC 7030 §4.1.1, RFC 5272 §6.15).
func TestPublishedAnchors(t *testing.T) {
	o := newDesk(t)
	next := newIssuer(t, "Next Root", nil)
	sequence := int64(7)
	anchors := []*x509.Certificate{o.ca.Cert}
	o.reply = func(p *cmc.PKIResponse) {
		var all [][]byte
		o.others = anchors
		for _, c := range anchors {
			all = append(all, c.Raw)
		}
		v, err := cmc.Publish(big.NewInt(sequence), all...)
		if err != nil {
			t.Error(err)
		}
		if err := p.Add(v); err != nil {
			t.Error(err)
		}
	}
	o.others = anchors
	nobody := func(c *ClientConfig) { c.Trust = Trust{}; c.Login = &Login{User: "u", Password: "p"} }
	offer, seen, err := o.client(t, nobody).BootstrapCMC(t.Context())
	if err != nil || seen.Int64() != 7 || len(offer.Roots()) != 1 {
		t.Fatalf("%v, %v", seen, err)
	}
	if len(o.data.Requests) > 0 || len(o.message.Signers()) > 0 {
		t.Error("something else was asked for")
	}
	trust, err := offer.Accept(Fingerprint(o.ca.Cert.Raw, "sha256"))
	if err != nil || len(trust.Explicit) != 1 {
		t.Fatal(err)
	}
	if _, err := offer.Accept(Fingerprint(next.Cert.Raw, "sha256")); err == nil {
		t.Error("a root that is not there is accepted")
	}
	anchors, o.others = []*x509.Certificate{next.Cert}, []*x509.Certificate{next.Cert}
	for name, test := range map[string]struct {
		sequence int64
		signed   time.Time
		good     bool
	}{
		"the next one":     {8, time.Now(), true},
		"the same number":  {7, time.Now(), false},
		"an older number":  {6, time.Now(), false},
		"an old signature": {9, time.Now().Add(-48 * time.Hour), false},
		"one of tomorrow":  {9, time.Now().Add(48 * time.Hour), false},
	} {
		sequence, o.signed = test.sequence, test.signed
		c := o.client(t, func(c *ClientConfig) { c.Trust = trust })
		a, err := c.FullCMC(t.Context(), Full{Anchors: true})
		if err != nil || a.Publication == nil {
			t.Fatalf("%s: %+v, %v", name, a, err)
		}
		after, err := trust.Publish(a.Publication, seen, time.Now())
		if (err == nil) != test.good || test.good && (len(after.Explicit) != 1 || !after.Explicit[0].Equal(next.Cert)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := trust.Publish(&Publication{Sequence: big.NewInt(99), Anchors: anchors, Signed: time.Now()}, nil, time.Now()); err == nil {
		t.Error("anchors that nobody signed are taken")
	}
}
