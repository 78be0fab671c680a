package est

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	"chancery/cms"
	"chancery/cms/cmc"
)

// Full is a Full PKI Request (RFC 5272) for /fullcmc. What is set of it is asked for: a
// certificate when Enrolment.Key is set, a revocation, the state of a request under way.
type Full struct {
	Enrolment
	// CRMF asks by RFC 4211 instead of PKCS #10.
	CRMF bool
	// Sealed is certified instead of Enrolment.Key, which is nil then: a key that can only
	// decrypt (X25519, or an RSA or ECDH key that is not to sign). It is asked for by
	// CRMF, and proves itself by decrypting the server's challenge (RFC 5272 §6.7). Signer
	// or Proof says who asks.
	Sealed crypto.PrivateKey
	// Signer signs the message; nil: the key that is to be certified does, or, without
	// one, nobody.
	Signer *ClientIdentity
	// Proof is a secret that the server knows (identityProofV2, RFC 5272 §6.2); it is
	// linked to the request (§6.3).
	Proof *Proof
	// Revoke asks for a revocation (RFC 5272 §6.11).
	Revoke *Revocation
	// Poll asks what became of a request (RFC 5272 §6.12), whose token it is; Transaction is
	// that request's, and Key, if it is set, the one whose certificate is awaited. Signer or
	// Proof, as of that request, says who asks.
	Poll []byte
	// Transaction ties several messages together (RFC 5272 §6.6); nil: a new one.
	Transaction *big.Int
	// Anchors asks for trust anchors alone: nothing is in the message, which the server
	// may answer with publishTrustAnchors (RFC 5272 §6.15).
	Anchors bool
}

// Proof is a shared secret with the name that goes with it.
type Proof struct {
	Name   string // identification; "": none
	Secret Password
}

// Revocation names a certificate and why it ends.
type Revocation struct {
	Certificate *x509.Certificate
	Reason      int       // a CRLReason (RFC 5280 §5.3.1)
	Since       time.Time // when the key was lost; zero: not said
	Secret      Password  // registered with the certificate; "": the message is signed by it
	Comment     string
}

// FullAnswer is a Full or Simple PKI Response.
type FullAnswer struct {
	Issued      *Issued // nil: none was asked for
	Statuses    []cmc.StatusInfoV2
	Transaction *big.Int
	Signer      *x509.Certificate // who signed the answer; nil: a Simple PKI Response
	// Publication is what publishTrustAnchors holds; see [Trust.Publish].
	Publication  *Publication
	Certificates []*x509.Certificate
	CRLs         [][]byte
	Server       Server

	outcome   *outcome // nil: a refusal, of this status
	status    int
	after     time.Duration // as a refusal's Retry-After says
	challenge *cmc.EncryptedPOP
	nonce     cmc.RecipientNonce // that answers the server's own
}

// FullError is an answer that says no, or not yet.
type FullError struct {
	HTTP     int // status
	Statuses []cmc.StatusInfoV2
	// Pending: the request waits; Token, with the transaction, asks for it (RFC 5272
	// §6.12), not before After.
	Pending     bool
	Token       []byte
	Transaction *big.Int
	After       time.Duration
}

// Error gives the server's words.
func (e *FullError) Error() string {
	var parts []string
	for _, s := range e.Statuses {
		text := s.Status.String()
		if s.Fail != nil {
			text += " (" + s.Fail.String() + ")"
		}
		if s.Text != "" {
			text += ": " + s.Text
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		parts = []string{fmt.Sprintf("HTTP status %d without a reason", e.HTTP)}
	}
	text := "the server answered fullcmc with " + strings.Join(parts, "; ")
	if e.Pending {
		text += fmt.Sprintf("; ask again in %v", e.After)
	}
	return text
}

// FullCMC does one exchange by /fullcmc (RFC 7030 §4.3). An answer that is signed has to
// be so by somebody whom Explicit anchors verify, and to be to this request.
func (c *Client) FullCMC(ctx context.Context, f Full) (*FullAnswer, error) {
	if f.Renews != nil {
		f.Request = f.Request.renewing(f.Renews)
	}
	draft, err := f.draft()
	if err != nil {
		return nil, err
	}
	m := &fullMessage{Full: f, draft: draft, nonce: make([]byte, 16), transaction: f.Transaction}
	_, _ = rand.Read(m.nonce) // it never fails
	if m.transaction == nil {
		if m.transaction, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
			return nil, err
		}
	}
	a, err := c.round(ctx, m)
	if err == nil && a.challenge != nil && m.Sealed != nil { // once: RFC 5272 §6.7
		if err = m.prove(a); err == nil {
			a, err = c.round(ctx, m)
		}
	}
	if err != nil {
		return nil, err
	}
	return c.fullAnswer(a, m)
}

