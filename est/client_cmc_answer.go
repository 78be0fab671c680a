package est

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net/http"
	"time"

	"chancery/cms"
	"chancery/cms/cmc"
)

// fullAnswer judges an answer.
func (c *Client) fullAnswer(a *FullAnswer, m *fullMessage) (*FullAnswer, error) {
	failed := a.failed(a.status, m)
	if failed == nil && a.outcome == nil {
		failed = &FullError{HTTP: a.status, Statuses: a.Statuses}
	}
	if failed != nil {
		failed.After = max(failed.After, a.after)
		return nil, failed
	}
	a.Server = a.outcome.server
	public := m.public()
	if public == nil {
		return a, nil
	}
	var err error
	a.Issued, err = c.choose(FullCMC, a.outcome, choice{a.Certificates, public, m.Renews})
	if err != nil {
		return nil, err
	}
	a.Issued.Linked = m.linked
	return a, m.compare(m.draft.request, a.Issued)
}

// fullRefused reads a CMC response that came with an error's status.
func (c *Client) fullRefused(refused *StatusError, m *fullMessage) (*FullAnswer, error) {
	a, err := c.readFull(&reply{status: refused.Status, media: refused.Media, body: refused.Body}, m, true)
	if err != nil || a.Signer == nil { // the status alone is to be believed
		return nil, refused
	}
	a.after = refused.RetryAfter
	return a, nil
}

// fullPending makes an error of a 202: with what asks for the request, if the answer says
// so (RFC 5272 §6.12); otherwise the request itself is repeated (RFC 7030 §4.2.3).
func (c *Client) fullPending(p *PendingError, m *fullMessage) error {
	a, err := c.readFull(&reply{status: http.StatusAccepted, media: p.media, body: p.body}, m, true)
	if err != nil || len(p.body) == 0 {
		return p
	}
	failed := a.failed(http.StatusAccepted, m)
	if failed == nil || !failed.Pending {
		return p
	}
	failed.After = max(failed.After, p.After)
	return failed
}

// readFull reads a response, Full or Simple, and verifies who signed it.
func (c *Client) readFull(r *reply, m *fullMessage, verified bool) (*FullAnswer, error) {
	fail := func(reason string, err error) (*FullAnswer, error) {
		return nil, &AnswerError{Operation: FullCMC, Reason: reason, Err: err}
	}
	der, err := Decode(r.body, bodyMax)
	if err != nil {
		return fail("cannot be decoded", err)
	}
	message, err := cmc.Opener{}.Open(der)
	if err != nil {
		return fail("is no PKI response", err)
	}
	a := &FullAnswer{CRLs: message.CRLs(), status: r.status}
	for _, one := range message.Certificates() {
		if parsed, err := x509.ParseCertificate(one); err == nil {
			a.Certificates = append(a.Certificates, parsed)
		}
	}
	if message.Response == nil { // certs-only: TLS alone vouches for it (RFC 7030 §4.3.2)
		return a, nil
	}
	var signed time.Time
	if verified {
		if a.Signer, signed, err = c.signedBy(message, m); err != nil {
			return fail("is not signed by whom it should", err)
		}
	}
	if err := a.read(message, m, verified); err != nil {
		return fail("is not to this request", err)
	}
	published, err := cmc.One[cmc.PublishTrustAnchors](message.Controls())
	if err != nil {
		return fail("cannot be read", err)
	}
	if published != nil {
		if a.Publication, err = publication(published.Value, message.Certificates()); err != nil {
			return fail("publishes trust anchors that cannot be read", err)
		}
		a.Publication.Signer, a.Publication.Signed = a.Signer, signed
	}
	return a, nil
}

// signedBy verifies the signature of a response: by a certificate that is enclosed, that
// Explicit anchors verify and that is of one who may; see [answersCMC].
func (c *Client) signedBy(m *cmc.Message, request *fullMessage) (*x509.Certificate, time.Time, error) {
	trust := c.Trust()
	signers := m.Signers()
	if len(signers) == 0 {
		return nil, time.Time{}, errors.New("nobody signed it")
	}
	first := signers[0]
	if first.Certificate == nil {
		return nil, time.Time{}, errors.New("the signer's certificate is not enclosed")
	}
	if err := m.Verify(first, first.Certificate.PublicKey, cmc.Options{}); err != nil {
		return nil, time.Time{}, err
	}
	options := trust.options(c.config.Now())
	options.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
	for _, der := range m.Certificates() {
		if one, err := x509.ParseCertificate(der); err == nil {
			options.Intermediates.AddCert(one)
		}
	}
	if _, err := first.Certificate.Verify(options); err != nil {
		return nil, time.Time{}, err
	}
	if err := answersCMC(first.Certificate); err != nil {
		return nil, time.Time{}, err
	}
	if err := c.others(first.Certificate.PublicKey, request.own()...); err != nil {
		return nil, time.Time{}, err
	}
	at, _, err := cms.Time(first.Info.Signed)
	return first.Certificate, at, err
}

