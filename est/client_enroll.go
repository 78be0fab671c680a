package est

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"chancery/cms"
)

// Linking says where a request carries what binds it to its connection (RFC 7030 §3.5).
type Linking string

// The places. LinkByDefault links always: in estIdentityLinking if the server announced
// that, or if the challenge password is taken by a secret, else in challengePassword.
// LinkNever is for servers that read any challengePassword as a secret of theirs, as
// EJBCA and OpenXPKI do.
const (
	LinkByDefault   Linking = ""
	LinkInChallenge Linking = "challenge"
	LinkInIdentity  Linking = "identity"
	LinkNever       Linking = "never"
)

// Enrolment is one request for a certificate.
type Enrolment struct {
	// Key is what is certified. The request is signed with it anew for each connection.
	Key crypto.Signer
	// Request is what is asked for; what the server demands is added to it.
	Request Request
	Hash    crypto.Hash // of the signature; 0: the server's wish, else what fits the key
	// Wanted is what the server's CSR attributes came to; see [Client.Wanted].
	Wanted *Wanted
	// Renews is the certificate that a re-enrolment replaces. It is shown in TLS if that
	// is possible, else another of its subject (RFC 7030 §3.3.2).
	Renews  *x509.Certificate
	Linking Linking
	// Secret goes into challengePassword, for servers that read an enrolment secret
	// there; into otpChallenge where the server announced that (RFC 7894 §3.1).
	Secret Password
	// Revocation goes into revocationChallenge (RFC 7894 §3.2), asked for or not: with it the
	// certificate can be revoked later, by CMC (RFC 5272 §6.11), without its key.
	Revocation Password
	// AcceptChanged takes a certificate that lacks names that were asked for.
	AcceptChanged bool
}

// Issued is a certificate that came.
type Issued struct {
	Certificate *x509.Certificate
	Others      []*x509.Certificate // what else the answer held; nothing has verified it
	Linked      bool                // the request was bound to its connection
	Shown       bool                // a client certificate was shown
	Server      Server
	// Differences say in words where the certificate is not what was asked for.
	Differences []string
}

// MismatchError says that the certificate that came is not for the names that were
// asked for. It is a good one all the same, and may be kept.
type MismatchError struct {
	Issued  *Issued
	Missing []string
}

// Error names what is missing.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("a certificate came, but not for %s: the CA decides about names, so ask its people, or accept it as it is", strings.Join(e.Missing, ", "))
}

// Enroll asks for a certificate (/simpleenroll, RFC 7030 §4.2.1).
func (c *Client) Enroll(ctx context.Context, e Enrolment) (*Issued, error) {
	return c.simple(ctx, SimpleEnroll, e)
}

// Reenroll asks for the successor of e.Renews (/simplereenroll, RFC 7030 §4.2.2): with
// its subject and alternative names, whatever e.Request says about these. What shall
// change goes into a [NameChange] among e.Request.Attributes. A key other than the
// certificate's makes it a rekey.
func (c *Client) Reenroll(ctx context.Context, e Enrolment) (*Issued, error) {
	if e.Renews == nil {
		return nil, errors.New("a re-enrolment needs the certificate that it renews")
	}
	e.Request = e.Request.renewing(e.Renews)
	return c.simple(ctx, SimpleReenroll, e)
}

// renewing takes over the names of a certificate.
func (r Request) renewing(old *x509.Certificate) Request {
	r.Subject, r.SubjectName = old.RawSubject, pkix.Name{}
	r.DNSNames, r.EmailAddresses, r.IPAddresses, r.URIs, r.RawSAN = nil, nil, nil, nil, nil
	for _, extension := range old.Extensions {
		if extension.Id.Equal(oidSAN) {
			r.RawSAN = extension.Value
		}
	}
	return r
}