// round sends the message and reads what came, be it a refusal by CMC.
func (c *Client) round(ctx context.Context, m *fullMessage) (*FullAnswer, error) {
	o, err := c.do(ctx, errand{
		op: FullCMC, method: http.MethodPost, media: PKCS7Mime + "; smime-type=" + CMCRequest, candidates: c.candidates(m.Renews), direct: true, discloses: m.discloses(),
		build: func(cs *tls.ConnectionState) ([]byte, error) { return m.body(cs) },
	})
	if refused, ok := errors.AsType[*StatusError](err); ok && refused.Body != nil {
		return c.fullRefused(refused, m)
	}
	if pending, ok := errors.AsType[*PendingError](err); ok {
		pending.Linked = m.linked
		return nil, c.fullPending(pending, m)
	}
	if err != nil {
		return nil, err
	}
	a, err := c.readFull(o.reply, m, true)
	if err != nil {
		return nil, err
	}
	a.outcome = o
	if a.Publication != nil {
		if err := publishes(a.Signer, o.server); err != nil {
			return nil, &AnswerError{Operation: FullCMC, Reason: "publishes trust anchors that are not to be believed", Err: err}
		}
	}
	return a, nil
}

// fullMessage is a request that lacks only its connection.
type fullMessage struct {
	Full
	draft       *draft
	nonce       []byte
	transaction *big.Int
	linked      bool
	answer      *cmc.DecryptedPOP // to the server's challenge; nil
	answers     cmc.RecipientNonce
	sealed      *cmc.CertReqMsg // as it was sent
}

// public is the key that is to be certified, nil when none is.
func (m *fullMessage) public() crypto.PublicKey {
	switch half, ok := m.Sealed.(publicHalf); {
	case ok:
		return half.Public()
	case m.Key != nil:
		return m.Key.Public()
	}
	return nil
}

// own are the keys of the message's maker.
func (m *fullMessage) own() []crypto.PublicKey {
	own := []crypto.PublicKey{m.public()}
	if m.Signer != nil {
		own = append(own, m.Signer.Certificate.PublicKey)
	}
	if m.Renews != nil {
		own = append(own, m.Renews.PublicKey)
	}
	return own
}

// asks tells whether the message holds a request for a certificate.
func (m *fullMessage) asks() bool { return m.public() != nil && m.Poll == nil }

// discloses tells whether the message holds a secret, or a MAC by one, on which guesses
// could be tried.
func (m *fullMessage) discloses() bool {
	byCRMF := m.CRMF || m.Sealed != nil // which has no attributes
	return m.Proof != nil || m.Revoke != nil && m.Revoke.Secret != "" || m.asks() && !byCRMF && m.draft.secret
}

// body encodes, signs and wraps the message for a connection.
func (m *fullMessage) body(cs *tls.ConnectionState) ([]byte, error) {
	data := &cmc.PKIData{}
	if err := data.Add(cmc.TransactionID{Number: m.transaction}, cmc.SenderNonce(m.nonce)); err != nil {
		return nil, err
	}
	random := cmc.NewPOPLinkRandom()
	if m.Proof != nil {
		if m.Proof.Name != "" {
			if err := data.Add(cmc.Identification(m.Proof.Name)); err != nil {
				return nil, err
			}
		}
	}
	if m.Proof != nil && m.asks() {
		if err := data.Add(random); err != nil {
			return nil, err
		}
	}
	if m.asks() {
		if err := m.addRequest(cs, data, random); err != nil {
			return nil, err
		}
	}
	if m.answer != nil { // after the request, which keeps its id
		if err := data.Add(*m.answer, m.answers); err != nil {
			return nil, err
		}
	}
	if m.Poll != nil {
		if err := data.Add(cmc.QueryPending(m.Poll)); err != nil {
			return nil, err
		}
	}
	if r := m.Revoke; r != nil {
		v := cmc.RevokeRequest{Issuer: r.Certificate.RawIssuer, Serial: r.Certificate.SerialNumber, Reason: r.Reason, InvalidityDate: r.Since, Comment: r.Comment}
		if r.Secret != "" {
			v.Secret = cmc.Secret(r.Secret)
		}
		if err := data.Add(v); err != nil {
			return nil, err
		}
	}
	if m.Proof != nil { // over the requests, so it comes last
		requests, err := data.RequestBytes()
		if err != nil {
			return nil, err
		}
		proof, err := cmc.ProveIdentity(cmc.Identity{Secret: cmc.Secret(m.Proof.Secret), Name: cmc.Identification(m.Proof.Name)}, crypto.SHA256, requests)
		if err != nil {
			return nil, err
		}
		if err := data.Add(proof); err != nil {
			return nil, err
		}
	}
	der, err := cmc.FullRequest(data, m.wrapping())
	if err != nil {
		return nil, err
	}
	return Encode(der, Wrapped), nil
}