// read takes the controls that every response has, and checks that they answer the
// request. Each has both a transactionId and a senderNonce, which the answer has to repeat
// (RFC 5272 §6.6): without them, a signature would be good for any request. Where nothing
// verifies who signed, they would show nothing.
func (a *FullAnswer) read(message *cmc.Message, m *fullMessage, verified bool) error {
	controls := message.Controls()
	found, err := cmc.All[cmc.StatusInfoV2](controls)
	if err != nil {
		return err
	}
	for _, one := range found {
		a.Statuses = append(a.Statuses, one.Value)
	}
	transaction, err := cmc.One[cmc.TransactionID](controls)
	if err != nil {
		return err
	}
	switch {
	case transaction == nil && verified:
		return errors.New("it does not repeat the transactionId (RFC 5272 section 6.6): it may be somebody else's answer, or an old one")
	case transaction != nil:
		a.Transaction = transaction.Value.Number
		if a.Transaction.Cmp(m.transaction) != 0 {
			return errors.New("it has another transactionId")
		}
	}
	nonce, err := cmc.One[cmc.RecipientNonce](controls)
	if err != nil {
		return err
	}
	switch {
	case nonce == nil && verified:
		return errors.New("it does not repeat the senderNonce as its recipientNonce (RFC 5272 section 6.6): it may be somebody else's answer, or an old one")
	case nonce != nil && !bytes.Equal(nonce.Value, m.nonce):
		return errors.New("it has another recipientNonce: it is somebody else's answer, or an old one")
	}
	theirs, err := cmc.One[cmc.SenderNonce](controls)
	if err != nil {
		return err
	}
	if theirs != nil {
		a.nonce = cmc.RecipientNonce(theirs.Value)
	}
	challenge, err := cmc.One[cmc.EncryptedPOP](controls)
	if err == nil && challenge != nil {
		a.challenge = &challenge.Value
	}
	return err
}

// failed gives the error that the statuses are, nil when they are none.
func (a *FullAnswer) failed(status int, m *fullMessage) *FullError {
	failed := &FullError{HTTP: status, Statuses: a.Statuses, Transaction: m.transaction}
	bad := status != http.StatusOK
	for _, s := range a.Statuses {
		switch s.Status {
		case cmc.Success:
			continue
		case cmc.Pending, cmc.Partial:
			if s.Pend != nil {
				failed.Pending, failed.Token = true, s.Pend.Token
				failed.After = max(time.Until(s.Pend.Time), retryLeast)
			}
		}
		if s.Status != cmc.ConfirmRequired {
			bad = true
		}
	}
	if !bad {
		return nil
	}
	return failed
}

// Publication is a set of trust anchors that somebody published (RFC 5272 §6.15).
type Publication struct {
	Sequence *big.Int
	Anchors  []*x509.Certificate
	Missing  int               // hashes of which no certificate came
	Signer   *x509.Certificate // verified by Explicit anchors; nil: at a bootstrap
	Signed   time.Time         // as the signer says; zero: not said
}

func publication(v cmc.PublishTrustAnchors, certificates [][]byte) (*Publication, error) {
	found, missing, err := v.Anchors(certificates, cmc.Options{})
	if err != nil {
		return nil, err
	}
	p := &Publication{Sequence: v.Sequence, Missing: len(missing)}
	for _, der := range found {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		p.Anchors = append(p.Anchors, c)
	}
	if len(p.Anchors) == 0 {
		return nil, errors.New("none of the certificates that it names came with it")
	}
	return p, nil
}

// freshest is how old the signature of a publication may be.
const freshest = 24 * time.Hour

// Publish makes published anchors the explicit ones, in place of those before: what is no
// longer published is no longer trusted (RFC 5272 §6.15). Somebody under a current anchor
// has to have signed them within a day, and the sequence number to be higher than last,
// which may be nil; the caller keeps the new one.
func (t Trust) Publish(p *Publication, last *big.Int, now time.Time) (Trust, error) {
	switch {
	case p.Signer == nil:
		return t, fault(Untrusted, "nobody whom a current trust anchor verifies published these anchors")
	case p.Signed.IsZero() || now.Sub(p.Signed).Abs() > freshest:
		return t, fault(Untrusted, "the anchors were published at %s, which is not now: they may be old ones that somebody sends again", p.Signed.UTC().Format(time.RFC3339))
	case last != nil && p.Sequence.Cmp(last) <= 0:
		return t, fault(Untrusted, "the published anchors have the sequence number %d, and %d was seen already", p.Sequence, last)
	case p.Missing > 0:
		return t, fault(Untrusted, "%d of the published anchors did not come with their hashes", p.Missing)
	}
	for _, c := range p.Anchors {
		if !c.IsCA {
			return t, fault(Untrusted, "the certificate of %q is published as an anchor and is no authority's", c.Subject)
		}
	}
	t.Explicit, t.ImplicitOff = p.Anchors, true
	return t, nil
}

// BootstrapCMC is [Client.Bootstrap] by /fullcmc (RFC 7030 §4.1.1): what publishTrustAnchors
// names can be accepted by a fingerprint. Sequence is to be kept after that.
func (c *Client) BootstrapCMC(ctx context.Context) (offer *Offer, sequence *big.Int, err error) {
	m := &fullMessage{Full: Full{Anchors: true}, nonce: []byte(rand.Text()), transaction: big.NewInt(1)}
	body, err := m.body(nil)
	if err != nil {
		return nil, nil, err
	}
	o, err := c.provisional(ctx, errand{op: FullCMC, method: http.MethodPost, media: PKCS7Mime + "; smime-type=" + CMCRequest, bare: true, build: func(*tls.ConnectionState) ([]byte, error) { return body, nil }})
	if err != nil {
		return nil, nil, err
	}
	a, err := c.readFull(o.reply, m, false)
	if err != nil {
		return nil, nil, err
	}
	if a.Publication == nil {
		return nil, nil, &AnswerError{Operation: FullCMC, Reason: "publishes no trust anchors: bootstrap by /cacerts"}
	}
	offer = &Offer{Server: o.server, bag: a.Publication.Anchors, now: c.config.Now}
	if len(offer.Roots()) == 0 {
		return nil, nil, &AnswerError{Operation: FullCMC, Reason: "publishes no self-signed certificate that a fingerprint could confirm"}
	}
	return offer, a.Publication.Sequence, nil
}
