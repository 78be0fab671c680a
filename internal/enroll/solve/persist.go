package solve

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"chancery/acme"
	"chancery/internal/resolver"
)

// Persist meets dns-persist-01 (draft-ietf-acme-dns-persist): it changes nothing, it only
// looks whether the lasting TXT record is there that lets the issuer take this account's
// orders for the name as proven. In a Set it is chosen where the record is, and where
// nothing else is permitted; the error is then a *MissingRecordError with the record to
// set.
//
// A server that is not what it seems could ask for a record that names another CA and
// somebody else's account there. So the issuer must be the one by which the server was
// chosen (Issuers) and the account must be the own one, whatever the challenge says.
type Persist struct {
	Resolver *resolver.Resolver
	// Account is the URL of the account that orders; a Set puts the job's there.
	Account string
	// Issuers are the names to accept; a Set puts the job's there. Empty: any that the
	// challenge gives.
	Issuers []string
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	// also are other identifiers of the job, so that the record to set serves for all.
	also []acme.Identifier
}

func (p *Persist) bind(job Job) prober {
	return &Persist{Resolver: p.Resolver, Account: job.Account, Issuers: job.Issuers, Now: p.Now, also: job.Identifiers}
}

// Types gives dns-persist-01 for names, wildcards among them.
func (p *Persist) Types(identifier acme.Identifier) []acme.ChallengeType {
	if identifier.Type != acme.IdentifierDNS {
		return nil
	}
	return []acme.ChallengeType{acme.ChallengeDNSPersist01}
}

// Present looks whether the record is there. The error is a *ValueError,
// a *MissingRecordError or a *resolver.Error.
func (p *Persist) Present(ctx context.Context, identifier acme.Identifier, challenge acme.Challenge, _ string) error {
	if err := Check(identifier, challenge, ""); err != nil {
		return err
	}
	if err := p.checkAccount(); err != nil {
		return err
	}
	if challenge.AccountURI != "" && challenge.AccountURI != p.Account {
		return &ValueError{"accounturi", shorten(challenge.AccountURI), "it is not this account, " + quote(p.Account)}
	}
	issuers := slices.Clone(challenge.IssuerDomainNames)
	if len(p.Issuers) > 0 {
		issuers = slices.DeleteFunc(issuers, func(n string) bool { return !p.knows(n) })
	}
	if len(issuers) == 0 {
		return &ValueError{"list of issuer domain names", shorten(strings.Join(challenge.IssuerDomainNames, " ")),
			"none is the one by which the server was chosen, " + strings.Join(p.Issuers, " or ")}
	}
	return p.find(ctx, identifier, issuers)
}

// CleanUp has nothing to do: the record stays for the next time.
func (p *Persist) CleanUp(context.Context, acme.Identifier, acme.Challenge, string) error { return nil }

func (p *Persist) knows(issuer string) bool {
	return slices.ContainsFunc(p.Issuers, func(n string) bool { return bare(n) == issuer })
}

// checkAccount: the URL came from the server and goes into a record that the user is told
// to set, where a blank or a semicolon would begin something else.
func (p *Persist) checkAccount() error {
	u, err := url.Parse(p.Account)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return &ValueError{"account URL", shorten(p.Account), "it is not a URL"}
	}
	for _, c := range []byte(p.Account) {
		if c <= ' ' || c > '~' || c == ';' || c == '"' || c == '\\' {
			return &ValueError{"account URL", shorten(p.Account), "it has characters that cannot stand in a record (RFC 8659 §4.2)"}
		}
	}
	if len(p.Account) > 1000 {
		return &ValueError{"account URL", shorten(p.Account), "it is too long for a record"}
	}
	return nil
}

// probe says whether the record is there, before there is a challenge.
func (p *Persist) probe(ctx context.Context, identifier acme.Identifier) error {
	if err := p.checkAccount(); err != nil {
		return err
	}
	var issuers []string
	for _, n := range p.Issuers {
		issuers = append(issuers, bare(n))
	}
	return p.find(ctx, identifier, issuers)
}

// find looks for a record of one of the issuers (none: any issuer's) that serves.
func (p *Persist) find(ctx context.Context, identifier acme.Identifier, issuers []string) error {
	missing := &MissingRecordError{Name: PersistName(identifier.Value)}
	texts, err := p.texts(ctx, missing.Name)
	if err != nil {
		return err
	}
	now := time.Now
	if p.Now != nil {
		now = p.Now
	}
	for _, text := range texts {
		record, err := ParsePersistRecord(text)
		switch {
		case err != nil:
			missing.Seen = append(missing.Seen, fmt.Sprintf("%s is there, but %v", quote(text), err))
		case len(issuers) > 0 && !slices.Contains(issuers, record.Issuer):
			// Another CA's, which is as it should be.
		default:
			why := record.lacks(identifier, p.Account, now())
			if why == "" {
				return nil
			}
			missing.Seen = append(missing.Seen, quote(text)+" is there, but "+why)
		}
	}
	issuer := "ISSUER"
	if len(issuers) > 0 {
		issuer = issuers[0]
	}
	missing.Value = PersistRecord{Issuer: issuer, Account: p.Account, Wildcard: wildcardAmong(missing.Name, append(slices.Clone(p.also), identifier))}.String()
	return missing
}

// wildcardAmong says whether a record at a name has to serve for a wildcard.
func wildcardAmong(record string, identifiers []acme.Identifier) bool {
	return slices.ContainsFunc(identifiers, func(id acme.Identifier) bool {
		return strings.HasPrefix(id.Value, "*.") && PersistName(id.Value) == record
	})
}

// texts gives the TXT records of a name; none if there are none for sure.
func (p *Persist) texts(ctx context.Context, name string) ([]string, error) {
	if p.Resolver == nil {
		return nil, fmt.Errorf("dns-persist-01 is configured without a resolver")
	}
	texts, err := p.Resolver.TXT(ctx, strings.TrimSuffix(name, "."))
	if absent(err) {
		return nil, nil
	}
	return texts, err
}
