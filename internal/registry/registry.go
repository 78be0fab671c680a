// Package registry is what more than one room needs to know of people: the
// customers, what is known of them (addresses, domains, examinations), the
// external account keys that they are given (RFC 8555 §7.3.4), and which ACME
// account is whose.
//
// It decides who is known, and who speaks for whom. It must not know any protocol,
// HTTP or SQL: the rooms ask it, and its storage stands behind [Store].
//
// A binding ties an account to a customer who did not hand out a key for it: the
// account proved control of a domain that the customer had proven before, or
// claims one of his addresses. Both are reasons to ask him, and no more. Only an
// answer binds.
package registry

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"chancery/internal/ca"
)

// Sealer encrypts what the store must not know, bound to what it belongs to;
// internal/keys fits.
type Sealer interface {
	Seal(plain, associated []byte) []byte
	Open(sealed, associated []byte) ([]byte, error)
}

// Registry answers who is known. It is safe for concurrent use.
type Registry struct {
	Config
	hashing chan struct{} // one place for each passphrase that is hashed at a time
	swept   atomic.Int64  // when letters were last swept, Unix seconds
}

// Config is what a registry works with. Store, Sealer and Clock are needed.
type Config struct {
	Store  Store
	Sealer Sealer
	Clock  func() time.Time

	Base     string        // the server's base URL, for links in letters; no "/" at the end
	Name     string        // of the authority, for people; "" for Base
	Patience time.Duration // how long a question to a customer stays open; zero: 72 hours
	Texts    Texts         // nil: domains cannot be proven by DNS, only vouched for
	Mailer   Mailer        // nil: no letters are sent; questions are answered by the command line

	// How many questions are put in a day, so that nobody can flood a customer: to one
	// customer after a proof of his domain, to one after a claim of his address, and to
	// one address after such claims. Zero: 50, 10 and 5.
	DomainAsks, MailAsks, AddressAsks int
}

const (
	defaultPatience = 72 * time.Hour
	refusalRest     = 24 * time.Hour // after a refusal or an end nobody is asked again
	countedFor      = 24 * time.Hour // of the limits
)

// New gives a registry.
func New(c Config) (*Registry, error) {
	if c.Store == nil || c.Sealer == nil || c.Clock == nil {
		return nil, fmt.Errorf("the registry's configuration lacks its store, sealer or clock")
	}
	if c.Patience <= 0 {
		c.Patience = defaultPatience
	}
	for _, d := range []struct {
		limit *int
		usual int
	}{{&c.DomainAsks, 50}, {&c.MailAsks, 10}, {&c.AddressAsks, 5}} {
		if *d.limit <= 0 {
			*d.limit = d.usual
		}
	}
	return &Registry{Config: c, hashing: make(chan struct{}, hashesAtOnce)}, nil
}

// now is the clock in the precision of the store.
func (r *Registry) now() time.Time { return r.Clock().UTC().Truncate(time.Millisecond) }

// event is what is recorded of an act.
type event struct {
	by      ca.Principal
	kind    string
	subject string
	detail  map[string]string
}

func (r *Registry) event(e event) ca.Event {
	out := e.by.Event(r.now(), e.kind, e.subject)
	for key, value := range e.detail {
		if value == "" {
			delete(e.detail, key)
		}
	}
	out.Detail = e.detail
	return out
}

// ofNone refuses an id that no store has, before it is asked.
func ofNone(ctx context.Context, id, what string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !ca.WellFormedID(id) {
		return ca.Errorf(ca.NotFound, "there is no such %s; an id has 26 letters and digits", what)
	}
	return nil
}
