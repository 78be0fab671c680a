// Package lint looks at a certificate, a CRL or an OCSP response and says what
// is wrong with it: zlint's lints and a few rules of our own, chosen by name.
// The issuance core runs it over what it is about to sign, so that a mistake
// in a profile is found before it is a certificate.
//
// The room takes DER and gives findings. It must not know who asked, what the
// profile allows, where anything is stored, or any network: a lint that would
// have to look something up does not belong here.
package lint

import (
	"fmt"
	"strings"

	"github.com/zmap/zcrypto/x509"
	"golang.org/x/crypto/ocsp"
)

// Severity says how bad a finding is.
type Severity int

// The severities, in rising order. Zero is never found in a [Finding].
const (
	passed Severity = iota
	Notice          // worth knowing, nothing is wrong
	Warn            // a SHOULD is broken, or some software will stumble
	Error           // a MUST is broken
	Fatal           // the lint could not make sense of what it was shown
)

// String gives the severity's name in lower case.
func (s Severity) String() string {
	switch s {
	case passed:
		return "passed"
	case Notice:
		return "notice"
	case Warn:
		return "warning"
	case Error:
		return "error"
	case Fatal:
		return "fatal"
	}
	return fmt.Sprintf("severity %d", int(s))
}

// Finding is one lint that was not passed.
type Finding struct {
	Lint     string // the lint's name, as [Parse] takes it
	Severity Severity
	Source   string // the document the lint is drawn from: "RFC5280", "CABF_BR", "chancery"
	Detail   string // what is wrong, for a person
}

// String gives the finding on one line.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s (%s, %s)", f.Severity, f.Detail, f.Lint, f.Source)
}

// PanicError says that a lint broke down instead of answering. Whatever it was
// looking at counts as not linted.
type PanicError struct {
	Lint   string // the lint's name
	Reason string // what it panicked with
}

// Error says which lint it was and how to go on without it.
func (e *PanicError) Error() string {
	return fmt.Sprintf("the lint %s broke down (%s); nothing was accepted. If this happens again, exclude it by adding %q to the list of lints, and report it",
		e.Lint, e.Reason, "-"+e.Lint)
}

// ParseError says that the bytes are not what they should be, so that no lint
// could look at them.
type ParseError struct {
	What string // "certificate", "CRL" or "OCSP response"
	Err  error
}

// Error gives the parser's reason.
func (e *ParseError) Error() string {
	return fmt.Sprintf("this is not a well-formed %s: %v", e.What, e.Err)
}

// Unwrap gives the parser's error.
func (e *ParseError) Unwrap() error { return e.Err }

// Set is a selection of lints. It is immutable and safe for concurrent use.
type Set struct {
	certificate, crl, ocsp []*rule
}

// Names gives the names of all the lints in the set, those for certificates
// first.
func (s *Set) Names() []string {
	names := make([]string, 0, len(s.certificate)+len(s.crl)+len(s.ocsp))
	for _, rules := range [][]*rule{s.certificate, s.crl, s.ocsp} {
		for _, r := range rules {
			names = append(names, r.name)
		}
	}
	return names
}

// Certificate lints one DER certificate and gives what it did not pass. Errors
// are [*ParseError] and [*PanicError]; with either, the certificate must not be
// used. The signature is not looked at: a certificate signed by a throw-away
// key lints like the real one.
func (s *Set) Certificate(der []byte) ([]Finding, error) {
	cert, err := parse("certificate", der, x509.ParseCertificate)
	if err != nil {
		return nil, err
	}
	return run(s.certificate, func(r *rule) outcome { return r.certificate(cert) })
}

// CRL lints one DER certificate revocation list; errors are as for
// [Set.Certificate].
func (s *Set) CRL(der []byte) ([]Finding, error) {
	list, err := parse("CRL", der, x509.ParseRevocationList)
	if err != nil {
		return nil, err
	}
	return run(s.crl, func(r *rule) outcome { return r.crl(list) })
}

// OCSP lints one successful OCSP response that answers for one certificate;
// errors are as for [Set.Certificate]. The unsigned error responses of RFC 6960
// §2.3 hold nothing to lint and are a [*ParseError].
func (s *Set) OCSP(der []byte) ([]Finding, error) {
	response, err := parse("OCSP response", der, func(der []byte) (*ocsp.Response, error) {
		return ocsp.ParseResponse(der, nil)
	})
	if err != nil {
		return nil, err
	}
	return run(s.ocsp, func(r *rule) outcome { return r.ocsp(response) })
}

// parse keeps a panic in a parser from taking the process with it: the bytes
// are half our own and half a stranger's, and the parsers are other people's.
func parse[T any](what string, der []byte, with func([]byte) (*T, error)) (parsed *T, err error) {
	defer func() {
		if p := recover(); p != nil {
			parsed, err = nil, &ParseError{What: what, Err: fmt.Errorf("the parser broke down: %v", p)}
		}
	}()
	parsed, err = with(der)
	if err != nil {
		return nil, &ParseError{What: what, Err: err}
	}
	return parsed, nil
}

// run asks every rule. One that panics ends it: half a linting is none.
func run(rules []*rule, ask func(*rule) outcome) (findings []Finding, err error) {
	current := ""
	defer func() {
		if p := recover(); p != nil {
			findings, err = nil, &PanicError{Lint: current, Reason: fmt.Sprint(p)}
		}
	}()
	for _, r := range rules {
		current = r.name
		o := ask(r)
		if o.severity == passed {
			continue
		}
		// zlint itself catches a panic of its certificate lints and reports
		// it as a fatal result whose details begin like this.
		if reason, found := strings.CutPrefix(o.detail, "'"+r.name+"' panicked. Error: "); found && o.severity == Fatal {
			return nil, &PanicError{Lint: r.name, Reason: reason}
		}
		findings = append(findings, Finding{Lint: r.name, Severity: o.severity, Source: r.source, Detail: r.detail(o)})
	}
	return findings, nil
}
