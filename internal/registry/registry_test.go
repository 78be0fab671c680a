package registry_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/registry"
	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

// desk is an office for a test: a registry over a real store, a clock that is set
// by hand, a post office that keeps what it is given, and a small DNS.
type desk struct {
	*registry.Registry
	t     *testing.T
	store *sqlstore.Store
	db    *sqldb.DB
	post  *post
	texts texts
	mu    sync.Mutex
	now   time.Time
}

var admin = ca.Principal{Room: "admin", ID: "somebody"}

type texts map[string][]string

func (t texts) TXT(_ context.Context, name string) ([]string, error) {
	if found, ok := t[name]; ok {
		return found, nil
	}
	return nil, errors.New("the DNS has no TXT record for " + name)
}

// post keeps letters, or loses the first few.
type post struct {
	mu      sync.Mutex
	closed  bool
	letters []registry.Letter
}

func (p *post) Mail(_ context.Context, l registry.Letter) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errors.New("the post office is closed")
	}
	p.letters = append(p.letters, l)
	return nil
}

// take gives what came since the last time.
func (p *post) take() []registry.Letter {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.letters
	p.letters = nil
	return all
}

type sealer struct{}

func (sealer) Seal(plain, _ []byte) []byte           { return append([]byte("sealed "), plain...) }
func (sealer) Open(sealed, _ []byte) ([]byte, error) { return sealed[len("sealed "):], nil }

func newDesk(t *testing.T, db *sqldb.DB, change func(*registry.Config)) *desk {
	t.Helper()
	d := &desk{t: t, db: db, store: sqlstore.New(db), post: &post{}, texts: texts{}, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	c := registry.Config{Store: d.store, Sealer: sealer{}, Clock: d.clock, Base: "https://ca.example.org", Texts: d.texts, Mailer: d.post}
	if change != nil {
		change(&c)
	}
	var err error
	if d.Registry, err = registry.New(c); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) clock() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

func (d *desk) pass(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = d.now.Add(by)
}

// must stops the test at an error.
func must[T any](t *testing.T) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func (d *desk) want(kind ca.Kind, err error) {
	d.t.Helper()
	if got := ca.KindOf(err); got != kind {
		d.t.Errorf("got %q (%v), want %q", got, err, kind)
	}
}

func (d *desk) tell() []registry.Letter {
	d.t.Helper()
	if err := d.Tell(context.Background()); err != nil {
		d.t.Fatal(err)
	}
	return d.post.take()
}

// customer makes one with verified addresses and proven domains.
func (d *desk) customer(name string, known ...string) registry.Customer {
	d.t.Helper()
	ctx := context.Background()
	c := must[registry.Customer](d.t)(d.AddCustomer(ctx, admin, name))
	for _, one := range known {
		if strings.Contains(one, "@") {
			proof := registry.ContactProof{Customer: c.ID, Address: one}
			must[registry.Contact](d.t)(d.AddContact(ctx, admin, proof))
			d.want("", d.VouchContact(ctx, admin, proof))
			continue
		}
		domain := registry.Domain{Customer: c.ID, Name: one}
		must[registry.Domain](d.t)(d.AddDomain(ctx, admin, domain))
		must[registry.Domain](d.t)(d.VouchDomain(ctx, admin, domain))
	}
	return must[registry.Customer](d.t)(d.Customer(ctx, c.ID))
}

// asking is for an account of a customer's domain.
func asking(c registry.Customer, account string) registry.Asking {
	return registry.Asking{Account: account, AccountURL: "https://ca.example.org/acme/account/" + account, Customer: c.ID,
		Via: registry.ViaDomain, Domain: "www.example.org", Contact: "mailto:Web@Example.ORG", Thumbprint: "thumb"}
}

// events gives how many events of a kind there are on a subject.
func (d *desk) events(kind, subject string) (n int64) {
	d.t.Helper()
	if err := d.db.One(context.Background(), `SELECT COUNT(*) FROM events WHERE kind = $1 AND subject = $2`, []any{kind, subject}, &n); err != nil {
		d.t.Fatal(err)
	}
	return n
}

// onBoth runs a test over both engines.
func onBoth(t *testing.T, change func(*registry.Config), test func(context.Context, *desk)) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) { test(context.Background(), newDesk(t, db, change)) })
}

// linkToken takes the token out of a letter's link.
func linkToken(t *testing.T, l registry.Letter, id string) string {
	t.Helper()
	_, rest, ok := strings.Cut(l.Text, "https://ca.example.org"+registry.BindingPath+id+"/")
	if !ok {
		t.Fatalf("no link in\n%s", l.Text)
	}
	token, _, _ := strings.Cut(rest, "\n")
	return token
}
