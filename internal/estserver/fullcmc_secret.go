package estserver

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net/http"

	"chancery/cms"
	"chancery/cms/cmc"
	"chancery/internal/ca"
)

// shared is a secret that this server has in common with a user.
type shared struct {
	credential *Credential
	secret     cmc.Secret
}

// sealOfSecret binds a sealed password to its credential.
func sealOfSecret(id string) []byte { return []byte("chancery est shared secret\x00" + id) }

// share keeps the password as a shared secret of CMC. A MAC needs the secret itself, which
// no hash of a password is.
func (s *Server) share(c *Credential, password string) error {
	if s.Seals == nil {
		return ca.Errorf(ca.Invalid, "there is nothing to seal a shared secret with; configure the key store")
	}
	c.Sealed = s.Seals.Seal([]byte(password), sealOfSecret(c.ID))
	return nil
}

// secrets gives those of a user that count under the label.
func (x *exchange) secrets(user string) ([]shared, error) {
	if !plainUser(user) {
		return nil, malformed(cmc.Current, "the identification is too long, or has control characters")
	}
	list, err := x.Credentials.Credentials(x.ctx(), tried(user, x.call.now))
	if err != nil {
		return nil, err
	}
	var found []shared
	for i := range list {
		k := &list[i]
		takes := ByPassword
		if k.OneTime {
			takes = ByOneTime
		}
		if k.Sealed == nil || x.Seals == nil || !k.counts(x.call) || !x.call.label.takes(takes) {
			continue
		}
		secret, err := x.Seals.Open(k.Sealed, sealOfSecret(k.ID))
		if err != nil {
			x.call.log.Error("a shared secret cannot be unsealed; give the user a new one", "user", k.User, "error", err)
			continue
		}
		found = append(found, shared{k, secret})
	}
	return found, nil
}

// proved finds the secret that a proof is made with; guesses are counted as passwords are.
func (x *exchange) proved(user string, holds func(cmc.Secret) error) (*shared, error) {
	if err := x.attempts.blocked(user, x.call); err != nil {
		return nil, err
	}
	list, err := x.secrets(user)
	if err != nil {
		return nil, err
	}
	for i := range list {
		err := holds(list[i].secret)
		if err == nil {
			return &list[i], nil
		}
		var wrong *cmc.Error
		if errors.As(err, &wrong) && wrong.Fail == cmc.BadAlg {
			return nil, err
		}
	}
	if len(list) == 0 {
		// Whether there is such a user shows neither in the answer nor in its time.
		if err := holds(cmc.Secret(rand.Text())); err != nil {
			var wrong *cmc.Error
			if errors.As(err, &wrong) && wrong.Fail == cmc.BadAlg {
				return nil, err
			}
		}
	}
	_ = x.failed(x.call, user, "no shared secret fits")
	return nil, nil
}

// authentic opens the code of an AuthenticatedData with the secret of the user that its own
// identification names (RFC 5272 §3.2, §6.16): by a password's key (RFC 5652 §6.2.4).
func (x *exchange) authentic(a *cms.Authenticated) error {
	data, err := cmc.ParsePKIData(a.Content)
	if err != nil {
		return err
	}
	name, err := cmc.One[cmc.Identification](data.Controls)
	if err != nil {
		return err
	}
	user := ""
	if name != nil {
		user = string(name.Value)
	}
	at, err := x.byPassword(a)
	if err != nil {
		return err
	}
	found, err := x.coded(a, at, user)
	if known := (*cmc.Error)(nil); err != nil && !errors.As(err, &known) {
		x.held = err
	}
	if err == nil && found == nil {
		err = malformed(cmc.Current, "no shared secret fits")
	}
	x.codes[a] = found
	return err
}

// opening gives the reason why a message could not be opened. The opener says of all codes
// that they do not hold: also of one that could not be looked at, now.
func (x *exchange) opening(err error) error { return cmp.Or(x.held, err) }

// coded finds the secret that a code is made with; nil: none.
func (x *exchange) coded(a *cms.Authenticated, at int, user string) (*shared, error) {
	done, err := x.passwords.turn(x.call)
	if err != nil {
		return nil, err
	}
	defer done()
	verify := a.Verify
	if x.options.SHA1 {
		verify = a.VerifySHA1
	}
	rounds := 0
	return x.proved(user, func(secret cmc.Secret) error {
		if rounds += a.Recipients[at].Rounds(); rounds > maxRoundsTried {
			return failure(cmc.BadMessageCheck, cmc.Current, "the user has too many secrets to try with so many iterations")
		}
		return verify(cms.Passphrase(secret), at)
	})
}

