package estserver

import (
	"context"
	"crypto/rand"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"chancery/internal/admin"
	"chancery/internal/ca"
)

// leastPassword is how long a password that a person chose must be.
const leastPassword = 12

// maxPatterns bounds the patterns and labels of a credential.
const maxPatterns = 100

// Grant is what a password is good for.
type Grant struct {
	User    string    `json:"user"`             // "" for a password without a user name
	Labels  []string  `json:"labels,omitempty"` // where it counts; none: everywhere
	Names   []string  `json:"names,omitempty"`  // patterns of what it may enrol, instead of est.label's names; none: those
	Expires time.Time `json:"expires,omitzero"` // RFC 3339; never without
}

// UserWanted is the input of est.user.add.
type UserWanted struct {
	Grant
	Password string `json:"password,omitempty"` // chosen; "": one is made
	CMC      bool   `json:"cmc,omitempty"`      // it is a shared secret of CMC as well, for which it is kept, sealed
	// Replace gives a user who is there another password. Labels, names and end stay as
	// they were, and so does whether it is a secret of CMC, unless others are given.
	Replace bool `json:"replace,omitempty"`
}

// String gives it without its password.
func (u UserWanted) String() string { return "user " + u.User }

// GoString is String.
func (u UserWanted) GoString() string { return u.String() }

// CredentialMade is the output of est.user.add and est.otp.add. A password that was
// made is shown this once.
type CredentialMade struct {
	ID       string `json:"id"`
	User     string `json:"user"`
	Password string `json:"password,omitempty"`

	Expires time.Time `json:"expires,omitzero"`
}

// String gives it without its password.
func (c CredentialMade) String() string { return "password of " + c.User }

// GoString is String.
func (c CredentialMade) GoString() string { return c.String() }

func (s *Server) addUser(ctx context.Context, caller admin.Caller, in UserWanted) (CredentialMade, error) {
	out := CredentialMade{User: in.User}
	password := in.Password
	if password == "" {
		password = rand.Text() // nothing that a shell or a client takes for something else
		out.Password = password
	}
	if n := utf8.RuneCountInString(password); n < leastPassword || len(password) > maxPassword || !utf8.ValidString(password) || strings.ContainsFunc(password, unicode.IsControl) {
		return CredentialMade{}, ca.Errorf(ca.Invalid, "a password has at least %d characters and at most %d octets, none of them a control character; leave it out to have one made", leastPassword, maxPassword)
	}
	var former *Credential
	kind := "est-user.added"
	if in.Replace {
		kind = "est-user.replaced"
		var err error
		if former, err = s.passwordOf(ctx, in.User); err != nil {
			return CredentialMade{}, err
		}
		in.keep(former)
	}
	c, err := s.credential(in.Grant, password)
	if err != nil {
		return CredentialMade{}, err
	}
	e := granted(caller, &c, kind)
	if former != nil {
		c.Replaces, e.Detail["replaces"] = former.ID, former.ID
	}
	if in.CMC {
		if err := s.share(&c, password); err != nil {
			return CredentialMade{}, err
		}
	}
	c.Hash, out.ID, out.Expires = HashPassword(password), c.ID, c.Expires
	return out, s.Credentials.AddCredential(ctx, c, e)
}

// keep leaves a user what the former password had and nothing was said of. An end that
// has passed wants another.
func (u *UserWanted) keep(former *Credential) {
	if len(u.Labels) == 0 {
		u.Labels = former.Labels
	}
	if len(u.Names) == 0 {
		u.Names = former.Names
	}
	if u.Expires.IsZero() {
		u.Expires = former.Expires
	}
	u.CMC = u.CMC || former.Sealed != nil
}

// passwordOf gives a user's password, kind NotFound when there is no such user.
func (s *Server) passwordOf(ctx context.Context, user string) (*Credential, error) {
	list, err := s.Credentials.Credentials(ctx, CredentialQuery{User: user, Limit: 1}) // the standing one comes first
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || list[0].OneTime {
		return nil, ca.Errorf(ca.NotFound, "there is no user %q; see: chancery est user list", clip(user))
	}
	return &list[0], nil
}

