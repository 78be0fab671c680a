package client

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"chancery/acme"
	"chancery/internal/enroll/settings"
	"chancery/internal/enroll/solve"
	"chancery/internal/enroll/vault"
	"chancery/internal/resolver"
)

// solvers makes what answers the challenges of a certificate.
type solvers struct {
	challenge settings.Challenge
	providers []provider
	dns       *resolver.Resolver
	journal   *solve.Journal
}

// provider is one [[challenge.dns]], made once: it knows which answers stand.
type provider struct {
	settings.Provider
	solver *solve.DNS01
}

func newSolvers(s *settings.Settings, dns *resolver.Resolver, dir string) (*solvers, error) {
	all := &solvers{challenge: s.Challenge, dns: dns, journal: &solve.Journal{Dir: filepath.Join(dir, "answers")}}
	look := solve.Propagation{}
	if len(s.DNS.Propagation) > 0 {
		seen, err := resolver.New(resolver.Config{Servers: s.DNS.Propagation})
		if err != nil {
			return nil, fmt.Errorf("dns.propagation: %w", err)
		}
		look.Where, look.Resolver = solve.Resolvers, seen
	}
	for _, p := range s.Challenge.DNS {
		publisher, err := publisher(p)
		if err != nil {
			return nil, fmt.Errorf("[[challenge.dns]] %s: %w", p.Label, err)
		}
		look.Timeout = p.Propagation.Std()
		all.providers = append(all.providers, provider{p, &solve.DNS01{Publisher: publisher, Resolver: dns, Propagation: look}})
	}
	return all, nil
}

func publisher(p settings.Provider) (solve.Publisher, error) {
	switch p.Kind {
	case "exec":
		return &solve.Exec{Program: p.Command[0], Arguments: p.Command[1:], Raw: p.Options["mode"] == "RAW"}, nil
	case "rfc2136":
		file := p.KeyFile
		if file == "" {
			file = p.Options["key_file"] // as it was called at first
		}
		key, err := solve.TSIGConfig{KeyFile: file, Name: p.KeyName, Algorithm: p.KeyAlgorithm, Secret: string(p.Key)}.Load()
		if err != nil {
			return nil, err
		}
		return &solve.RFC2136{Server: p.Server, Key: key}, nil
	}
	fields := map[string]string{}
	for name, value := range p.Options {
		fields[name] = value
	}
	for name, secret := range p.Secrets {
		fields[name] = string(secret)
	}
	return solve.NewLibDNS(p.Kind, fields)
}

// of is enroll.Config.Solver: the settings, and over them what the sheet says.
func (s *solvers) of(sheet vault.Sheet) (*solve.Set, error) {
	c := s.challenge
	override := sheet.Challenge
	if override.Webroot != "" || override.HTTP != "" {
		c.Webroot, c.HTTP = override.Webroot, override.HTTP
	}
	if override.TLS != "" {
		c.TLS = override.TLS
	}
	if len(override.Types) > 0 {
		c.Types = override.Types
	}
	var choices []solve.Choice
	switch {
	case c.Webroot != "":
		choices = append(choices, solve.Choice{Solver: &solve.Webroot{Dir: c.Webroot}})
	case c.HTTP != "":
		choices = append(choices, solve.Choice{Solver: &solve.Standalone{Address: c.HTTP}})
	}
	if c.TLS != "" {
		choices = append(choices, solve.Choice{Solver: &solve.TLSALPN{Address: c.TLS}})
	}
	records, err := s.records(override.DNS, c.DNSDefault)
	if err != nil {
		return nil, err
	}
	choices = append(choices, records...)
	if c.Persist || slices.Contains(c.Types, string(acme.ChallengeDNSPersist01)) {
		choices = append(choices, solve.Choice{Solver: &solve.Persist{Resolver: s.dns}})
	}
	return solve.NewSet(s.journal, preferred(choices, c.Types)...), nil
}

// sweepTime is the most that a start takes to clean up after processes that died.
const sweepTime = 20 * time.Second

// Sweep takes away the answers to challenges that processes left which died, of this
// client's data directory. Call it before the first run. The error says what still stands.
func (c *Client) Sweep(ctx context.Context) error {
	var choices []solve.Choice
	for _, p := range c.solvers.providers {
		choices = append(choices, solve.Choice{Solver: p.solver, Label: p.Label})
	}
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	return solve.NewSet(c.solvers.journal, choices...).Sweep(ctx)
}

// records gives the providers in question: the one named, else those whose zones hold
// a name, else those for all names.
func (s *solvers) records(named, otherwise string) ([]solve.Choice, error) {
	if named == "" {
		named = otherwise
	}
	var choices []solve.Choice
	for _, p := range s.providers {
		if named != "" && p.Label != named {
			continue
		}
		c := solve.Choice{Solver: p.solver, Label: p.Label}
		for _, zone := range p.Zones {
			zone = strings.TrimSuffix(strings.ToLower(zone), ".")
			c.Names = append(c.Names, zone, "*."+zone, "."+zone)
		}
		choices = append(choices, c)
	}
	if named != "" && len(choices) == 0 {
		return nil, fmt.Errorf("no [[challenge.dns]] is called %q", named)
	}
	return choices, nil
}

// preferred keeps the choices whose types are wanted, in that order; all if none are
// named.
func preferred(choices []solve.Choice, types []string) []solve.Choice {
	if len(types) == 0 {
		return choices
	}
	var ordered []solve.Choice
	for _, t := range types {
		for _, c := range choices {
			if of := typeOf(c.Solver); string(of) == t {
				ordered = append(ordered, c)
			}
		}
	}
	return ordered
}

func typeOf(s acme.Solver) acme.ChallengeType {
	switch s.(type) {
	case *solve.Webroot, *solve.Standalone:
		return acme.ChallengeHTTP01
	case *solve.TLSALPN:
		return acme.ChallengeTLSALPN01
	case *solve.Persist:
		return acme.ChallengeDNSPersist01
	}
	return acme.ChallengeDNS01
}
