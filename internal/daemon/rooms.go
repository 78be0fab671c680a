package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"chancery/internal/acmeserver"
	"chancery/internal/ca"
	"chancery/internal/challenge"
	"chancery/internal/config"
	"chancery/internal/nonce"
	"chancery/internal/resolver"
)

// acmeRoom makes the ACME server that a configuration asks for, and changes
// nothing else. Nonces and what was spent of them outlive it, so that a reload is
// not noticed.
func (d *Daemon) acmeRoom(c *config.Config, l *limits) (*acmeserver.Server, error) {
	validator, policy, err := d.validator(c)
	if err != nil {
		return nil, err
	}
	if err := checkOffered(c, d.authority.Profiles); err != nil {
		return nil, err
	}
	return acmeserver.New(acmeserver.Config{
		Base: c.URL.Base, Authority: d.authority, Ledger: d.store,
		Accounts: d.store, Orders: d.store, Background: d.store, Registry: d.registry,
		Validator: validator, CheckAddress: policy.CheckIdentifier,
		Nonces: d.source, Seen: d.seen, Clock: time.Now, Logger: d.Logger,
		Terms: c.ACME.Terms, Website: c.ACME.Website, CAAIdentities: c.ACME.CAAIdentities, RequireEAB: c.ACME.RequireEAB,
		Profiles: c.ACME.Profiles, Challenges: c.ACME.Challenges, MaxNames: c.ACME.MaxNames,
		OrderLife: c.ACME.OrderLife.Std(), AuthzLife: c.ACME.AuthorizationLife.Std(),
		Attempts: 3, AttemptPause: 2 * time.Second, Workers: c.Validation.Workers,
		Directories: directories(c.ACME), RedirectWellKnown: c.ACME.WellKnown == "redirect",
		Customers: d.registry, Policy: policyOf(c.ACME),
		MostPending: mostPending(l.PendingAuthorizations, c.ACME.MaxNames),
		NewAccounts: l.accounts.Allow, NewOrders: l.orders.Allow, NewBindings: l.bindings.Allow,
	})
}

// mostPending leaves room for the largest order of an account that has nothing pending.
func mostPending(limit, names int) int {
	if limit == 0 {
		return 0
	}
	return max(limit, names)
}

// policyOf gives what a configuration wants of bindings.
func policyOf(c config.ACME) acmeserver.Policy {
	return acmeserver.Policy{Require: c.RequireBinding, ByDomain: c.BindByDomain, ByMail: c.BindByMail}
}

// dnsOf gives the resolver of a configuration.
func dnsOf(c *config.Config) (*resolver.Resolver, error) {
	in := resolver.Config{HostsFile: "/etc/hosts", MixCase: true, Servers: c.Validation.Resolvers}
	if len(in.Servers) > 0 {
		in.HostsFile = "" // who names resolvers wants their answers
	}
	dns, err := resolver.New(in)
	if err != nil {
		return nil, fmt.Errorf("validation.resolvers: %w", err)
	}
	return dns, nil
}

// validator makes what goes out to look. It never reaches our own listeners,
// and loopback only in the laboratory (see [config.Config.Loopback]).
func (d *Daemon) validator(c *config.Config) (*challenge.Validator, *challenge.AddressPolicy, error) {
	dns, err := dnsOf(c)
	if err != nil {
		return nil, nil, err
	}
	policy := challenge.AddressPolicy{
		AllowLoopback: c.Loopback(), Allow: c.Validation.Allow, Deny: c.Validation.Deny, Own: d.listeners.own(),
	}
	v := challenge.New(challenge.Config{
		Resolver: dns, HTTPPort: uint16(c.ACME.HTTP01Port), TLSPort: uint16(c.ACME.TLSALPN01Port),
		Policy: policy, Timeout: c.Validation.Timeout.Std(), MaxConcurrent: c.Validation.Workers,
	})
	return v, &policy, nil
}

// openNonces reads the nonce keys, and makes the first, and what is known to be
// spent, once per process. Nothing may be served before.
func (d *Daemon) openNonces(ctx context.Context) error {
	stored, err := d.nonceKeys(ctx)
	if err != nil {
		return err
	}
	if len(stored) == 0 {
		if err := d.addNonceKey(ctx, nil); err != nil {
			return err
		}
		if stored, err = d.nonceKeys(ctx); err != nil {
			return err
		}
	}
	if d.ring, err = nonce.NewRing(stored); err != nil {
		return err
	}
	d.seen = nonce.NewSeen(nonce.SeenConfig{})
	d.spent = newSpentBits(d.seen, d.store, d.Logger)
	if err := d.spent.load(ctx); err != nil {
		return err
	}
	d.source, err = nonce.NewSource(nonce.Config{Purpose: "acme", Ring: d.ring})
	return err
}

// checkOffered refuses an ACME server that offers what there is not.
func checkOffered(c *config.Config, profiles map[string]*ca.Profile) error {
	check := func(key string, names []string) error {
		for _, name := range names {
			if p, ok := profiles[name]; !ok || !p.Serves(acmeserver.Room) {
				return fmt.Errorf("%s names %q, which is not a profile whose rooms contain \"acme\"; see: chancery profile list", key, name)
			}
		}
		return nil
	}
	err := check("acme.profiles", c.ACME.Profiles)
	for i, d := range c.ACME.Directories {
		err = errors.Join(err, check(fmt.Sprintf("acme.directory[%d].profiles", i+1), d.Profiles))
	}
	return err
}

// directories gives the further ACME directories, with what they take over from
// the first.
func directories(c config.ACME) []acmeserver.Directory {
	var all []acmeserver.Directory
	for _, d := range c.Directories {
		one := acmeserver.Directory{Name: d.Name, Hosts: d.Hosts, Profiles: d.Profiles, RequireEAB: d.RequireEAB,
			CAAIdentities: d.CAAIdentities, Terms: cmp.Or(d.Terms, c.Terms)}
		if len(one.Profiles) == 0 {
			one.Profiles = c.Profiles
		}
		if len(one.CAAIdentities) == 0 {
			one.CAAIdentities = c.CAAIdentities
		}
		all = append(all, one)
	}
	return all
}