// credential makes what is the same of both kinds.
func (s *Server) credential(in Grant, password string) (Credential, error) {
	now := s.Clock()
	if !plainUser(in.User) || strings.Contains(in.User, ":") {
		return Credential{}, ca.Errorf(ca.Invalid, "a user name has at most %d octets, and no colon or control character (RFC 7617 section 2)", maxUser)
	}
	if err := expiry(in.Expires, now); err != nil {
		return Credential{}, err
	}
	if err := s.checkLabels(in.Labels); err != nil {
		return Credential{}, err
	}
	if len(in.Names) > maxPatterns {
		return Credential{}, ca.Errorf(ca.Invalid, "a password has at most %d patterns of names", maxPatterns)
	}
	for _, text := range in.Names {
		if _, err := parsePattern(text); err != nil {
			return Credential{}, ca.Errorf(ca.Invalid, "%w", err)
		}
	}
	c := Credential{ID: ca.NewID(), User: in.User, Labels: in.Labels, Names: in.Names, Created: now, Expires: in.Expires}
	if s.Digest != DigestOff {
		c.HA1, c.Realm = DigestHA1(in.User, s.Realm, password), s.Realm
		if s.Digest == DigestSHA256 { // MD5's is worth less to who steals it than it costs to guess
			delete(c.HA1, algorithmMD5)
		}
	}
	return c, nil
}

// granted is the event of a new password.
func granted(caller admin.Caller, c *Credential, kind string) ca.Event {
	e := administrator(caller).Event(c.Created, kind, c.ID)
	e.Detail = map[string]string{"user": c.User, "names": strings.Join(c.Names, " "), "labels": strings.Join(c.Labels, " ")}
	if !c.Expires.IsZero() {
		e.Detail["expires"] = c.Expires.UTC().Format(time.RFC3339)
	}
	return e
}

// OneTimeWanted is the input of est.otp.add.
type OneTimeWanted struct {
	Grant
	CMC bool `json:"cmc,omitempty"` // it is a shared secret of CMC as well, for which it is kept, sealed
}

func (s *Server) addOneTime(ctx context.Context, caller admin.Caller, in OneTimeWanted) (CredentialMade, error) {
	if err := s.hasRoom(ctx, in); err != nil {
		return CredentialMade{}, err
	}
	secret := ca.NewID() // 128 random bits that can be typed
	c, err := s.credential(in.Grant, secret)
	if err != nil {
		return CredentialMade{}, err
	}
	c.OneTime, c.Digest = true, OneTimeDigest(secret)
	if in.CMC {
		if err := s.share(&c, secret); err != nil {
			return CredentialMade{}, err
		}
	}
	return CredentialMade{ID: c.ID, User: c.User, Password: secret, Expires: c.Expires}, s.Credentials.AddCredential(ctx, c, granted(caller, &c, "est-password.added"))
}

// hasRoom refuses one more password of a user than are tried where nothing says which of
// them was used.
func (s *Server) hasRoom(ctx context.Context, in OneTimeWanted) error {
	if s.Digest == DigestOff && !in.CMC {
		return nil
	}
	now := s.Clock()
	q := tried(in.User, now)
	q.Spent = now
	list, err := s.Credentials.Credentials(ctx, q)
	if err == nil && len(list) >= maxCredentials {
		err = ca.Errorf(ca.Conflict, "the user %q has %d passwords that are not used yet, and no more are tried for Digest and CMC, which do not say which one was used; give this one to another user name, or remove some: chancery est otp list", clip(in.User), len(list))
	}
	return err
}

// UserShown is a user as est.user.list shows it.
type UserShown struct {
	ID string `json:"id"`
	Grant
	May     May       `json:"may"`
	Created time.Time `json:"created"`
	Digest  []string  `json:"digest"` // the algorithms by which it can log in by Digest in the present realm
	Ended   bool      `json:"ended,omitempty"`
}

// UsersShown is the output of est.user.list. A page may be shorter than asked for, or
// empty, and have a cursor.
type UsersShown struct {
	Users  []UserShown `json:"users"`
	Cursor string      `json:"cursor,omitempty"`
}

func (s *Server) listUsers(ctx context.Context, _ admin.Caller, in Page) (UsersShown, error) {
	limit, err := in.size()
	if err != nil {
		return UsersShown{}, err
	}
	list, next, err := s.Credentials.ListCredentials(ctx, in.Cursor, limit)
	out := UsersShown{Users: []UserShown{}, Cursor: next}
	for i := range list {
		c := &list[i]
		if c.OneTime {
			continue
		}
		out.Users = append(out.Users, UserShown{ID: c.ID, Grant: grantOf(c), May: s.may(c), Created: c.Created, Digest: s.digestsOf(c), Ended: c.ended(s.Clock())})
	}
	return out, err
}

// May is what a password may enrol: by the label's name the patterns that hold for it
// there, of the labels that take passwords of its kind. An empty list is whatever an
// approver lets pass.
type May map[string][]string

