package est

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
)

// Attributes fetches what the server wishes requests to be like (/csrattrs, RFC 7030
// §4.5). No content, no such operation and an empty list are one: there are no wishes
// (RFC 7030 §4.5.2). renews is the certificate that is to be renewed, if one is: it is
// shown as the request itself will show it.
func (c *Client) Attributes(ctx context.Context, renews *x509.Certificate) (CSRAttrs, error) {
	o, err := c.do(ctx, errand{op: CSRAttributes, method: http.MethodGet, candidates: c.candidates(renews)})
	if failed, ok := errors.AsType[*StatusError](err); ok && failed.Missing() {
		return nil, nil
	}
	if err != nil || o.status == http.StatusNoContent {
		return nil, err
	}
	der, err := Decode(o.body, bodyMax)
	if err != nil {
		return nil, &AnswerError{Operation: CSRAttributes, Reason: "cannot be decoded", Err: err}
	}
	list, err := ParseCSRAttrs(der)
	if err != nil {
		return nil, &AnswerError{Operation: CSRAttributes, Reason: "cannot be read", Err: err}
	}
	return list, nil
}

// Wanted is what the server's wishes mean; nil when it has none.
func (c *Client) Wanted(ctx context.Context, renews *x509.Certificate) (*Wanted, error) {
	list, err := c.Attributes(ctx, renews)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	w, err := Want(list)
	if err != nil {
		return nil, &AnswerError{Operation: CSRAttributes, Reason: "contradicts itself", Err: err}
	}
	return &w, nil
}

// obey adds to a request what the server wishes, and tells what cannot be had before
// anything is sent.
func (e Enrolment) obey(d *draft) error {
	w := *e.Wanted
	if e.Key != nil {
		if err := w.CheckKey(e.Key.Public()); err != nil {
			return err
		}
	}
	if e.Renews != nil {
		w.Subject = nil // it is the old certificate's (RFC 7030 §4.2.2)
	}
	if err := w.Apply(&d.request); err != nil {
		return err
	}
	if d.hash == 0 {
		d.hash = w.Hash
	}
	d.inID, d.otp = w.IdentityLinking, w.OTPChallenge
	switch {
	case w.OTPChallenge && e.Secret == "":
		return fault(Unmet, "the server wants a one-time password in the request (RFC 7894 section 3.1): give it as the enrolment secret")
	case w.RevocationChallenge && e.Revocation == "":
		return fault(Unmet, "the server wants a secret in the request by which the certificate can be revoked (RFC 7894 section 3.2): give one")
	}
	d.demand = w.IdentityLinking || w.ChallengePassword && (e.Secret == "" || w.OTPChallenge)
	if d.demand && e.Linking == LinkNever {
		return fault(Unmet, "the server wants a challenge password in the request: let it be linked to its connection, or give the enrolment secret that it means")
	}
	return nil
}
