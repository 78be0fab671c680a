package directory

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"

	"chancery/internal/enroll/guard"
)

// names maps to A-labels and judges as a resolver's client does (RFC 5891 §5).
var names = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// domainName gives a domain name's one form: A-labels, lower case, no final dot. An
// address is no name, nor is anything else that has other characters (RFC 8659 §4.2).
func domainName(text string) (string, bool) {
	text = strings.TrimSuffix(text, ".")
	if _, err := netip.ParseAddr(text); err == nil || text == "" {
		return "", false
	}
	name, err := names.ToASCII(text)
	if err != nil || strings.HasSuffix(name, ".") {
		return "", false
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	if strings.Trim(last, "0123456789") == "" {
		return "", false // 127.1 and the like: some resolvers take it for an address
	}
	return name, true
}

// vouch says what makes this directory the CA's that was asked for.
func (q Query) vouch(f Found) (string, error) {
	otherwise := ByTLSName
	if q.URL != "" {
		otherwise = ByConfiguration
	}
	if f.Issuer == "" || q.Identities == Ignore {
		return otherwise, nil
	}
	var identities []string
	if f.Directory.Meta != nil {
		identities = f.Directory.Meta.CAAIdentities
	}
	if len(identities) == 0 {
		if q.Identities == Require {
			return "", errors.New("it has no caaIdentities, and the configuration requires them")
		}
		return otherwise, nil
	}
	var shown []string
	for _, identity := range identities {
		if name, ok := domainName(identity); ok && name == f.Issuer {
			return ByIdentities, nil
		}
		if shown = append(shown, guard.Shown(identity)); len(shown) > 8 {
			shown[8] = "…"
			shown = shown[:9]
		}
	}
	return "", fmt.Errorf("its caaIdentities are %s and not %s: it is another CA's", strings.Join(shown, ", "), f.Issuer)
}
