// Package client is the one place that wires the client, as package daemon wires the
// server: from its settings it makes the resolver, the ways to CAs, what answers the
// challenges, the outbox of messages, and an engine over them. It decides nothing and
// knows neither the command line nor the server.
package client

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"chancery/caa"
	"chancery/internal/enroll"
	"chancery/internal/enroll/settings"
	"chancery/internal/enroll/vault"
	"chancery/internal/notify"
	"chancery/internal/owned"
	"chancery/internal/resolver"
)

// Options is what a client is made from. Settings are needed; the rest may be zero.
type Options struct {
	Settings *settings.Settings
	// Observer hears every event of every run.
	Observer func(enroll.Event)
	// AgreeTerms is for the terms of any CA (--agree-tos).
	AgreeTerms bool
	// Forgave hears of each failed lookup that the settings forgive.
	Forgave func(name string, err error)
	// Journal gets messages when no other channel is configured, and beside them;
	// nil: standard error.
	Journal notify.Channel
	// Dial connects to an address that passed the guard's rules; nil: the network. A
	// laboratory has its CAs on other ports than 443.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Resolve finds the addresses of CAs' hosts; nil: the system.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Now is the clock; nil: the system's.
	Now func() time.Time
}

// Client is an engine with all that it works with.
type Client struct {
	Settings *settings.Settings
	Vault    *vault.Vault
	Engine   *enroll.Engine
	Outbox   *notify.Outbox
	// DNS says in words which servers are asked, and which are believed.
	DNS string

	ways    *ways
	solvers *solvers
}

// Open makes a client. Nothing is asked of anybody yet.
func Open(_ context.Context, o Options) (*Client, error) {
	s := o.Settings
	dns, err := resolver.New(resolver.Config{Servers: s.DNS.Resolvers, Trusted: s.DNS.Trusted, MixCase: true})
	if err != nil {
		return nil, err
	}
	store, err := vault.Open(s.Data)
	if err != nil {
		return nil, err
	}
	outbox, err := openOutbox(o)
	if err != nil {
		return nil, err
	}
	c := &Client{Settings: s, Vault: store, Outbox: outbox, DNS: dns.Describe()}
	if c.ways, err = newWays(o); err != nil {
		return nil, err
	}
	solvers, err := newSolvers(s, dns, store.Dir())
	if err != nil {
		return nil, err
	}
	c.solvers = solvers
	said, err := engineSettings(s)
	if err != nil {
		return nil, err
	}
	c.Engine, err = enroll.New(enroll.Config{
		Resolver: believed(s, dns), Forgive: forgive(s, o.Forgave), Vault: store, HTTP: c.ways.to, Solver: solvers.of,
		EAB: bindings(s), Notifier: postman{outbox}, Observer: o.Observer, Settings: said, Now: o.Now,
	})
	return c, err
}

// Close sends what is still to be sent, for a moment, and lets go of connections.
func (c *Client) Close(ctx context.Context) error {
	defer c.ways.close()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return c.Outbox.Flush(ctx)
}

// Drop lets go of connections and sends nothing: for a client that was never used.
func (c *Client) Drop() { c.ways.close() }

// disbelieving is a resolver whose word on DNSSEC is not looked at (dnssec = "off").
type disbelieving struct{ caa.Resolver }

// CAA gives the answer as if nobody had validated it.
func (d disbelieving) CAA(ctx context.Context, name string) (caa.Answer, error) {
	a, err := d.Resolver.CAA(ctx, name)
	a.Authentic = false
	return a, err
}

func believed(s *settings.Settings, dns *resolver.Resolver) caa.Resolver {
	if s.DNS.DNSSEC == "off" {
		return disbelieving{dns}
	}
	return dns
}

func forgive(s *settings.Settings, tell func(string, error)) func(string, error) bool {
	if !s.DNS.ForgiveFailures {
		return nil
	}
	return func(name string, err error) bool {
		if tell != nil {
			tell(name, err)
		}
		return true
	}
}

// engineSettings says the settings in the engine's words.
func engineSettings(s *settings.Settings) (enroll.Settings, error) {
	roots, err := pool(s.Discovery.Roots)
	if err != nil {
		return enroll.Settings{}, err
	}
	said := enroll.Settings{
		Rules: caa.Rules(s.Discovery.Rules), DiscoveryOnRequest: !s.Discovery.Default,
		RequireAuthentic: s.DNS.DNSSEC == "require", Identities: s.Discovery.CAAIdentities,
		TermsByHand: s.Discovery.AgreeTerms == "ask", Contacts: contacts(s.Contacts), AccountKey: s.AccountKey, Roots: roots,
		Patience: s.Retry.PerCA.Std(), Tries: s.Retry.Attempts, FirstPause: s.Retry.Pause.Std(),
		LongestPause: s.Retry.Longest.Std(), Total: s.Retry.Total.Std(), RenewBefore: s.Renew.Before,
		NoDiscovery: !s.Discovery.Enabled, Only: s.Discovery.Only,
		BreakAfter: s.Breaker.Failures, BreakFor: s.Breaker.Pause.Std(), TellAfter: s.Notify.After,
	}
	for _, ca := range s.CAs {
		roots, err := pool(ca.Roots)
		if err != nil {
			return enroll.Settings{}, fmt.Errorf("[[ca]] %s: %w", ca.Label, err)
		}
		one := enroll.CA{
			Label: ca.Label, Issuers: ca.Issuers, Directory: ca.Directory, Default: ca.Default, Priority: ca.Priority,
			Identities: ca.CAAIdentities, Roots: roots, Profiles: map[caa.Kind]string{}, Policies: map[caa.Kind][]string{},
			AccountKey: ca.AccountKey, AgreeTerms: ca.AgreeTerms, Contacts: contacts(ca.Contacts),
		}
		for kind, profile := range ca.Profiles {
			if kind == "default" {
				kind = string(caa.AnyKind)
			}
			one.Profiles[caa.Kind(kind)] = profile
		}
		for kind, oids := range ca.Policies {
			one.Policies[caa.Kind(kind)] = oids
		}
		said.CAs = append(said.CAs, one)
	}
	return said, nil
}

func contacts(addresses []string) []string {
	urls := make([]string, len(addresses))
	for i, a := range addresses {
		urls[i] = "mailto:" + a
	}
	return urls
}

// pool reads a PEM file with roots; nil for "".
func pool(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := owned.ReadFile(filepath.Clean(file))
	if err != nil {
		return nil, fmt.Errorf("the roots: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return roots, nil
}
