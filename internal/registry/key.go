package registry

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
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

// Many as a number of uses means no end of them.
const Many = -1

// Key is an external account key: made for somebody, to open one account or more.
type Key struct {
	ID           string // what the client sends as "kid"
	Label        string // for whom it was made, in an administrator's words
	Customer     string // whose it is, by id; "" for nobody's
	CustomerName string // filled in by the store
	Suspended    bool   // the customer is; filled in by the store
	Algorithm    string // HS256, HS384 or HS512 (RFC 7518 §3.1); "" for any of them
	Most         int    // so many accounts; Many, and 0 is 1
	Uses         int    // so far
	By           ca.Principal
	CreatedAt    time.Time
	ExpiresAt    time.Time // zero: never
	UsedAt       time.Time // first; zero: not yet
	Account      string    // the first that was opened with it
	WithdrawnAt  time.Time // zero: it was not

	// Sealed is the secret as it is stored, and Secret the secret itself. Secret is
	// there only where a method says so. Neither is ever printed.
	Sealed, Secret []byte `json:"-"`
}

// Usable tells whether an account can be opened with the key.
func (k *Key) Usable(now time.Time) bool {
	state := k.State(now)
	return state == Unused || state == InUse
}

// Takes tells whether the key may be used with a MAC algorithm.
func (k *Key) Takes(algorithm string) bool { return k.Algorithm == "" || k.Algorithm == algorithm }

// State says in one word what became of a key.
type State string

// The states of a key.
const (
	Unused    State = "unused"
	InUse     State = "in-use" // and there are uses left
	Used      State = "used"   // up
	Withdrawn State = "withdrawn"
	Expired   State = "expired"
	Stopped   State = "suspended" // its customer is
)

// State gives the key's state. A key that was used up stays so.
func (k *Key) State(now time.Time) State {
	used := !k.UsedAt.IsZero()
	switch {
	case used && k.Most >= 0 && k.Uses >= k.Most || used && k.Most == 1:
		return Used
	case !k.WithdrawnAt.IsZero():
		return Withdrawn
	case !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt):
		return Expired
	case k.Suspended:
		return Stopped
	case used:
		return InUse
	}
	return Unused
}

// String gives the key without its secret.
func (k Key) String() string { return fmt.Sprintf("external account key %s (%s)", k.ID, k.Label) }

// GoString is String, for %#v.
func (k Key) GoString() string { return k.String() }

// LogValue is String for a log.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Order is what CreateKey is asked for.
type Order struct {
	By        ca.Principal
	Label     string    // for whom; may be empty if there is a customer
	Customer  string    // whose, by id; "" for nobody's
	Uses      int       // so many accounts, or Many; zero: one
	Algorithm string    // the only one to use the key with; "" for any
	Expires   time.Time // zero: never
}

// maxUses is what a key can be limited to; beyond it is Many.
const maxUses = 1_000_000

// CreateKey makes a key and gives it with its Secret, this once. Errors are of
// kind Invalid for an order that makes no sense, NotFound and Denied for a customer
// who is unknown or suspended.
func (r *Registry) CreateKey(ctx context.Context, o Order) (Key, error) {
	now := r.now()
	k := Key{ID: ca.NewID(), Label: strings.TrimSpace(o.Label), Customer: o.Customer, Algorithm: strings.ToUpper(o.Algorithm), Most: o.Uses,
		By: o.By, CreatedAt: now, ExpiresAt: o.Expires, Secret: make([]byte, secretOctets)}
	if k.Most == 0 {
		k.Most = 1
	}
	if k.Customer != "" {
		c, err := r.Customer(ctx, k.Customer)
		if err != nil {
			return Key{}, err
		}
		k.CustomerName = c.Name
		if k.Label == "" {
			k.Label = c.Name
		}
	}
	switch {
	case !oneLine(k.Label, maxLabel):
		return Key{}, ca.Errorf(ca.Invalid, "say in a few words for whom the key is: one line of at most %d octets", maxLabel)
	case !o.Expires.IsZero() && !o.Expires.After(now):
		return Key{}, ca.Errorf(ca.Invalid, "the key would have expired already, at %s", o.Expires.Format(time.RFC3339))
	case k.Most != Many && (k.Most < 1 || k.Most > maxUses):
		return Key{}, ca.Errorf(ca.Invalid, "a key is for 1 to %d accounts, or for many", maxUses)
	case k.Algorithm != "" && !slices.Contains([]string{"HS256", "HS384", "HS512"}, k.Algorithm):
		return Key{}, ca.Errorf(ca.Invalid, "the algorithm is HS256, HS384 or HS512 (RFC 7518 §3.1), or not named")
	}
	// In base64url a key that begins with six bits of 62 begins with a hyphen, and the
	// clients to which it is pasted take it for an option.
	for rand.Read(k.Secret); k.Secret[0]>>2 == 62; {
		rand.Read(k.Secret)
	}
	k.Sealed = r.Sealer.Seal(k.Secret, purpose(k.ID))
	made := r.event(event{o.By, "external-key.created", k.ID, map[string]string{"label": k.Label, "customer": k.Customer, "algorithm": k.Algorithm}})
	if err := r.Store.CreateExternalKey(ctx, k, made); err != nil {
		return Key{}, err
	}
	return k, nil
}

// oneLine tells whether text is there, on one line, and not too long.
func oneLine(text string, most int) bool {
	return text != "" && len(text) <= most && utf8.ValidString(text) && !strings.ContainsFunc(text, control)
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
	if k.Secret, err = r.Sealer.Open(k.Sealed, purpose(k.ID)); err != nil {
		return Key{}, fmt.Errorf("opening %v: %w", k, err)
	}
	return k, nil
}

// find looks up what a stranger sent as a key's id.
func (r *Registry) find(ctx context.Context, id string) (Key, error) {
	if len(id) > 64 || !utf8.ValidString(id) || strings.ContainsFunc(id, control) {
		return Key{}, ca.Errorf(ca.NotFound, "there is no such external account key")
	}
	return r.Store.ExternalKey(ctx, id)
}

// KeyPage gives a page of the keys, newest first and without their secrets, 100 unless it
// says so, and the next one's cursor, "" at the end. Kind Invalid.
func (r *Registry) KeyPage(ctx context.Context, p Page) ([]Key, string, error) {
	p, err := p.sized()
	if err != nil {
		return nil, "", err
	}
	return r.Store.ExternalKeyPage(ctx, p)
}

// KeyShown finds a key without its secret, and the accounts that were opened with
// it, the latest first; kind NotFound.
func (r *Registry) KeyShown(ctx context.Context, id string) (Key, []string, error) {
	k, err := r.find(ctx, id)
	if err != nil {
		return Key{}, nil, err
	}
	accounts, err := r.Store.KeyAccounts(ctx, id)
	return k, accounts, err
}

// Withdraw ends a key: no account more is opened with it. Those that were stay;
// they are closed one by one. Kind NotFound, or Conflict when the key was used up
// or withdrawn before.
func (r *Registry) Withdraw(ctx context.Context, by ca.Principal, id string) error {
	if _, err := r.find(ctx, id); err != nil {
		return err
	}
	return r.Store.WithdrawExternalKey(ctx, id, r.now(), r.event(event{by, "external-key.withdrawn", id, nil}))
}
