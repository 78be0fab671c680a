package estserver

import (
	"errors"
	"net/http"

	"chancery/est"
)

// The outcomes of linking that are no kind of binding.
const (
	unlinked       = "none"
	exemptFromLink = "exempt: registration authority"
)

// link checks what binds a request to the TLS connection that it came by (RFC 7030
// §3.5): whoever makes the one also has the other, so that nobody passes on a request
// of somebody else. It is looked at whenever it is there; there is no switch. The
// outcome is for the record. challengePassword is such a value unless the label reads
// it as a secret, estIdentityLinking always (RFC 7894 §3.3).
func (s *Server) link(c *call) (string, error) { return c.linkOf(c.request) }

// linkOf is link for a request that came inside another message.
func (c *call) linkOf(p *est.Parsed) (string, error) {
	values, err := c.linkingValues(p)
	if err != nil {
		return "", err
	}
	if c.who.RA && c.label.RAUnlinked {
		// What it passes on was bound to another connection, its client's (§3.7).
		return exemptFromLink, nil
	}
	if len(values) == 0 && !c.label.RequireLinking {
		return unlinked, nil
	}
	if c.terminated {
		return "", notLinked("this connection ends before it gets here, so that no request can be bound to it (RFC 7030 section 3.5); leave the attribute out, or connect directly if it is required")
	}
	binding, err := est.BindingOf(c.tls())
	if err != nil {
		return "", notLinked("%v", err)
	}
	if len(values) == 0 {
		return "", notLinked("linking is required here (RFC 7030 section 3.5): put the base64 of this connection's %s into %s", binding.Kind, c.label.linkedBy())
	}
	outcome := binding.Kind + " by"
	for _, v := range values {
		if !binding.Matches(v.text) {
			return "", notLinked("the request's %s is not the %s of this connection (RFC 7030 section 3.5): make the request anew for each connection, or leave the attribute out where linking is not required", v.attribute, binding.Kind)
		}
		outcome += " " + v.attribute
	}
	return outcome, nil
}

// errUnlinked is the cause of every refusal for want of linking: popFailed in CMC
// (RFC 7030 §3.5).
var errUnlinked = errors.New("not linked to the connection")

func notLinked(format string, args ...any) *refusal {
	r := refuse(http.StatusForbidden, format, args...)
	r.Err = errUnlinked
	return r
}

// attributeText is an attribute of a request that is a text.
type attributeText struct{ attribute, text string }

func (c *call) linkingValues(p *est.Parsed) ([]attributeText, error) {
	var values []attributeText
	text, ok, err := p.IdentityLinking()
	if err != nil {
		return nil, err
	}
	if ok {
		values = append(values, attributeText{"estIdentityLinking", text})
	}
	if c.label.ChallengeSecret {
		return values, nil // authenticate has read it
	}
	text, ok, err = p.ChallengePassword()
	if ok {
		values = append(values, attributeText{"challengePassword", text})
	}
	return values, err
}

// linkedBy names the attributes that linking is taken in.
func (l *Label) linkedBy() string {
	if l.ChallengeSecret {
		return "estIdentityLinking (RFC 7894)"
	}
	return "challengePassword or estIdentityLinking"
}
