package estserver

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"chancery/internal/ca"
)

// SRPUser is the header field in which the terminator's socket hears the user of a
// TLS-SRP connection. The terminator has to set it in every request, as the client may
// send one of its own.
const SRPUser = "Est-Srp-User"

// Bounds of what a user sends, in octets.
const (
	maxUser     = 256
	maxPassword = 1024
	// maxCredentials is how many passwords of one user are tried against a Digest or a
	// proof of CMC, neither of which says by which it was made.
	maxCredentials = 256
)

// repeatTime is how long after its certificate a one-time password is still tried there
// for certain, as its request may come again.
const repeatTime = 24 * time.Hour

// tried selects the passwords of a user for that.
func tried(user string, now time.Time) CredentialQuery {
	return CredentialQuery{User: user, Limit: maxCredentials, Now: now, Spent: now.Add(-repeatTime)}
}

// user adds the HTTP user to the identity. A *refusal says that its password does not
// count. Where the label takes no password, what is sent is not looked at.
func (s *Server) user(c *call, who *Identity) error {
	if c.terminated && c.label.takes(BySRP) {
		if err := srpUser(c.r, who); err != nil {
			return err
		}
	}
	if !c.label.takes(ByPassword) && !c.label.takes(ByOneTime) {
		return nil
	}
	scheme, rest, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	rest = strings.TrimLeft(rest, " ") // RFC 9110 §11.4: one space or more
	var found *Credential
	var err error
	via := ViaBasic
	switch {
	case scheme == "":
		return nil
	case strings.EqualFold(scheme, "Basic"):
		name, password, ok := basic(rest)
		if !ok {
			return refuse(http.StatusBadRequest, "the Authorization field cannot be read as Basic (RFC 7617)")
		}
		found, err = s.password(c, name, password)
	case strings.EqualFold(scheme, "Digest") && s.Digest != DigestOff:
		via = ViaDigest
		found, err = s.digest(c, rest)
	default:
		return &refusal{Status: http.StatusUnauthorized, Challenge: true, Text: "a scheme of authentication that is not offered"}
	}
	if err != nil {
		return err
	}
	if who.Credential != nil { // of SRP: both have to be the same user
		if found.User != who.Credential.User {
			return refuse(http.StatusForbidden, "the user of the TLS connection and that of HTTP are not the same")
		}
		if found.OneTime {
			who.OneTime = found
		}
		return nil
	}
	who.Credential, who.Via = found, via
	return nil
}

// basic reads what Basic carries (RFC 7617 §2).
func basic(text string) (user, password string, ok bool) {
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(plain), ":")
}

// srpUser takes the terminator's word for who the user is. Apache writes "(null)" for
// what it does not know.
func srpUser(r *http.Request, who *Identity) error {
	names := r.Header.Values(SRPUser)
	if len(names) > 1 {
		return refuse(http.StatusBadRequest, "the field %s came twice: the terminator has to replace what clients send", SRPUser)
	}
	if len(names) == 0 || names[0] == "" || names[0] == "(null)" {
		return nil
	}
	if !plainUser(names[0]) {
		return refuse(http.StatusForbidden, "the user name is too long or has characters that no name has")
	}
	who.Credential, who.Via = &Credential{User: names[0]}, ViaSRP
	return nil
}

func plainUser(name string) bool {
	return len(name) <= maxUser && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// password finds the user's credential that the password is of, a one-time or the
// standing one as the label takes them. The user may be "" (RFC 7030 §3.2.3). Users
// that do not exist cost as much as those that do.
func (s *Server) password(c *call, user, password string) (*Credential, error) {
	if err := s.attempts.blocked(user, c); err != nil {
		return nil, err
	}
	if !plainUser(user) || len(password) > maxPassword {
		return nil, s.failed(c, user, "the user name or password is too long, or has control characters")
	}
	if c.label.takes(ByOneTime) {
		found, err := s.oneTime(c, user, password)
		if found != nil || err != nil {
			return found, err
		}
	}
	if !c.label.takes(ByPassword) {
		return nil, s.failed(c, user, "no such one-time password counts here")
	}
	list, err := s.Credentials.Credentials(c.r.Context(), CredentialQuery{User: user, Limit: 1}) // the standing one comes first
	if err != nil {
		return nil, err
	}
	standing := Credential{}
	if i := slices.IndexFunc(list, func(k Credential) bool { return !k.OneTime && k.counts(c) }); i >= 0 {
		standing = list[i]
	}
	ok, err := s.passwords.verify(c, password, standing.Hash)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, s.failed(c, user, "the user name or password is wrong")
	}
	return &standing, nil
}