// may gives what a password may enrol, by its own patterns or by its labels'.
func (s *Server) may(k *Credential) May {
	out, kind := May{}, ByPassword
	if k.OneTime {
		kind = ByOneTime
	}
	for i := range s.Labels {
		l := &s.Labels[i]
		if !l.takes(kind) || !k.under(l) {
			continue
		}
		asks := call{label: l, who: Identity{Credential: k}}
		list := append([]string{}, asks.patterns()...)
		if len(list) == 0 && !asks.anythingApproved() {
			list = []string{ownNames}
		}
		out[l.Name] = list
	}
	return out
}

func grantOf(c *Credential) Grant {
	return Grant{User: c.User, Labels: c.Labels, Names: c.Names, Expires: c.Expires}
}

func (k *Credential) ended(now time.Time) bool {
	return !k.Expires.IsZero() && !now.Before(k.Expires)
}

// UserNamed is the input of est.user.remove.
type UserNamed struct {
	User string `json:"user"`
}

func (s *Server) removeUser(ctx context.Context, caller admin.Caller, in UserNamed) (struct{}, error) {
	found, err := s.passwordOf(ctx, in.User)
	if err != nil {
		return struct{}{}, err
	}
	e := administrator(caller).Event(s.Clock(), "est-user.removed", found.ID)
	e.Detail = map[string]string{"user": in.User}
	return struct{}{}, s.Credentials.RemoveCredential(ctx, found.ID, e)
}

// The states of a one-time password.
const (
	StateUnused  = "unused"
	StateWaiting = "waiting" // a request with it waits for approval
	StateSpent   = "spent"
	StateEnded   = "expired"
)

// OneTimeShown is a one-time password as est.otp.list shows it, without its secret.
type OneTimeShown struct {
	ID string `json:"id"`
	Grant
	May     May       `json:"may"`
	Created time.Time `json:"created"`
	Digest  []string  `json:"digest"` // as UserShown has it
	State   string    `json:"state"`
	Request string    `json:"request,omitempty"` // that waits with it
	Serial  string    `json:"serial,omitempty"`  // of the certificate that it got
}

// OneTimesShown is the output of est.otp.list. A page may be shorter than asked for, or
// empty, and have a cursor.
type OneTimesShown struct {
	Passwords []OneTimeShown `json:"passwords"`
	Cursor    string         `json:"cursor,omitempty"`
}

func (s *Server) listOneTime(ctx context.Context, _ admin.Caller, in Page) (OneTimesShown, error) {
	limit, err := in.size()
	if err != nil {
		return OneTimesShown{}, err
	}
	list, next, err := s.Credentials.ListCredentials(ctx, in.Cursor, limit)
	if err != nil {
		return OneTimesShown{}, err
	}
	out := OneTimesShown{Passwords: []OneTimeShown{}, Cursor: next}
	for i := range list {
		if c := &list[i]; c.OneTime {
			one, err := s.oneTimeShown(ctx, c)
			if err != nil {
				return OneTimesShown{}, err
			}
			out.Passwords = append(out.Passwords, one)
		}
	}
	return out, nil
}

func (s *Server) oneTimeShown(ctx context.Context, c *Credential) (OneTimeShown, error) {
	one := OneTimeShown{ID: c.ID, Grant: grantOf(c), May: s.may(c), Created: c.Created, Digest: s.digestsOf(c), State: StateUnused, Request: c.Request}
	r, err := s.Ledger.ByRequest(ctx, oneTimeID(c.ID))
	switch {
	case err == nil:
		one.State, one.Serial = StateSpent, string(r.Serial)
	case ca.KindOf(err) != ca.NotFound:
		return one, err
	case c.ended(s.Clock()):
		one.State = StateEnded
	case c.Request != "":
		one.State = StateWaiting
	}
	return one, nil
}

// Named is the input of operations on one thing.
type Named struct {
	ID string `json:"id"`
}

func (s *Server) removeOneTime(ctx context.Context, caller admin.Caller, in Named) (struct{}, error) {
	if !ca.WellFormedID(in.ID) {
		return struct{}{}, ca.Errorf(ca.NotFound, "%q is no id of a one-time password, which has 26 characters; see: chancery est otp list", clip(in.ID))
	}
	e := administrator(caller).Event(s.Clock(), "est-password.removed", in.ID)
	e.Detail = map[string]string{"kind": "one-time"}
	return struct{}{}, s.Credentials.RemoveCredential(ctx, in.ID, e)
}