// wrapping is the SignedData around it.
func (m *fullMessage) wrapping() cmc.Wrapping {
	switch {
	case m.Signer != nil:
		w := cmc.Wrapping{Signers: []cms.Signing{{Key: m.Signer.Key, Certificate: m.Signer.Certificate}}, Certificates: [][]byte{m.Signer.Certificate.Raw}}
		for _, above := range m.Signer.Chain {
			w.Certificates = append(w.Certificates, above.Raw)
		}
		return w
	case m.Key != nil && (m.asks() || m.Proof == nil): // a poll does not hold the key that verifies
		return cmc.Wrapping{Signers: []cms.Signing{{Key: m.Key, KeyID: keyID(m.Key.Public())}}}
	}
	return cmc.Wrapping{}
}

// addRequest adds the request for a certificate: PKCS #10, linked to the connection as a
// simple one is, or CRMF.
func (m *fullMessage) addRequest(cs *tls.ConnectionState, data *cmc.PKIData, random cmc.POPLinkRandom) error {
	var witness *cmc.POPLinkWitnessV2
	if m.Proof != nil {
		w, err := cmc.Link(cmc.Secret(m.Proof.Secret), random, crypto.SHA256)
		if err != nil {
			return err
		}
		witness = &w
	}
	if m.CRMF || m.Sealed != nil {
		return m.addCRMF(data, witness)
	}
	r := *m.draft
	if witness != nil {
		a, err := cmc.Attribute(*witness)
		if err != nil {
			return err
		}
		r.request.Attributes = append(slices.Clone(r.request.Attributes), a)
	}
	text, linked, err := r.bound(cs, m.Key)
	if err != nil {
		return err
	}
	m.linked = linked
	der, err := Decode(text, len(text))
	if err != nil {
		return err
	}
	_, err = data.AddRequest(cmc.Request{PKCS10: der})
	return err
}

// addCRMF asks by RFC 4211; possession is proved by a signature.
func (m *fullMessage) addCRMF(data *cmc.PKIData, witness *cmc.POPLinkWitnessV2) error {
	if m.sealed != nil { // the one that was challenged
		_, err := data.AddRequest(cmc.Request{CRMF: m.sealed})
		return err
	}
	subject, err := m.draft.request.subject()
	if err != nil {
		return err
	}
	message := &cmc.CertReqMsg{Request: cmc.CertRequest{ID: data.Next(), Template: cmc.CertTemplate{Subject: subject}}}
	extensions := slices.Clone(m.draft.request.Extensions)
	san, err := m.draft.request.SAN()
	if err != nil {
		return err
	}
	if san != nil {
		extensions = append(extensions, pkix.Extension{Id: oidSAN, Critical: bytes.Equal(subject, []byte{0x30, 0}), Value: san})
	}
	message.Request.Template.Extensions = extensions
	for _, a := range m.draft.request.Attributes {
		if a.Type.Equal(OIDRevocationChallenge) && len(a.Values) == 1 { // the one that is no PKCS #10's alone
			message.Request.Controls = append(message.Request.Controls, cmc.AttributeTypeAndValue{Type: a.Type, Value: a.Values[0]})
		}
	}
	if witness != nil {
		control, err := cmc.CRMFControl(*witness)
		if err != nil {
			return err
		}
		message.Request.Controls = append(message.Request.Controls, control)
	}
	if m.Sealed != nil {
		if err := m.askChallenge(message); err != nil {
			return err
		}
	} else if err := message.Sign(m.Key, m.draft.hash); err != nil {
		return err
	}
	_, err = data.AddRequest(cmc.Request{CRMF: message})
	return err
}

// keyID is the identifier of a key without a certificate (RFC 5280 §4.2.1.2).
func keyID(public crypto.PublicKey) []byte {
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil
	}
	id, err := (&OwnKey{Certificate: &x509.Certificate{RawSubjectPublicKeyInfo: spki}}).id()
	if err != nil {
		return nil
	}
	return id
}

// oidCMCCA is id-kp-cmcCA (RFC 6402 §2.10).
var oidCMCCA = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 27}
