package solve

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"chancery/acme"
	"chancery/internal/resolver"
)

// DefaultTTL is that of the TXT records: short, since each serves for some minutes.
const DefaultTTL = time.Minute

// Answer is one TXT record that meets a dns-01 challenge (RFC 8555 §8.4). Several may
// stand at one name at a time, as for a name and its wildcard.
type Answer struct {
	// Name is where the record belongs, aliases followed, with the final dot.
	Name string
	// Zone is the zone that holds it and Primary the server that its SOA names as the one
	// to update, both with the final dot. Empty for a Publisher that needs none.
	Zone, Primary string
	Value         string // base64url
	TTL           time.Duration
	// Identifier, Token and KeyAuth are what the value was made of.
	Identifier     acme.Identifier
	Token, KeyAuth string
}

// Publisher puts TXT records into the DNS. It must be safe for concurrent use, must keep
// what else stands at the name, and take away nothing but the very value.
type Publisher interface {
	// Publish returns when the record was accepted; it need not be visible yet.
	Publish(ctx context.Context, a Answer) error
	// Withdraw removes the record, and is content if it is not there.
	Withdraw(ctx context.Context, a Answer) error
}

// DNS01 meets dns-01 (RFC 8555 §8.4) through a Publisher.
type DNS01 struct {
	Publisher Publisher
	// Resolver follows aliases of _acme-challenge names and finds zones and their
	// servers. It may be another than the one that reads CAA records.
	Resolver *resolver.Resolver
	// Zone is the zone of all names, where it cannot be found in the DNS; usually empty.
	Zone        string
	TTL         time.Duration // 0: DefaultTTL
	Propagation Propagation

	mu    sync.Mutex
	stand map[string]Answer // by key authorisation and name; guarded by mu
}

// zoneless is a Publisher that is not told the zone.
type zoneless interface{ zoneless() }

// Types gives dns-01 for names; addresses cannot be proven by it (RFC 8738 §4).
func (d *DNS01) Types(identifier acme.Identifier) []acme.ChallengeType {
	if identifier.Type != acme.IdentifierDNS {
		return nil
	}
	return []acme.ChallengeType{acme.ChallengeDNS01}
}

// Present publishes the record and waits until it is to be seen. The error is such as
// a *ValueError, *UpdateError, *HookError, *PropagationError or *resolver.Error.
func (d *DNS01) Present(ctx context.Context, identifier acme.Identifier, challenge acme.Challenge, keyAuth string) error {
	if err := Check(identifier, challenge, keyAuth); err != nil {
		return err
	}
	a, err := d.answer(ctx, identifier, challenge, keyAuth)
	if err != nil {
		return err
	}
	if err = d.Publisher.Publish(ctx, a); err != nil {
		// Published or not: a lost answer says nothing. What hindered the one mostly
		// hinders the other, and is told once.
		_ = d.withdraw(ctx, a)
		return err
	}
	if err = d.Propagation.wait(ctx, d.Resolver, a); err != nil {
		return errors.Join(err, d.withdraw(ctx, a))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stand == nil {
		d.stand = map[string]Answer{}
	}
	d.stand[key(identifier, keyAuth)] = a
	return nil
}

// withdraw takes back, also if the context has ended.
func (d *DNS01) withdraw(ctx context.Context, a Answer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	return d.Publisher.Withdraw(ctx, a)
}

// CleanUp removes the record. One that an earlier process published is looked for anew.
func (d *DNS01) CleanUp(ctx context.Context, identifier acme.Identifier, challenge acme.Challenge, keyAuth string) error {
	if err := Check(identifier, challenge, keyAuth); err != nil {
		return err
	}
	d.mu.Lock()
	a, ok := d.stand[key(identifier, keyAuth)]
	d.mu.Unlock()
	if !ok {
		var err error
		if a, err = d.answer(ctx, identifier, challenge, keyAuth); err != nil {
			return err
		}
	}
	if err := d.Publisher.Withdraw(ctx, a); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.stand, key(identifier, keyAuth))
	return nil
}

func key(identifier acme.Identifier, keyAuth string) string {
	return strings.ToLower(identifier.Value) + " " + keyAuth
}

// answer works out what to publish and where.
func (d *DNS01) answer(ctx context.Context, identifier acme.Identifier, challenge acme.Challenge, keyAuth string) (Answer, error) {
	if d.Publisher == nil || d.Resolver == nil {
		return Answer{}, errors.New("dns-01 is configured without a publisher or without a resolver")
	}
	a := Answer{Value: acme.DNS01Value(keyAuth), TTL: d.TTL, Identifier: identifier, Token: challenge.Token, KeyAuth: keyAuth}
	if a.TTL <= 0 {
		a.TTL = DefaultTTL
	}
	name, err := follow(ctx, d.Resolver, strings.ToLower(acme.DNS01Name(identifier.Value)))
	if err != nil {
		return Answer{}, err
	}
	a.Name = name + "."
	if _, ok := d.Publisher.(zoneless); ok && !d.Propagation.authoritative() {
		return a, nil
	}
	if zone := strings.ToLower(strings.TrimSuffix(d.Zone, ".")); zone != "" {
		if name != zone && !strings.HasSuffix(name, "."+zone) {
			return Answer{}, fmt.Errorf("%s is not in the configured zone %s: configure another solver for this name", name, zone)
		}
		a.Zone = zone + "."
		if soa, err := lookupSOA(ctx, d.Resolver, zone); err == nil && soa != nil {
			a.Primary = strings.ToLower(soa.Ns)
		}
		return a, nil
	}
	a.Zone, a.Primary, err = findZone(ctx, d.Resolver, name)
	return a, err
}
