package solve

import (
	"net/netip"
	"strconv"
	"strings"

	"chancery/acme"
)

// maxToken bounds a token's length: servers use some 22 to 43 characters, and a file
// name holds 255 octets.
const maxToken = 200

// quote shows a stranger's text on a terminal: quoted, with control characters escaped,
// and shortened.
func quote(s string) string { return strconv.QuoteToASCII(shorten(s)) }

func shorten(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// Check refuses a challenge that could do harm where answers are put: into URLs, file
// names, DNS records and arguments of programs. It is called by every solver here before
// anything else. The error is a *ValueError.
func Check(identifier acme.Identifier, challenge acme.Challenge, keyAuth string) error {
	if err := checkIdentifier(identifier); err != nil {
		return err
	}
	if challenge.Type == acme.ChallengeDNSPersist01 {
		return checkIssuers(challenge.IssuerDomainNames)
	}
	if len(challenge.Token) > maxToken {
		return &ValueError{"token", shorten(challenge.Token), "it is longer than " + strconv.Itoa(maxToken) + " characters"}
	}
	if !acme.ValidToken(challenge.Token) {
		return &ValueError{"token", shorten(challenge.Token), "it has characters outside base64url (RFC 8555 §8.3)"}
	}
	// RFC 8555 §8.1: token "." base64url(thumbprint), the thumbprint being a SHA-256.
	thumbprint, ok := strings.CutPrefix(keyAuth, challenge.Token+".")
	if !ok || len(thumbprint) != 43 || !acme.ValidToken(thumbprint) {
		return &ValueError{"key authorisation", shorten(keyAuth), "it is not the token, a dot and a thumbprint (RFC 8555 §8.1)"}
	}
	return nil
}

func checkIdentifier(identifier acme.Identifier) error {
	reason := ""
	switch identifier.Type {
	case acme.IdentifierDNS:
		if !hostName(strings.TrimPrefix(identifier.Value, "*.")) {
			reason = "it is not a host name of letters, digits and hyphens"
		}
	case acme.IdentifierIP:
		if ip, err := netip.ParseAddr(identifier.Value); err != nil || ip.Zone() != "" {
			reason = "it is not an IP address"
		}
	default:
		reason = "identifiers of type " + quote(string(identifier.Type)) + " are not proven here"
	}
	if reason != "" {
		return &ValueError{"identifier", shorten(identifier.Value), reason}
	}
	return nil
}

// hostName takes names of RFC 1123 §2.1, and underscores, which occur in private zones,
// anywhere but at the start of a name: so no name looks like an option or a path.
func hostName(name string) bool {
	if len(name) == 0 || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// checkIssuers: the draft ("Challenge Object"): clients MUST reject a challenge with no
// or more than 10 names; each is in lower case, of A-labels, without a final dot.
func checkIssuers(names []string) error {
	if len(names) == 0 || len(names) > 10 {
		return &ValueError{"list of issuer domain names", strconv.Itoa(len(names)) + " names", "there must be 1 to 10"}
	}
	for _, n := range names {
		if !hostName(n) || n != strings.ToLower(n) {
			return &ValueError{"issuer domain name", shorten(n), "it is not a domain name in lower case without a final dot"}
		}
	}
	return nil
}

// canonical is an identifier in the form in which two are compared.
func canonical(identifier acme.Identifier) acme.Identifier {
	if ip, err := netip.ParseAddr(identifier.Value); err == nil && identifier.Type == acme.IdentifierIP {
		return acme.Identifier{Type: acme.IdentifierIP, Value: ip.Unmap().String()}
	}
	return acme.Identifier{Type: identifier.Type, Value: strings.ToLower(strings.TrimSuffix(identifier.Value, "."))}
}
