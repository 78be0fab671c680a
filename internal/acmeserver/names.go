package acmeserver

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"chancery/acme"
	"chancery/internal/ca"
	"chancery/internal/challenge"
)

// names makes canonical identifiers of those that a client asks for. Every bad
// one is named in a subproblem (RFC 8555 §6.7.1). One that is given twice counts
// once: the RFC is silent about it, and clients do it.
func (s *Server) names(asked []acme.Identifier) ([]ca.Identifier, error) {
	if len(asked) == 0 {
		return nil, acme.Malformed("the order has no identifiers; name at least one")
	}
	if len(asked) > s.MaxNames {
		return nil, acme.NewProblem(acme.TypeRejectedIdentifier, "the order has %d identifiers, and %d are the limit; split it into several", len(asked), s.MaxNames)
	}
	var names []ca.Identifier
	var refused []acme.Subproblem
	for _, id := range asked {
		name, sub := s.name(id)
		switch {
		case sub != nil:
			refused = append(refused, *sub)
		case !slices.Contains(names, name):
			names = append(names, name)
		}
	}
	if len(refused) > 0 {
		return nil, acme.Compound(refused, "%d of the %d identifiers cannot be certified: %s", len(refused), len(asked), refused[0].Detail)
	}
	return names, nil
}

// name makes one canonical identifier, or says why it is refused.
func (s *Server) name(id acme.Identifier) (ca.Identifier, *acme.Subproblem) {
	shown := acme.Identifier{Type: acme.IdentifierType(clip(string(id.Type))), Value: clip(id.Value)}
	refuse := func(typ, format string, args ...any) (ca.Identifier, *acme.Subproblem) {
		return ca.Identifier{}, &acme.Subproblem{Type: typ, Detail: fmt.Sprintf(format, args...), Identifier: &shown}
	}
	if id.Type != acme.IdentifierDNS && id.Type != acme.IdentifierIP {
		return refuse(acme.TypeUnsupportedIdentifier, "identifiers of type %q are not served here; use dns or ip", shown.Type)
	}
	name, err := ca.ParseIdentifier(string(id.Type), id.Value)
	if err != nil {
		return refuse(acme.TypeRejectedIdentifier, "%s", detailOf(err))
	}
	if addr, ok := name.Addr(); ok {
		if err := s.CheckAddress(addr); err != nil {
			return refuse(acme.TypeRejectedIdentifier, "%v", err)
		}
	}
	if len(s.methods(name)) == 0 {
		return refuse(acme.TypeRejectedIdentifier, "%s cannot be proven here: of the challenges that would do (%s) this server offers none",
			shown.Value, strings.Join(fitting(name), ", "))
	}
	return name, nil
}

// fitting gives the challenges that can prove a name at all: a wildcard only by
// dns-01 (RFC 8555 §8.3 and §8.4), an address never by it (RFC 8738 §7).
func fitting(name ca.Identifier) []string {
	switch {
	case name.IsWildcard():
		return []string{challenge.DNS01}
	case name.Type() == ca.TypeIP:
		return []string{challenge.HTTP01, challenge.TLSALPN01}
	}
	return []string{challenge.HTTP01, challenge.DNS01, challenge.TLSALPN01}
}

// methods gives those challenges for a name that are offered.
func (s *Server) methods(name ca.Identifier) []string {
	can := fitting(name)
	return slices.DeleteFunc(slices.Clone(s.Challenges), func(m string) bool { return !slices.Contains(can, m) })
}

// wireName gives an identifier as ACME writes it; a wildcard keeps its "*.".
func wireName(name ca.Identifier) acme.Identifier {
	return acme.Identifier{Type: acme.IdentifierType(name.Type()), Value: name.Value()}
}

// listed gives names as words for a person, at most ten.
func listed(names []ca.Identifier) string {
	var words []string
	for i, n := range names {
		if i == 10 {
			words = append(words, fmt.Sprintf("and %d more", len(names)-i))
			break
		}
		words = append(words, n.Value())
	}
	return strings.Join(words, ", ")
}

// clip keeps what a stranger wrote short enough to be shown back.
func clip(text string) string {
	const limit = 256
	if len(text) > limit {
		return strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}

// detailOf gives an error's words for the client.
func detailOf(err error) string {
	var e *ca.Error
	if errors.As(err, &e) {
		return e.Detail
	}
	return "it cannot be read"
}
