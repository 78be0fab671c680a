// Package nonce makes and checks self-authenticating nonces: for ACME (RFC 8555
// §6.5) and HTTP Digest (RFC 7616 §3.3). A nonce carries when and by whom it
// was minted and a MAC, so that minting writes nothing and any replica with the
// same keys can check it. What a nonce cannot say is whether it was used
// already: that is for a store ([Nonce.ID]) or for [Seen].
//
// The room must not know HTTP, JSON, SQL or which protocol it serves; a purpose
// is only a word that keeps two protocols' nonces apart. Keys are given to it
// in a [Ring] by somebody who stores them.
package nonce

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"
)

const (
	// Lifetime is how long a nonce is accepted after it was minted.
	Lifetime = 48 * time.Hour
	// Skew is how far in the future a nonce may seem to have been minted: the
	// clocks of replicas differ, and a clock may be set back a little.
	Skew = 10 * time.Minute
)

// The errors of [Source.Check]. None is worth telling apart to a client: it
// needs a new nonce in each case (RFC 8555 §6.5, badNonce).
var (
	ErrMalformed = errors.New("this is not a nonce of this server")
	ErrForged    = errors.New("the nonce was not minted by this server for this purpose, or its key is gone")
	ErrExpired   = errors.New("the nonce is older than 48 hours, or from the future because a clock was set back")
)

// The layout, big-endian: 42 octets are exactly 56 base64 characters, so there
// are no spare bits and each nonce has one spelling only.
const (
	offKey      = 0
	offSecond   = 4 // 48 bits
	offSource   = 10
	offSequence = 18
	offMAC      = 26
	size        = 42
	textSize    = 56
)

// encoding is base64url as RFC 8555 §6.5.1 demands for ACME.
var encoding = base64.RawURLEncoding.Strict()

// Config says what a [Source] needs.
type Config struct {
	Purpose string           // a word, for example "acme"; it is MACed but not sent
	Ring    *Ring            // the keys, refreshed by their owner
	Clock   func() time.Time // time.Now if nil
}

// Source mints and checks the nonces of one purpose. Sources with the same
// purpose and keys, in this process or another, accept each other's. It is safe
// for concurrent use and takes no lock.
type Source struct {
	purpose  []byte
	ring     *Ring
	clock    func() time.Time
	id       [8]byte
	sequence atomic.Uint64
}

// NewSource makes a source with an identity of its own, so that it cannot mint
// what was minted before a restart.
func NewSource(c Config) (*Source, error) {
	switch {
	case c.Purpose == "" || len(c.Purpose) > 255:
		return nil, errors.New("nonces need a purpose of 1 to 255 octets")
	case c.Ring == nil:
		return nil, errors.New("nonces need a ring of keys")
	case c.Clock == nil:
		c.Clock = time.Now
	}
	s := &Source{purpose: []byte(c.Purpose), ring: c.Ring, clock: c.Clock}
	rand.Read(s.id[:])
	return s, nil
}

// Mint makes a nonce of 56 characters from base64url's alphabet.
func (s *Source) Mint() string {
	now := s.clock()
	key := s.ring.current(now)
	var b [size]byte
	binary.BigEndian.PutUint64(b[2:], uint64(max(now.Unix(), 0))) // its upper 16 bits are zero
	binary.BigEndian.PutUint32(b[offKey:], key.ID)
	copy(b[offSource:], s.id[:])
	binary.BigEndian.PutUint64(b[offSequence:], s.sequence.Add(1))
	s.mac(b[offMAC:], key, b[:offMAC])
	return encoding.EncodeToString(b[:])
}

// Check says whether text is a nonce of this purpose that has not expired, and
// gives it. Whether it was spent is not checked. Errors are [ErrMalformed],
// [ErrForged] and [ErrExpired].
func (s *Source) Check(text string) (Nonce, error) {
	// DecodeString would skip line breaks; the length rules them out only
	// together with the octet count.
	if len(text) != textSize {
		return Nonce{}, ErrMalformed
	}
	raw, err := encoding.DecodeString(text)
	if err != nil || len(raw) != size {
		return Nonce{}, ErrMalformed
	}
	key, found := s.ring.byID(binary.BigEndian.Uint32(raw[offKey:]))
	if !found {
		return Nonce{}, ErrForged
	}
	var mac [size - offMAC]byte
	s.mac(mac[:], key, raw[:offMAC])
	if !hmac.Equal(mac[:], raw[offMAC:]) {
		return Nonce{}, ErrForged
	}
	n := Nonce{second: int64(binary.BigEndian.Uint64(raw[2:]) & (1<<48 - 1))}
	copy(n.id[:], raw[offSource:offMAC])
	now := s.clock()
	if now.After(n.Expires()) || time.Unix(n.second, 0).After(now.Add(Skew)) {
		return Nonce{}, ErrExpired
	}
	return n, nil
}

// mac fills out with the start of HMAC-SHA256 over the purpose and the body.
// The purpose is preceded by its length, so no purpose runs into the body.
func (s *Source) mac(out []byte, key Key, body []byte) {
	h := hmac.New(sha256.New, key.Secret[:])
	h.Write([]byte{byte(len(s.purpose))})
	h.Write(s.purpose)
	h.Write(body)
	var sum [sha256.Size]byte
	copy(out, h.Sum(sum[:0]))
}

// Nonce is what [Source.Check] accepted. Only it makes nonces, so that nothing
// unauthenticated can be spent.
type Nonce struct {
	id     [16]byte // source and sequence
	second int64
}

// ID gives 16 octets that no other nonce has: what a store records as spent,
// until [Nonce.Expires].
func (n Nonce) ID() []byte { return append([]byte(nil), n.id[:]...) }

// Expires says from when on the nonce is no longer accepted, so that what was
// recorded about it may be forgotten a little (see [Skew]) later.
func (n Nonce) Expires() time.Time { return time.Unix(n.second, 0).Add(Lifetime) }

// Source says which source minted the nonce.
func (n Nonce) Source() [8]byte { return [8]byte(n.id[:8]) }

// Sequence says which of its source's nonces this is; the first is 1.
func (n Nonce) Sequence() uint64 { return binary.BigEndian.Uint64(n.id[8:]) }
