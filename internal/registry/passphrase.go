package registry

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"chancery/internal/ca"

	"golang.org/x/crypto/argon2"
)

// How passphrases are hashed: Argon2id (RFC 9106). Two at a time bound the memory
// that strangers can have this process use to 64 MiB.
const (
	hashMemory   = 32 << 10 // KiB
	hashPasses   = 3
	hashThreads  = 1
	hashOctets   = 32
	saltOctets   = 16
	hashesAtOnce = 2

	minPassphrase, maxPassphrase = 12, 256 // octets
)

// After freeTries failures each further one doubles the wait for the next.
const (
	freeTries = 5
	firstWait = 30 * time.Second
	lastWait  = time.Hour
)

// SetPassphrase gives a customer another passphrase to sign in with, and forgets
// failures. Kind Invalid for one of less than 12 or more than 256 octets, NotFound,
// Denied.
func (r *Registry) SetPassphrase(ctx context.Context, by ca.Principal, s SignIn) error {
	if n := len(s.Passphrase); n < minPassphrase || n > maxPassphrase || !utf8.ValidString(s.Passphrase) {
		return ca.Errorf(ca.Invalid, "a passphrase has %d to %d characters", minPassphrase, maxPassphrase)
	}
	if _, err := r.Customer(ctx, s.Customer); err != nil {
		return err
	}
	h := hashed{salt: make([]byte, saltOctets)}
	rand.Read(h.salt)
	if err := r.place(ctx); err != nil {
		return err
	}
	h.key = h.of(s.Passphrase)
	r.leave()
	return r.Store.SetPassphrase(ctx, s.Customer, h.String(), r.event(event{by, "customer.passphrase-set", s.Customer, nil}))
}

// SignIn is a customer and his passphrase. It prints without it.
type SignIn struct {
	Customer   string
	Passphrase string
}

// String gives the customer alone.
func (s SignIn) String() string { return "sign-in of " + s.Customer }

// GoString is String, for %#v.
func (s SignIn) GoString() string { return s.String() }

// errSignIn is the same for whatever does not fit, so that customers cannot be
// tried out.
func errSignIn() error { return ca.Errorf(ca.Denied, "customer and passphrase do not fit") }

// SignIn tells whether a passphrase is the customer's: nil if it is. Kind Denied if
// not, and for a customer who is unknown, suspended or has none; Limited with a time
// to wait after too many failures, which the store counts. A try counts as a failure
// before it is looked at, so that many at once gain nothing.
func (r *Registry) SignIn(ctx context.Context, customer, passphrase string) error {
	if !ca.WellFormedID(customer) || len(passphrase) > maxPassphrase {
		return errSignIn()
	}
	state, err := r.Store.SignInState(ctx, customer)
	if err != nil && ca.KindOf(err) != ca.NotFound {
		return err
	}
	known, now := err == nil && state.Hash != "" && !state.Suspended, r.now()
	h := hashed{salt: make([]byte, saltOctets)} // takes as long as a real one
	if known {
		if now.Before(state.Blocked) {
			return tooOften(state.Blocked.Sub(now))
		}
		if h, err = parseHashed(state.Hash); err != nil {
			return err
		}
		if err := r.beginSignIn(ctx, customer, state); err != nil {
			return err
		}
	}
	if err := r.place(ctx); err != nil {
		return err
	}
	key := h.of(passphrase)
	r.leave()
	if subtle.ConstantTimeCompare(key, h.key) != 1 || !known {
		return errSignIn()
	}
	by := ca.Principal{Room: CustomerRoom, ID: customer}
	return r.Store.SignedIn(ctx, customer, r.event(event{by, "sign-in.accepted", customer, nil}))
}

func (r *Registry) beginSignIn(ctx context.Context, customer string, state SignInState) error {
	by := ca.Principal{Room: CustomerRoom}
	t := SignInTry{Was: state, Event: r.event(event{by, "sign-in.tried", customer, nil})}
	t.Blocked = t.Event.At.Add(waitAfter(state.Failures + 1))
	err := r.Store.BeginSignIn(ctx, customer, t)
	if ca.KindOf(err) == ca.Conflict {
		return tooOften(time.Second)
	}
	return err
}

func tooOften(wait time.Duration) error {
	return &ca.Error{Kind: ca.Limited, Detail: "the passphrase was tried too often; wait before the next try", RetryAfter: wait}
}

// waitAfter is how long nobody can sign in after so many failures.
func waitAfter(failures int) time.Duration {
	if failures < freeTries {
		return 0
	}
	return min(lastWait, firstWait<<min(failures-freeTries, 10))
}

// place waits for a place to hash a passphrase at; leave frees it.
func (r *Registry) place(ctx context.Context) error {
	select {
	case r.hashing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &ca.Error{Kind: ca.Unavailable, Detail: "too many sign in at once; try again in a moment", RetryAfter: time.Second, Err: ctx.Err()}
	}
}

func (r *Registry) leave() { <-r.hashing }

// hashed is a passphrase's hash as it is kept.
type hashed struct{ salt, key []byte }

func (h hashed) of(passphrase string) []byte {
	return argon2.IDKey([]byte(passphrase), h.salt, hashPasses, hashMemory, hashThreads, hashOctets)
}

var hashPrefix = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, hashMemory, hashPasses, hashThreads)

// String writes the parameters too, so that others can follow one day.
func (h hashed) String() string {
	return hashPrefix + base64.RawStdEncoding.EncodeToString(h.salt) + "$" + base64.RawStdEncoding.EncodeToString(h.key)
}

// parseHashed reads what String wrote, and nothing else.
func parseHashed(text string) (hashed, error) {
	rest, ok := strings.CutPrefix(text, hashPrefix)
	salt, key, parts := strings.Cut(rest, "$")
	if !ok || !parts {
		return hashed{}, fmt.Errorf("a stored passphrase is hashed in a way that this release does not know")
	}
	var h hashed
	var err, err2 error
	h.salt, err = base64.RawStdEncoding.Strict().DecodeString(salt)
	h.key, err2 = base64.RawStdEncoding.Strict().DecodeString(key)
	if err != nil || err2 != nil || len(h.salt) != saltOctets || len(h.key) != hashOctets || h.String() != text {
		return hashed{}, fmt.Errorf("a stored passphrase's hash is damaged; set the passphrase again")
	}
	return h, nil
}
