package estserver

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"chancery/internal/ca"
)

// The methods of evidence that this room has.
const (
	byClientCertificate = "client-certificate"
	byPassword          = "password"
	byRA                = "registration-authority"
	byApproval          = "approval"
)

// evidenceLife: what this room knows of a client it knows now.
const evidenceLife = time.Hour

// holding is what a certificate proves to be its holder's own.
type holding struct {
	names   []ca.Identifier
	subject ca.Subject
}

// holdingOf reads a certificate. Names that are not certified here are left out:
// nobody can ask for them.
func holdingOf(cert *x509.Certificate) holding {
	var h holding
	h.names, _ = ca.CertificateNames(cert)
	h.subject, _ = ca.SubjectOf(cert.RawSubject)
	return h
}

// serial gives the device's serial number: of the subject (IEEE 802.1AR §8.6) or of
// the hardware module.
func (h holding) serial() string {
	if h.subject.SerialNumber != "" {
		return h.subject.SerialNumber
	}
	for _, n := range h.names {
		if n.Type() == ca.TypeHardwareModule {
			serial, _, _ := strings.Cut(n.Value(), "/")
			return serial
		}
	}
	return ""
}

// ground is one reason for which something may be asked for.
type ground struct {
	patterns []pattern
	own      *holding // what the pattern "own" stands for; nil: nothing
	methods  []string // of evidence, for a name that it lets pass
	detail   string
}

// policy is what an identity may ask for under a label (RFC 7030 §3.7).
type policy struct {
	grounds []ground
	fields  map[string]string
}

// patterns are those that hold for who asks: of the password that was shown, if it has its
// own, they stand instead of the label's, or they would bound nothing. Of a one-time
// password beside a user's the one-time password's come first: it is for one certificate.
func (c *call) patterns() []string {
	for _, k := range []*Credential{c.who.OneTime, c.who.Credential} {
		if k != nil && len(k.Names) > 0 {
			return k.Names
		}
	}
	return c.label.Names
}

// anythingApproved tells whether an approver's word stands for any name: no pattern is
// said, neither of the label nor of the password.
func (c *call) anythingApproved() bool { return c.label.Manual && len(c.patterns()) == 0 }

// policyOf collects the grounds: for a registration authority what the label lets it
// ask for others, and nothing of its own; for anybody else what the certificate and
// the user have, as far as the patterns let it pass that hold for who asks, and what the
// certificate has that is renewed, nil: nothing.
func (c *call) policyOf(renews *holding) policy {
	who := c.who
	p := policy{fields: map[string]string{}}
	add := func(patterns []string, own *holding, methods ...string) {
		g := ground{own: own, methods: methods, detail: who.shown()}
		for _, text := range patterns {
			if one, err := parsePattern(text); err == nil { // the configuration's were checked
				g.patterns = append(g.patterns, one)
			}
		}
		p.grounds = append(p.grounds, g)
	}
	if who.RA {
		add(c.label.RANames, nil, byRA)
		return p
	}
	patterns := c.patterns()
	if len(patterns) == 0 {
		patterns = []string{ownNames}
	}
	var methods []string
	var own *holding
	if who.Certificate != nil {
		methods = append(methods, byClientCertificate)
		h := holdingOf(who.Certificate)
		own = &h
		p.fields["{serial}"], p.fields["{cn}"] = h.serial(), h.subject.CommonName
		if slices.Contains(patterns, ownNames) {
			add([]string{ownNames}, own, byClientCertificate)
		}
	}
	if who.Credential != nil {
		methods = append(methods, byPassword)
		p.fields["{user}"] = who.Credential.User
		if slices.Contains(patterns, ownNames) {
			add([]string{ownNames}, &holding{subject: ca.Subject{CommonName: who.Credential.User}}, byPassword)
		}
	}
	add(slices.DeleteFunc(slices.Clone(patterns), func(t string) bool { return t == ownNames }), nil, methods...)
	if renews != nil {
		add([]string{ownNames}, renews, methods...)
	}
	return p
}

// lets gives the methods by which a name is proven; none: it is refused.
func (p policy) lets(n ca.Identifier) (methods []string, detail string) {
	for _, g := range p.grounds {
		if slices.ContainsFunc(g.patterns, func(t pattern) bool {
			return t.own && g.own != nil && slices.Contains(g.own.names, n) || t.fitsName(n, p.fields)
		}) {
			methods, detail = append(methods, g.methods...), g.detail
		}
	}
	slices.Sort(methods)
	return slices.Compact(methods), detail
}

// letsAttribute tells whether an attribute of the subject may be asked for.
func (p policy) letsAttribute(word, value string) bool {
	for _, g := range p.grounds {
		if slices.ContainsFunc(g.patterns, func(t pattern) bool {
			return t.own && g.own != nil && g.own.has(word, value) || t.fitsAttribute(word, value, p.fields)
		}) {
			return true
		}
	}
	return false
}

// has tells whether an attribute is among what a certificate says of its holder. A
// common name may also be one of its names, and the other way round.
func (h *holding) has(word, value string) bool {
	if *attributeOf[word](&h.subject) == value {
		return true
	}
	switch word {
	case "SN":
		return value == h.serial()
	case "CN":
		return slices.ContainsFunc(h.names, func(n ca.Identifier) bool { return n.Value() == value })
	}
	return false
}

// authorise checks everything that is asked for against the policy and gives the
// evidence for each name. What is refused is named. An approver's word stands for what
// no ground lets pass, if neither the label nor the password says patterns.
func (c *call) authorise(ask *Ask, renews *holding) ([]ca.Evidence, error) {
	p := c.policyOf(renews)
	approver := c.anythingApproved()
	var evidence []ca.Evidence
	for _, n := range ask.Names {
		methods, detail := p.lets(n)
		for _, m := range methods {
			evidence = append(evidence, ca.Evidence{Identifier: n, Method: m, At: c.now, Expires: c.now.Add(evidenceLife), Detail: detail})
		}
	}
	var refused []string
	if !approver {
		refused = p.beyond(ask.Names, ask.Subject)
	}
	if ask.Subject.BusinessCategory != "" || ask.Subject.JurisdictionCountry != "" {
		refused = append(refused, "the subject's businessCategory or jurisdictionCountry")
	}
	if len(refused) > 0 {
		return nil, ca.Errorf(ca.Denied, "you (%s) may not ask for %s", c.who.shown(), clipList(refused))
	}
	return evidence, nil
}

// beyond lists, for people, what of names and subject the policy does not let pass.
func (p policy) beyond(names []ca.Identifier, subject ca.Subject) (refused []string) {
	for _, n := range names {
		if methods, _ := p.lets(n); len(methods) == 0 {
			refused = append(refused, fmt.Sprintf("the name %s", n))
		}
	}
	for _, word := range attributeWords {
		value := *attributeOf[word](&subject)
		if value == "" || p.letsAttribute(word, value) {
			continue
		}
		// A common name that only repeats an allowed name asks for nothing more.
		if word == "CN" && slices.ContainsFunc(names, func(n ca.Identifier) bool { return n.Value() == value }) {
			continue
		}
		refused = append(refused, fmt.Sprintf("%s=%q in the subject", word, clip(value)))
	}
	return refused
}

// clipList joins what is refused, the first ten of it.
func clipList(list []string) string {
	more := ""
	if len(list) > 10 {
		list, more = list[:10], fmt.Sprintf(" and %d more", len(list)-10)
	}
	return strings.Join(list, ", ") + more
}

// clip keeps what a stranger wrote short enough to be shown back.
func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:77], "") + "..."
	}
	return s
}