func (c *Client) simple(ctx context.Context, op Operation, e Enrolment) (*Issued, error) {
	if e.Key == nil {
		return nil, errors.New("there is no key to certify")
	}
	draft, err := e.draft()
	if err != nil {
		return nil, err
	}
	linked := false
	o, err := c.do(ctx, errand{
		op: op, method: http.MethodPost, media: PKCS10, candidates: c.candidates(e.Renews), discloses: draft.secret,
		build: func(cs *tls.ConnectionState) (body []byte, err error) {
			body, linked, err = draft.bound(cs, e.Key)
			return body, err
		},
	})
	if pending, ok := errors.AsType[*PendingError](err); ok {
		pending.Linked = linked
	}
	if err != nil {
		return nil, err
	}
	all, err := certificates(op, o.reply)
	if err != nil {
		return nil, err
	}
	issued, err := c.choose(op, o, choice{all, e.Key.Public(), e.Renews})
	if err != nil {
		return nil, err
	}
	issued.Linked = linked
	return issued, e.compare(draft.request, issued)
}

// candidates are the certificates that may be shown: for a renewal the one that is
// renewed, else those of its subject, else all.
func (c *Client) candidates(renews *x509.Certificate) []ClientIdentity {
	usable := slices.DeleteFunc(slices.Clone(c.config.Identities), func(i ClientIdentity) bool { return !forTLS(i.Certificate) })
	if renews == nil {
		return usable
	}
	rank := func(i ClientIdentity) int {
		switch now := c.config.Now(); {
		case i.Certificate.Equal(renews):
			return 0
		case !bytes.Equal(i.Certificate.RawSubject, renews.RawSubject):
			return 3
		case now.After(i.Certificate.NotAfter):
			return 2
		}
		return 1
	}
	slices.SortStableFunc(usable, func(a, b ClientIdentity) int { return rank(a) - rank(b) })
	return usable
}

// draft is a request that lacks only its connection.
type draft struct {
	request Request
	hash    crypto.Hash
	linking Linking
	demand  bool // the server demands that it is linked
	inID    bool // it reads estIdentityLinking
	otp     bool // it reads otpChallenge
	secret  bool // a secret is among its attributes
}

// draft adds what the server wants. What it wants and cannot be had is an error before
// anything is sent.
func (e Enrolment) draft() (*draft, error) {
	d := &draft{request: e.Request, hash: e.Hash, linking: e.Linking}
	d.request.Attributes = slices.Clone(e.Request.Attributes)
	d.request.Extensions = slices.Clone(e.Request.Extensions)
	if e.Wanted != nil {
		if err := e.obey(d); err != nil {
			return nil, err
		}
	}
	inChallenge := e.Secret != "" && !d.otp
	d.secret = e.Secret != "" || e.Revocation != ""
	if e.Revocation != "" {
		d.request.Attributes = append(d.request.Attributes, RevocationChallenge(string(e.Revocation)))
	}
	switch {
	case inChallenge && e.Linking == LinkInChallenge:
		return nil, errors.New("the challenge password can hold the enrolment secret or what links the request to its connection, not both")
	case inChallenge:
		d.request.Attributes = append(d.request.Attributes, ChallengePassword(string(e.Secret)))
	case e.Secret != "":
		d.request.Attributes = append(d.request.Attributes, OTPChallenge(string(e.Secret)))
	}
	if d.linking == LinkByDefault {
		switch {
		case d.inID:
			d.linking = LinkInIdentity
		case inChallenge:
			d.linking = LinkNever
		default:
			d.linking = LinkInChallenge
		}
	}
	return d, nil
}

// bound encodes and signs the request for a connection.
func (d *draft) bound(cs *tls.ConnectionState, key crypto.Signer) (body []byte, linked bool, err error) {
	r := d.request
	r.Attributes = slices.Clone(d.request.Attributes)
	if d.linking != LinkNever {
		binding, err := BindingOf(cs)
		switch {
		case err != nil && d.demand:
			return nil, false, fmt.Errorf("the server demands that requests are linked to their connection (RFC 7030 section 3.5): %w", err)
		case err != nil: // a value that binds nothing is better not sent
		case d.linking == LinkInIdentity:
			r.Attributes, linked = append(r.Attributes, IdentityLinking(binding.Text())), true
		default:
			r.Attributes, linked = append(r.Attributes, ChallengePassword(binding.Text())), true
		}
	}
	der, err := r.Sign(key, d.hash)
	if err != nil {
		return nil, false, err
	}
	return Encode(der, Wrapped), linked, nil
}

