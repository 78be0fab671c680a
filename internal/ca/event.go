package ca

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"time"
)

// Event is one line of the history: who did what to what. It is written in the
// transaction of the act itself, so that no act is without one.
type Event struct {
	ID      string // see [TimedID]
	At      time.Time
	Kind    string // "certificate.intended", "account.created", …: noun.participle
	By      Principal
	Subject string            // what it was done to: a serial, an account, an order
	Detail  map[string]string // words for the auditor; no secrets
}

// Event makes an event of what p did, with a fresh id.
func (p Principal) Event(at time.Time, kind, subject string) Event {
	return Event{ID: TimedID(at), At: at, Kind: kind, By: p, Subject: subject}
}

var idEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewID gives 16 random bytes in lower-case base32 (26 characters), the form
// of every id that chancery makes.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails since Go 1.24
	return strings.ToLower(idEncoding.EncodeToString(b[:]))
}

// TimedID is an id of the same form that begins with the time, for what is never asked
// for by strangers: 48 bits of Unix milliseconds and 80 random ones. What is written
// together stands together in an index, and fewer of its pages are written.
func TimedID(at time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(at.UnixMilli())<<16)
	rand.Read(b[6:])
	return strings.ToLower(idEncoding.EncodeToString(b[:]))
}

// WellFormedID tells whether a text looks like an id of [NewID], so that nothing
// else gets as far as a store.
func WellFormedID(text string) bool {
	if len(text) != idEncoding.EncodedLen(16) {
		return false
	}
	for i := range len(text) {
		if c := text[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}
