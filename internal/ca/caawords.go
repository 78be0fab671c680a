package ca

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"chancery/caa"
)

const (
	// caaDetail bounds what one name's refusal says, caaLine what the event says of
	// one name, and caaAccount what it says of all, in octets.
	caaDetail  = 1200
	caaLine    = 300
	caaAccount = 6000
)

// refusal gives what the findings forbid, nil if nothing. Each name has its own
// part: which record it is, and what to change.
func (p *CAAPolicy) refusal(findings []caaFinding) *Error {
	e := Errorf(CAA, "")
	unknown := 0
	for _, f := range findings {
		kind := CAA
		switch {
		case f.err != nil:
			unknown++
			kind, e.Err = CAAUnknown, errors.Join(e.Err, f.err)
		case f.decision.Allowed:
			continue
		}
		e.Sub = append(e.Sub, SubError{kind, f.name, clipTo(p.reason(&f), caaDetail)})
	}
	switch who := strings.Join(p.Identities, ", "); {
	case len(e.Sub) == 0:
		return nil
	case len(findings) == 1:
		e.Detail = e.Sub[0].Detail
	case unknown == len(e.Sub):
		e.Detail = fmt.Sprintf("the CAA records of %d of the %d names could not be looked up, and without them nothing may be issued; try again later", unknown, len(findings))
	default:
		e.Detail = fmt.Sprintf("the CAA records of %d of the %d names do not let this CA issue; in such records it is called %s. The first: %s", len(e.Sub), len(findings), who, e.Sub[0].Detail)
	}
	if unknown == len(e.Sub) { // records that are there do not change by waiting
		e.Kind, e.RetryAfter = CAAUnknown, caaRetry
	}
	return e
}

// reason says why a name is refused and what to do.
func (p *CAAPolicy) reason(f *caaFinding) string {
	if f.err != nil {
		if lookup := (*caa.LookupError)(nil); !errors.As(f.err, &lookup) {
			return fmt.Sprintf("the CAA records of %s cannot be looked up: %v", f.name.Value(), f.err)
		}
		return f.err.Error() + "; then try again"
	}
	return f.decision.Reason + ". " + p.advice(f)
}

// advice says what the domain's owner or the asker can change.
func (p *CAAPolicy) advice(f *caaFinding) string {
	record := fmt.Sprintf("%s. CAA 0 %s %q", f.set.Owner, f.tag(), p.Identities[0])
	switch f.decision.Rule {
	case caa.RuleCritical:
		return "Its owner can remove that record, or clear its critical flag (128)"
	case caa.RuleAccount:
		if len(f.request.Accounts) == 0 {
			return "No account asked; add a record without accounturi: " + record
		}
		return "Ask with that account, or let the record say accounturi=" + f.request.Accounts[0]
	case caa.RuleMethod:
		if len(f.request.Methods) == 0 {
			return "Nothing that such a record can list is true of this request; add a record without validationmethods: " + record
		}
		return "What is true of this request is " + strings.Join(f.request.Methods, ", ") + ": prove the name by one of the methods listed, ask for that kind of certificate, or change the record"
	}
	return "To let this CA issue, add the record: " + record
}

// tag gives the property that concerns the name (RFC 8659 §4.3, RFC 9495).
func (f *caaFinding) tag() string {
	switch f.request.Subject.Form {
	case caa.Mailbox:
		return caa.IssueMail
	case caa.Wildcard:
		if slices.ContainsFunc(f.set.Records, func(r caa.Record) bool { return strings.EqualFold(r.Tag, caa.IssueWild) }) {
			return caa.IssueWild
		}
	}
	return caa.Issue
}

// account tells the auditor what was found and what it meant: first what would
// have been refused, then the others, bounded in all.
func (p *CAAPolicy) account(findings []caaFinding) string {
	var refused, allowed []string
	for _, f := range findings {
		line := clipTo(f.account(), caaLine)
		if f.err != nil || !f.decision.Allowed {
			refused = append(refused, line)
		} else {
			allowed = append(allowed, line)
		}
	}
	mode := "mode " + string(p.Mode)
	if !p.Parameters {
		mode += ", parameters ignored"
	}
	size := len(mode)
	kept := []string{mode}
	all := append(refused, allowed...)
	for n, line := range all {
		if size += len(line) + 1; size > caaAccount {
			kept = append(kept, fmt.Sprintf("and %d more", len(all)-n))
			break
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "\n")
}

// account is one line: the name, the decision, where the records stand, whether
// DNSSEC vouches for them, and the records.
func (f *caaFinding) account() string {
	if f.err != nil {
		return fmt.Sprintf("%s: unknown: %v", f.name.Value(), f.err)
	}
	word, vouched := "refused", "not authenticated"
	if f.decision.Allowed {
		word = "allowed"
	}
	if f.set.Authentic {
		vouched = "authenticated"
	}
	where := "no records"
	if f.set.Owner != "" {
		var records []string
		for _, r := range f.set.Records {
			records = append(records, r.String())
		}
		where = "at " + f.set.Owner + ": " + strings.Join(records, ", ")
	}
	return fmt.Sprintf("%s: %s (%s), %s, %s", f.name.Value(), word, f.decision.Rule, vouched, where)
}

// clipTo keeps a text that strangers had a hand in within so many octets.
func clipTo(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