// oneTime finds a one-time password; nil: there is none that counts. One that was
// given to no user counts whatever name comes with it: some clients cannot send none.
func (s *Server) oneTime(c *call, user, password string) (*Credential, error) {
	found, err := s.Credentials.CredentialByDigest(c.r.Context(), OneTimeDigest(password))
	switch {
	case ca.KindOf(err) == ca.NotFound:
		return nil, nil
	case err != nil:
		return nil, err
	case !found.OneTime || !found.counts(c) || found.User != "" && found.User != user:
		return nil, nil
	}
	return &found, nil
}

// counts tells whether a credential is good now and under the label.
func (k *Credential) counts(c *call) bool {
	return (k.Expires.IsZero() || c.now.Before(k.Expires)) && k.under(c.label)
}

// under tells whether a credential is for the label.
func (k *Credential) under(l *Label) bool {
	return len(k.Labels) == 0 || slices.Contains(k.Labels, l.Name)
}

// secrets adds the passwords that stand in the request itself: RFC 7894's otpChallenge
// anywhere, and challengePassword where the label reads it so. Each that is there has
// to be right (RFC 7894 §4).
func (s *Server) secrets(c *call, who *Identity) error {
	if c.request == nil {
		return nil
	}
	if text, ok, err := c.request.OTPChallenge(); err != nil {
		return err
	} else if ok {
		if err := s.secret(c, who, attributeText{"otpChallenge", text}); err != nil {
			return err
		}
	}
	if !c.label.ChallengeSecret {
		return nil
	}
	text, ok, err := c.request.ChallengePassword()
	if err != nil || !ok {
		return err
	}
	return s.secret(c, who, attributeText{"challengePassword", text})
}

// secret verifies one: a one-time password, or in challengePassword the standing one
// of the HTTP user, else of the user that the common name names.
func (s *Server) secret(c *call, who *Identity, a attributeText) error {
	user := ""
	if who.Credential != nil {
		user = who.Credential.User
	} else if subject, err := ca.SubjectOf(c.request.RawSubject); err == nil {
		user = subject.CommonName
	}
	if err := s.attempts.blocked(user, c); err != nil {
		return err
	}
	var found *Credential
	var err error
	if c.label.takes(ByOneTime) {
		found, err = s.oneTime(c, user, a.text)
	}
	if err == nil && found == nil && a.attribute == "challengePassword" && c.label.takes(ByPassword) {
		found, err = s.password(c, user, a.text)
	} else if err == nil && found == nil {
		err = s.failed(c, user, "no such one-time password counts here")
	}
	if r, wrong := err.(*refusal); wrong && r.Challenge { //nolint:errorlint // made by failed
		return refuse(http.StatusForbidden, "the request's %s is not a secret that counts here; ask the administrators for one", a.attribute)
	}
	if err != nil {
		return err
	}
	return who.add(found)
}

// add joins a secret of the request to the identity.
func (i *Identity) add(found *Credential) error {
	switch had := i.oneTime(); {
	case i.Credential == nil:
		i.Credential, i.Via = found, ViaChallenge
	case !found.OneTime || had != nil && had.ID == found.ID: // it says the same as what is known
	case had != nil:
		return refuse(http.StatusForbidden, "the request comes with two one-time passwords; one is enough")
	default:
		i.OneTime = found
	}
	return nil
}
