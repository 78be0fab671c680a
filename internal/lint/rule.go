package lint

import (
	"github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3" // for its registrations: importing it fills the global registry
	zlintlint "github.com/zmap/zlint/v3/lint"
	"golang.org/x/crypto/ocsp"
)

// zlint's major version is part of what a finding means; this fails to compile
// when it changes, so that the exclusions in rfc.go are looked at again.
const _ = uint(3-zlint.Version) + uint(zlint.Version-3)

// rule is one lint, zlint's or ours. Exactly one of the functions is set.
type rule struct {
	name, source string
	about        string // what the lint asks for, in a sentence

	certificate func(*x509.Certificate) outcome
	crl         func(*x509.RevocationList) outcome
	ocsp        func(*ocsp.Response) outcome
}

// outcome is a rule's answer.
type outcome struct {
	severity Severity
	detail   string
}

// detail says what is wrong: few of zlint's lints say more than their name.
func (r *rule) detail(o outcome) string {
	switch {
	case o.detail == "":
		return r.about
	case r.about == "":
		return o.detail
	}
	return r.about + ": " + o.detail
}

// zlintRules wraps every lint that zlint has registered. No configuration file
// is read, so the lints run with their defaults.
func zlintRules() []*rule {
	registry := zlintlint.GlobalRegistry()
	configuration := registry.GetConfiguration()
	var rules []*rule
	for _, l := range registry.CertificateLints().Lints() {
		rules = append(rules, wrap(l.LintMetadata, rule{certificate: func(c *x509.Certificate) outcome {
			return translate(l.Execute(c, configuration))
		}}))
	}
	for _, l := range registry.RevocationListLints().Lints() {
		rules = append(rules, wrap(l.LintMetadata, rule{crl: func(c *x509.RevocationList) outcome {
			return translate(l.Execute(c, configuration))
		}}))
	}
	for _, l := range registry.OcspResponseLints().Lints() {
		rules = append(rules, wrap(l.LintMetadata, rule{ocsp: func(o *ocsp.Response) outcome {
			return translate(l.Execute(o, configuration))
		}}))
	}
	return rules
}

// wrap adds to r what zlint says about a lint.
func wrap(about zlintlint.LintMetadata, r rule) *rule {
	r.name, r.source, r.about = about.Name, string(about.Source), about.Description
	return &r
}

// translate turns zlint's result into ours. A status that this code does not
// know counts as fatal: a lint that did not say "passed" did not pass.
func translate(result *zlintlint.LintResult) outcome {
	if result == nil {
		return outcome{Fatal, "the lint gave no result"}
	}
	switch result.Status {
	case zlintlint.NA, zlintlint.NE, zlintlint.Pass:
		return outcome{}
	case zlintlint.Notice:
		return outcome{Notice, result.Details}
	case zlintlint.Warn:
		return outcome{Warn, result.Details}
	case zlintlint.Error:
		return outcome{Error, result.Details}
	}
	return outcome{Fatal, result.Details}
}
