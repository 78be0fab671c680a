// Package registry is what more than one room needs to know of people: for now
// the external account keys that an administrator hands out, so that an ACME
// account can be opened with one (RFC 8555 §7.3.4).
//
// It decides who is known, and under which key. It must not know any protocol,
// HTTP or SQL: the rooms ask it, and its storage stands behind [Store].
package registry

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"chancery/internal/ca"
)

// secretOctets is the length of a key. RFC 7518 §3.2 wants at least that of the
// hash, and a client may choose HS512.
const secretOctets = 64

// maxLabel bounds a key's label, in octets.
const maxLabel = 200

// Key is an external account key: made for somebody, used once.
type Key struct {
	ID          string // what the client sends as "kid"
	Label       string // for whom it was made, in an administrator's words
	By          ca.Principal
	CreatedAt   time.Time
	ExpiresAt   time.Time // zero: never
	UsedAt      time.Time // zero: not yet
	Account     string    // that it was used for
	WithdrawnAt time.Time // zero: it was not

	// Sealed is the secret as it is stored, and Secret the secret itself. Secret is
	// there only where a method says so. Neither is ever printed.
	Sealed, Secret []byte `json:"-"`
}

// Usable tells whether an account can be opened with the key.
func (k *Key) Usable(now time.Time) bool { return k.State(now) == Unused }

// State says in one word what became of a key.
type State string

// The states of a key.
const (
	Unused    State = "unused"
	Used      State = "used"
	Withdrawn State = "withdrawn"
	Expired   State = "expired"
)

// State gives the key's state. A key that was used stays so.
func (k *Key) State(now time.Time) State {
	switch {
	case !k.UsedAt.IsZero():
		return Used
	case !k.WithdrawnAt.IsZero():
		return Withdrawn
	case !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt):
		return Expired
	}
	return Unused
}

// String gives the key without its secret.
func (k Key) String() string { return fmt.Sprintf("external account key %s (%s)", k.ID, k.Label) }

// GoString is String, for %#v.
func (k Key) GoString() string { return k.String() }

// LogValue is String for a log.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Store keeps keys. Every change is durable when it returns, together with its
// event.
type Store interface {
	// CreateExternalKey stores a new key.
	CreateExternalKey(ctx context.Context, k Key, event ca.Event) error
	// ExternalKey finds by id, kind NotFound.
	ExternalKey(ctx context.Context, id string) (Key, error)
	// ExternalKeys gives all keys, newest first.
	ExternalKeys(ctx context.Context) ([]Key, error)
	// WithdrawExternalKey marks an unused key as withdrawn; kind Conflict when it was used
	// or withdrawn before.
	WithdrawExternalKey(ctx context.Context, id string, at time.Time, event ca.Event) error
}

// Sealer encrypts what the store must not know, bound to what it belongs to;
// internal/keys fits.
type Sealer interface {
	Seal(plain, associated []byte) []byte
	Open(sealed, associated []byte) ([]byte, error)
}

// Registry answers who is known. It is safe for concurrent use.
type Registry struct {
	store  Store
	sealer Sealer
	clock  func() time.Time
}

// Config is what a registry works with; all of it is needed.
type Config struct {
	Store  Store
	Sealer Sealer
	Clock  func() time.Time
}

// New gives a registry.
func New(c Config) (*Registry, error) {
	if c.Store == nil || c.Sealer == nil || c.Clock == nil {
		return nil, fmt.Errorf("the registry's configuration lacks its store, sealer or clock")
	}
	return &Registry{store: c.Store, sealer: c.Sealer, clock: c.Clock}, nil
}

// Order is what CreateKey is asked for.
type Order struct {
	By      ca.Principal
	Label   string    // for whom; not empty
	Expires time.Time // zero: never
}

// CreateKey makes a key and gives it with its Secret, this once. Errors are of
// kind Invalid for a label or an expiry that makes no sense.
func (r *Registry) CreateKey(ctx context.Context, o Order) (Key, error) {
	now := r.clock()
	label := strings.TrimSpace(o.Label)
	switch {
	case label == "" || len(label) > maxLabel || !utf8.ValidString(label) || strings.ContainsFunc(label, control):
		return Key{}, ca.Errorf(ca.Invalid, "say in a few words for whom the key is: one line of at most %d octets", maxLabel)
	case !o.Expires.IsZero() && !o.Expires.After(now):
		return Key{}, ca.Errorf(ca.Invalid, "the key would have expired already, at %s", o.Expires.Format(time.RFC3339))
	}
	k := Key{ID: ca.NewID(), Label: label, By: o.By, CreatedAt: now, ExpiresAt: o.Expires, Secret: make([]byte, secretOctets)}
	rand.Read(k.Secret)
	k.Sealed = r.sealer.Seal(k.Secret, purpose(k.ID))
	event := o.By.Event(now, "external-key.created", k.ID)
	event.Detail = map[string]string{"label": label}
	if err := r.store.CreateExternalKey(ctx, k, event); err != nil {
		return Key{}, err
	}
	return k, nil
}

func control(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }

// purpose binds a sealed secret to its row: moved to another it does not open.
func purpose(id string) []byte { return []byte("external account key " + id) }

// Key finds a key and gives it with its Secret, for who is about to verify a MAC;
// kind NotFound.
func (r *Registry) Key(ctx context.Context, id string) (Key, error) {
	k, err := r.find(ctx, id)
	if err != nil {
		return Key{}, err
	}
	if k.Secret, err = r.sealer.Open(k.Sealed, purpose(k.ID)); err != nil {
		return Key{}, fmt.Errorf("opening %v: %w", k, err)
	}
	return k, nil
}

// find looks up what a stranger sent as a key's id.
func (r *Registry) find(ctx context.Context, id string) (Key, error) {
	if len(id) > 64 || !utf8.ValidString(id) || strings.ContainsFunc(id, control) {
		return Key{}, ca.Errorf(ca.NotFound, "there is no such external account key")
	}
	return r.store.ExternalKey(ctx, id)
}

// Keys gives all keys, newest first, without their secrets.
func (r *Registry) Keys(ctx context.Context) ([]Key, error) { return r.store.ExternalKeys(ctx) }

// Withdraw ends a key that was not used; kind NotFound, or Conflict when it was
// used, in which case its account is to be closed instead.
func (r *Registry) Withdraw(ctx context.Context, by ca.Principal, id string) error {
	now := r.clock()
	if _, err := r.find(ctx, id); err != nil {
		return err
	}
	return r.store.WithdrawExternalKey(ctx, id, now, by.Event(now, "external-key.withdrawn", id))
}
