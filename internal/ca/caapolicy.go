package ca

import (
	"slices"

	"chancery/caa"
)

// CAAMode says what becomes of a request that CAA records forbid (RFC 8659).
type CAAMode string

// The modes. "" is [CAAOff].
const (
	CAAOff     CAAMode = "off"     // nothing is looked up
	CAAReport  CAAMode = "report"  // it is issued, logged and written into the event
	CAAEnforce CAAMode = "enforce" // it is refused, and so is one whose records cannot be had
)

// CAAPolicy says how CAA records bind a line of issuers.
type CAAPolicy struct {
	Mode CAAMode
	// Identities are the issuer domain names by which records authorise this CA.
	Identities []string
	// Parameters says whether accounturi and validationmethods are honoured. That is
	// both or none: half support is forbidden (RFC 8657 §5.3), and where they are,
	// the resolver has to validate DNSSEC (§5.6).
	Parameters bool
	Resolver   caa.Resolver
}

// CAARules are the policies of all lines of issuers. The zero value is off.
type CAARules struct {
	CAAPolicy                      // of every line that Lines does not name
	Lines     map[string]CAAPolicy // by the line's name
}

// of gives the policy of a line.
func (r *CAARules) of(line string) CAAPolicy {
	if p, ok := r.Lines[line]; ok {
		return p
	}
	return r.CAAPolicy
}

// check refuses rules that could only refuse everything, or nothing.
func (r *CAARules) check() error {
	if err := r.CAAPolicy.check(); err != nil {
		return err
	}
	for _, p := range r.Lines {
		if err := p.check(); err != nil {
			return err
		}
	}
	return nil
}

func (p *CAAPolicy) check() error {
	switch p.Mode {
	case "", CAAOff:
		return nil
	case CAAReport, CAAEnforce:
	default:
		return Errorf(Invalid, "the CAA mode %q is not one of enforce, report, off", clip(string(p.Mode)))
	}
	if len(p.Identities) == 0 || slices.Contains(p.Identities, "") {
		return Errorf(Invalid, "CAA records can only be checked by a CA that has a name in them: say which domain names are its identities, or turn the check off")
	}
	if p.Resolver == nil {
		return Errorf(Invalid, "CAA records can only be checked with a resolver")
	}
	return nil
}

// off tells whether nothing is to be looked up for a line.
func (r *CAARules) off(line string) bool {
	mode := r.of(line).Mode
	return mode == "" || mode == CAAOff
}

// SetCAA replaces the rules for CAA from the next request on. An error of kind
// [Invalid] says why they cannot be used, and changes nothing.
func (a *Authority) SetCAA(r CAARules) error {
	if err := r.check(); err != nil {
		return err
	}
	a.caa.Store(&r)
	return nil
}

// CAARules gives the rules that hold now.
func (a *Authority) CAARules() CAARules { return *a.caa.Load() }

// line gives the line of issuers that signs for the profile.
func (p *Profile) line() string {
	if p.Issuer == "" {
		return DefaultLine
	}
	return p.Issuer
}
