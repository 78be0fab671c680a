package solve

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"chancery/internal/resolver"

	"github.com/miekg/dns"
)

// maxAliases bounds a chain of CNAME records.
const maxAliases = 8

// absent says that a look-up found, for sure, that there is no such record.
func absent(err error) bool {
	var e *resolver.Error
	return errors.As(err, &e) && (e.Kind == resolver.NotFound || e.Kind == resolver.NoData)
}

// follow gives the name at the end of a chain of CNAME records: who delegates
// _acme-challenge names to another zone has the records published there. Names are in
// lower case without the final dot.
func follow(ctx context.Context, r *resolver.Resolver, name string) (string, error) {
	seen := map[string]bool{}
	for at := name; ; {
		if seen[at] = true; len(seen) > maxAliases {
			return "", fmt.Errorf("the CNAME records from %s form a loop or a chain of more than %d", name, maxAliases)
		}
		answer, err := r.Lookup(ctx, at, dns.TypeCNAME)
		if absent(err) {
			return at, nil
		}
		if err != nil {
			return "", err
		}
		cname, ok := answer.Records[0].(*dns.CNAME)
		if !ok {
			return at, nil
		}
		next := bare(cname.Target)
		if !hostName(next) {
			return "", fmt.Errorf("%s is an alias of %s, which is no host name", at, quote(next))
		}
		if seen[next] {
			return "", fmt.Errorf("the CNAME records from %s form a loop", name)
		}
		at = next
	}
}

func bare(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// findZone climbs from a name to the first that has a SOA record of its own. It gives the
// zone and its primary server, both with the final dot.
func findZone(ctx context.Context, r *resolver.Resolver, name string) (zone, primary string, err error) {
	for at := name; at != ""; {
		soa, err := lookupSOA(ctx, r, at)
		if err != nil {
			return "", "", err
		}
		if soa != nil {
			return at + ".", strings.ToLower(soa.Ns), nil
		}
		_, at, _ = strings.Cut(at, ".")
	}
	return "", "", fmt.Errorf("no zone above %s was found: does the resolver know it? Otherwise name the zone in the configuration", name)
}

// lookupSOA gives the SOA record at exactly this name, or nil.
func lookupSOA(ctx context.Context, r *resolver.Resolver, name string) (*dns.SOA, error) {
	answer, err := r.Lookup(ctx, name, dns.TypeSOA)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, rr := range answer.Records {
		if soa, ok := rr.(*dns.SOA); ok && bare(soa.Hdr.Name) == name {
			return soa, nil
		}
	}
	return nil, nil // an alias' target has one
}
