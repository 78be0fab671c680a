package est

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"testing"
)

const bodySecret = "enrolment-secret"

// secretErrands are all requests that hold a secret.
func secretErrands(t *testing.T, ca *issuer) map[string]func(*Client) error {
	holder := identity(t, ca, x509.Certificate{Subject: pkix.Name{CommonName: "holder"}})
	enroll := func(change func(*Enrolment)) func(*Client) error {
		return func(c *Client) error {
			e := device(t)
			change(&e)
			_, err := c.Enroll(t.Context(), e)
			return err
		}
	}
	full := func(f Full) func(*Client) error {
		return func(c *Client) error { _, err := c.FullCMC(t.Context(), f); return err }
	}
	withSecret := device(t)
	withSecret.Secret = bodySecret
	return map[string]func(*Client) error{
		"challengePassword": enroll(func(e *Enrolment) { e.Secret = bodySecret }),
		"otpChallenge":      enroll(func(e *Enrolment) { e.Secret, e.Wanted = bodySecret, &Wanted{OTPChallenge: true} }),
		"revocationChallenge": enroll(func(e *Enrolment) {
			e.Revocation, e.Wanted = bodySecret, &Wanted{RevocationChallenge: true}
		}),
		"revocationChallenge, unasked": enroll(func(e *Enrolment) { e.Revocation = bodySecret }),
		"serverkeygen": func(c *Client) error {
			_, err := c.ServerKeyGen(t.Context(), KeyOrder{Enrolment: withSecret})
			return err
		},
		"CMC, in the PKCS #10": full(Full{Enrolment: withSecret}),
		"CMC, a proof":         full(Full{Enrolment: device(t), Proof: &Proof{Name: "u", Secret: bodySecret}}),
		"CMC, a proof of CRMF": full(Full{Enrolment: device(t), CRMF: true, Proof: &Proof{Name: "u", Secret: bodySecret}}),
		"CMC, a revocation":    full(Full{Revoke: &Revocation{Certificate: holder.Certificate, Secret: bodySecret}}),
	}
}

var enrolments = []Operation{SimpleEnroll, ServerKeyGen, FullCMC}

// Secrets inside requests are kept from servers that Implicit anchors alone verify, as
// passwords are (RFC 7030 §6).
func TestSecretsInRequestsNeedExplicitAnchors(t *testing.T) {
	s := open(t, nil)
	reached := 0
	for _, op := range enrolments {
		s.handler[op] = func(w http.ResponseWriter, r *http.Request) {
			reached++
			http.Error(w, "no", http.StatusForbidden)
		}
	}
	implicit := func(c *ClientConfig) { c.Trust = Trust{Implicit: pool(s.ca.Cert)} }
	for name, do := range secretErrands(t, s.ca) {
		err := do(s.client(t, implicit))
		if refused, ok := errors.AsType[*ServerError](err); !ok || refused.Why != OnlyImplicit || reached > 0 {
			t.Errorf("%s: %v, sent %d times", name, err, reached)
		}
		for what, change := range map[string]func(*ClientConfig){
			"allowed expressly":      func(c *ClientConfig) { implicit(c); c.SecretsOverImplicit = true },
			"under explicit anchors": nil,
		} {
			reached = 0
			if _, ok := errors.AsType[*StatusError](do(s.client(t, change))); !ok || reached != 1 {
				t.Errorf("%s, %s: sent %d times", name, what, reached)
			}
		}
		reached = 0
	}
	// Without a secret such a server is one like others.
	holder := identity(t, s.ca, x509.Certificate{Subject: pkix.Name{CommonName: "holder"}})
	for name, do := range map[string]func(*Client) error{
		"enrol":  func(c *Client) error { _, err := c.Enroll(t.Context(), device(t)); return err },
		"by CMC": func(c *Client) error { _, err := c.FullCMC(t.Context(), Full{Enrolment: device(t)}); return err },
		"revoke": func(c *Client) error {
			_, err := c.FullCMC(t.Context(), Full{Signer: &holder, Revoke: &Revocation{Certificate: holder.Certificate}})
			return err
		},
	} {
		reached = 0
		if _, ok := errors.AsType[*StatusError](do(s.client(t, implicit))); !ok || reached != 1 {
			t.Errorf("%s: sent %d times", name, reached)
		}
	}
}

// No secret follows a redirect to another origin, whatever a person says about requests,
// and the flag about Implicit anchors is none about that.
func TestSecretsInRequestsDoNotFollowARedirect(t *testing.T) {
	for _, op := range enrolments {
		first, second, dial := twoServers(t, op, 307, "https://other.example/.well-known/est/"+string(op))
		for _, other := range enrolments {
			second.handler[other] = func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if der, err := Decode(body, bodyMax); err != nil || bytes.Contains(der, []byte(bodySecret)) {
					t.Errorf("the other server got the secret: %v", err)
				}
				http.Error(w, "no", http.StatusForbidden)
			}
		}
		asked := false
		agree := func(c *ClientConfig) {
			dial(c)
			c.SecretsOverImplicit = true
			c.Consent = func(context.Context, *url.URL, *url.URL) error { asked = true; return nil }
		}
		for name, do := range secretErrands(t, first.ca) {
			isFull := name[:3] == "CMC"
			if isFull != (op == FullCMC) || (name == "serverkeygen") != (op == ServerKeyGen) {
				continue
			}
			err := do(first.client(t, agree))
			if refused, ok := errors.AsType[*RedirectError](err); !ok || refused.To == "" || asked {
				t.Errorf("%s: %v, asked %t", name, err, asked)
			}
		}
		if got := second.visited(); len(got) > 0 {
			t.Errorf("%s: the other server was asked: %v", op, got)
		}
	}
	// At one origin it does follow.
	s := open(t, nil)
	s.handler[SimpleEnroll] = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/new/simpleenroll" {
			http.Redirect(w, r, "/new/simpleenroll", http.StatusTemporaryRedirect)
			return
		}
		p, err := requested(r)
		if err != nil {
			t.Error(err)
			return
		}
		if text, _, _ := p.ChallengePassword(); text != bodySecret {
			t.Errorf("%q", text)
		}
		s.answerBag(w, s.certified(p))
	}
	e := device(t)
	e.Secret = bodySecret
	if _, err := s.client(t, nil).Enroll(t.Context(), e); err != nil || !slices.Contains(s.visited(), "POST /new/simpleenroll") {
		t.Errorf("%v, %v", err, s.visited())
	}
}
