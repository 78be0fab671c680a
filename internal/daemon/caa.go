package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"chancery/internal/ca"
	"chancery/internal/config"
	"chancery/internal/resolver"
)

// caaRules makes of a configuration how CAA records bind each line of issuers.
// It refuses to honour accounturi and validationmethods with a resolver whose word
// on DNSSEC nobody can rely on (RFC 8657 §5.6).
func caaRules(c *config.Config) (ca.CAARules, error) {
	lines := c.CAALines()
	on := func(line string) bool { return c.CAAMode(line) != string(ca.CAAOff) }
	if !on("") && !slices.ContainsFunc(lines, on) {
		return ca.CAARules{}, nil
	}
	in := resolver.Config{MixCase: true, Servers: c.CAA.Resolvers, Trusted: c.CAA.Trusted}
	key := "caa.resolvers"
	if len(in.Servers) == 0 {
		in.Servers, key = c.Validation.Resolvers, "validation.resolvers"
	}
	dns, err := resolver.New(in)
	if err != nil {
		return ca.CAARules{}, fmt.Errorf("%s: %w", key, err)
	}
	if c.CAA.Parameters {
		if err := mayHonour(dns); err != nil {
			return ca.CAARules{}, err
		}
	}
	policy := ca.CAAPolicy{Mode: ca.CAAMode(c.CAAMode("")), Identities: c.CAAIdentities(), Parameters: c.CAA.Parameters, Resolver: dns}
	rules := ca.CAARules{CAAPolicy: policy, Lines: map[string]ca.CAAPolicy{}}
	for _, line := range lines {
		policy.Mode = ca.CAAMode(c.CAAMode(line))
		rules.Lines[line] = policy
	}
	return rules, nil
}

// mayHonour wants every resolver to be one whose AD bit cannot have been set on
// the way: on loopback, over TLS, or trusted by the configuration.
func mayHonour(dns *resolver.Resolver) error {
	doubtful := dns.Unprotected()
	if len(doubtful) == 0 {
		return nil
	}
	return fmt.Errorf("caa.parameters needs resolvers that validate DNSSEC and whose word cannot be changed on the way, and %s is asked in the clear over a network: "+
		"name a validating resolver on loopback or over TLS in caa.resolvers (\"127.0.0.1\", \"tls://ADDRESS#NAME\"), or, if it validates and the network between is yours, in caa.trusted; "+
		"or set caa.parameters = false, which ignores accounturi and validationmethods in CAA records", strings.Join(doubtful, ", "))
}

// probeCAA tells the operator of lines of issuers that there are not, which could
// be misspelt ones, and when the resolver for CAA does not seem to validate
// DNSSEC although records may name accounts and methods. The zone arpa is signed,
// as the root is; where neither can be reached, as in a network of its own,
// nothing can be known, and that is said.
func (d *Daemon) probeCAA(ctx context.Context) error {
	rules := d.authority.CAARules()
	policies := []ca.CAAPolicy{rules.CAAPolicy}
	for line, p := range rules.Lines {
		policies = append(policies, p)
		if d.authority.Issuers().Line(line, time.Now()) == nil {
			d.Logger.WarnContext(ctx, "caa.lines names a line that no issuer signs for; see: chancery ca list", "line", line)
		}
	}
	for _, p := range policies {
		if p.Mode == ca.CAAOff || p.Mode == "" || !p.Parameters {
			continue
		}
		answer, err := p.Resolver.CAA(ctx, "arpa")
		if ctx.Err() != nil {
			return nil
		}
		if err != nil || !answer.Authentic {
			d.Logger.WarnContext(ctx, "the resolver for CAA records did not show that it validates DNSSEC, which it must where accounturi and validationmethods are honoured (RFC 8657 section 5.6); choose another in caa.resolvers or set caa.parameters = false",
				"server", answer.Server, "error", err)
		}
		return nil
	}
	return nil
}

// sayCAA writes into the log how CAA is obeyed, since much follows from it.
func sayCAA(o Options, rules *ca.CAARules) {
	if rules.Resolver == nil {
		return
	}
	modes := []string{string(rules.Mode)}
	for line, p := range rules.Lines {
		modes = append(modes, line+"="+string(p.Mode))
	}
	slices.Sort(modes[1:])
	o.Logger.Info("CAA records are looked up before certificates are issued", "mode", strings.Join(modes, " "),
		"identities", rules.Identities, "accounturi and validationmethods honoured", rules.Parameters)
}