// Bounds of what an AuthenticatedData makes us derive, before it is known whose it is.
const (
	maxRounds      = 600_000       // of PBKDF2, for one secret
	maxRoundsTried = 4 * maxRounds // for all of a user that are tried
)

// byPassword finds the one recipient of a message's one AuthenticatedData: each asks for a
// slow derivation.
func (x *exchange) byPassword(a *cms.Authenticated) (int, error) {
	at := -1
	for i := range a.Recipients {
		if a.Recipients[i].Kind != cms.ByPassword {
			continue
		}
		if at >= 0 {
			return 0, malformed(cmc.Current, "the authenticated data has more than one recipient by password")
		}
		at = i
	}
	x.counts.codes++
	switch {
	case at < 0:
		return 0, malformed(cmc.Current, "the authenticated data has no recipient by password")
	case x.counts.codes > 1:
		return 0, malformed(cmc.Current, "the message has more than one AuthenticatedData: send several messages")
	case a.Recipients[at].Rounds() > maxRounds:
		return 0, malformed(cmc.Current, "the key of the password takes too many iterations: at most 600000 are taken")
	}
	return at, nil
}

// decrypt opens what is encrypted to the certificate that signs the answers, which each of
// them encloses. It is replaced now and then: the next error's answer has the new one.
func (x *exchange) decrypt(e *cms.Enveloped) ([]byte, error) {
	for i := range e.Recipients {
		if e.Recipients[i].For(x.self.Chain[0]) {
			return e.Decrypt(x.self.Key, i)
		}
	}
	return nil, malformed(cmc.Current, "it is not encrypted to this server's certificate")
}

// fresh spends a message that a secret authenticates, so that nobody who has seen it uses
// it again: by its sender nonce, or by all its octets if it has none. One that is signed
// can be repeated, and is a new request each time.
func (x *exchange) fresh(m *cmc.Message, p *party) error {
	if p.secret == nil {
		return nil
	}
	nonce, err := cmc.One[cmc.SenderNonce](m.Data.Controls)
	if err != nil {
		return err
	}
	kind, value := "nonce", []byte(nil)
	if nonce != nil {
		value = nonce.Value
	} else if value, err = m.Data.Marshal(); err != nil {
		return err
	} else {
		kind = "content"
	}
	h := sha256.New()
	for _, part := range []string{"cmc", x.call.label.Name, p.who.String(), kind, string(value)} {
		_ = binary.Write(h, binary.BigEndian, uint32(len(part))) // a hash takes everything
		_, _ = io.WriteString(h, part)
	}
	err = x.Credentials.SpendNonce(x.ctx(), h.Sum(nil), x.call.now.Add(nonceLife))
	if ca.KindOf(err) == ca.Replayed {
		return &refusal{Status: http.StatusConflict, Err: err, Text: "this message, or another with its senderNonce, was here before; make a new one"}
	}
	return err
}

// challengeKey is the key of all challenges of this service (RFC 5272 §6.7): one for all
// replicas, so that none has to remember whom it challenged.
func (s *Server) challengeKey(ctx context.Context, e ca.Event) (cmc.Secret, error) {
	if known := s.riddles.Load(); known != nil {
		return *known, nil
	}
	if s.Seals == nil {
		return nil, ca.Errorf(ca.Unavailable, "there is nothing to seal the key of challenges with")
	}
	id := []byte("cmc")
	k, err := s.DeviceKeys.DeviceKey(ctx, challenging, id)
	if ca.KindOf(err) == ca.NotFound {
		var random [32]byte
		rand.Read(random[:]) // never fails since Go 1.24
		k = DeviceKey{Kind: challenging, ID: id, Sealed: s.Seals.Seal(random[:], sealOfSecret("challenge")), Created: e.At}
		if err = s.DeviceKeys.AddDeviceKey(ctx, k, e); ca.KindOf(err) == ca.Conflict {
			k, err = s.DeviceKeys.DeviceKey(ctx, challenging, id)
		}
	}
	if err != nil {
		return nil, err
	}
	key, err := s.Seals.Open(k.Sealed, sealOfSecret("challenge"))
	if err != nil {
		return nil, err
	}
	secret := cmc.Secret(key)
	s.riddles.Store(&secret)
	return secret, nil
}

// proofValue is the POP Proof Value for a key and an asker: good in this slot of time and
// in the next. It binds to them, so that nothing has to be kept.
func proofValue(key cmc.Secret, slot int64, parts ...string) []byte {
	h := hmac.New(sha256.New, key)
	_ = binary.Write(h, binary.BigEndian, slot)
	for _, part := range parts {
		_ = binary.Write(h, binary.BigEndian, uint32(len(part)))
		_, _ = io.WriteString(h, part)
	}
	return h.Sum(nil)
}