// choice is what was got, and for which key.
type choice struct {
	from   []*x509.Certificate
	public crypto.PublicKey
	renews *x509.Certificate // which it is not; nil
}

// choose finds the certificate of a key in an answer, wherever it stands.
func (c *Client) choose(op Operation, o *outcome, got choice) (*Issued, error) {
	i := &Issued{Server: o.server, Shown: o.shown}
	for _, one := range got.from {
		// A server may send along the certificate that is renewed, of the same key.
		if !sameKey(one.PublicKey, got.public) || got.renews != nil && one.Equal(got.renews) {
			i.Others = append(i.Others, one)
			continue
		}
		if i.Certificate != nil { // the later one
			older := one
			if one.NotBefore.After(i.Certificate.NotBefore) {
				older, i.Certificate = i.Certificate, one
			}
			i.Others = append(i.Others, older)
			continue
		}
		i.Certificate = one
	}
	if i.Certificate == nil {
		return nil, &AnswerError{Operation: op, Reason: fmt.Sprintf("there is no certificate of the key that was asked for among the %d that came", len(got.from))}
	}
	if now := c.config.Now(); now.After(i.Certificate.NotAfter) {
		return nil, &AnswerError{Operation: op, Reason: "the certificate that came has ended already: is the clock of this machine right?"}
	}
	if trust := c.Trust(); len(trust.Explicit) > 0 {
		options := trust.options(c.config.Now())
		options.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
		// A clock that is behind by less than the CA's backdating is no difference.
		if i.Certificate.NotBefore.After(options.CurrentTime) {
			options.CurrentTime = i.Certificate.NotBefore
		}
		for _, one := range i.Others {
			options.Intermediates.AddCert(one)
		}
		if _, err := i.Certificate.Verify(options); err != nil {
			i.Differences = append(i.Differences, fmt.Sprintf("it does not lead to the CA certificates that are known (%v): fetch them again", err))
		}
	}
	return i, nil
}

// certificates reads a certs-only answer, however it is encoded.
func certificates(op Operation, r *reply) ([]*x509.Certificate, error) {
	if strings.Contains(r.media, "html") {
		return nil, &AnswerError{Operation: op, Reason: "is a web page, not EST: is the address right, and is there a proxy in between?"}
	}
	der, err := Decode(r.body, bodyMax)
	if err != nil {
		return nil, &AnswerError{Operation: op, Reason: "cannot be decoded", Err: err}
	}
	return bag(op, der)
}

// bag reads a certs-only message. Certificates that Go cannot read are left out: nothing
// could be done with them.
func bag(op Operation, der []byte) ([]*x509.Certificate, error) {
	b, err := cms.ParseBag(der)
	if err != nil {
		return nil, &AnswerError{Operation: op, Reason: "is no message with certificates", Err: err}
	}
	var all []*x509.Certificate
	var unread error
	for _, der := range b.Certificates {
		one, err := x509.ParseCertificate(der)
		if err != nil {
			unread = err
			continue
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return nil, &AnswerError{Operation: op, Reason: "holds no certificate that can be read", Err: unread}
	}
	return all, nil
}

// compare tells where the certificate is not what was asked for.
func (e Enrolment) compare(asked Request, got *Issued) error {
	change, err := changeOf(asked)
	if err != nil {
		return err
	}
	subject, missing := asked.missing(change, got.Certificate)
	if subject != "" {
		got.Differences = append(got.Differences, subject)
	}
	if len(missing) == 0 {
		return nil
	}
	if e.AcceptChanged {
		got.Differences = append(got.Differences, "it is not for "+strings.Join(missing, ", "))
		return nil
	}
	return &MismatchError{Issued: got, Missing: missing}
}
