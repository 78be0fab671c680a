package interop_test

import (
	"strings"
	"testing"

	"chancery/caa"
)

// caaCase is a name and what follows from the records of caaCases for
// ours.example, which would issue after dns-01. Names are below the zone; "" as the
// owner means that the climb found nothing.
type caaCase struct {
	name, owner string
	rule        caa.Rule
	aliases     string // of the last question, when it matters
}

var caaExpected = []caaCase{
	{name: "empty", owner: "empty", rule: caa.RuleNobody},
	{name: "blank", owner: "blank", rule: caa.RuleNobody},
	{name: "deny", owner: "deny", rule: caa.RuleOther},
	{name: "DENY", owner: "deny", rule: caa.RuleOther},
	{name: "upper", owner: "upper", rule: caa.RuleOther},
	{name: "mixed", owner: "mixed", rule: caa.RuleOther},
	{name: "permit", owner: "permit", rule: caa.RuleAuthorized},
	{name: "upper-permit", owner: "upper-permit", rule: caa.RuleAuthorized},
	{name: "mixed-permit", owner: "mixed-permit", rule: caa.RuleAuthorized},
	{name: "params", owner: "params", rule: caa.RuleAuthorized},
	{name: "methods", owner: "methods", rule: caa.RuleMethod},
	{name: "account", owner: "account", rule: caa.RuleAccount},
	{name: "several", owner: "several", rule: caa.RuleAuthorized},
	{name: "big", owner: "big", rule: caa.RuleOther},
	{name: "sub.big", owner: "big", rule: caa.RuleOther},
	{name: "bigpermit", owner: "bigpermit", rule: caa.RuleAuthorized},
	{name: "critical", owner: "critical", rule: caa.RuleCritical},
	{name: "*.critical", owner: "critical", rule: caa.RuleCritical},
	{name: "sub.critical", owner: "critical", rule: caa.RuleCritical},
	{name: "criticalbits", owner: "criticalbits", rule: caa.RuleCritical},
	{name: "bit1", owner: "bit1", rule: caa.RuleAuthorized}, // not critical: RFC 8659 §4.1
	{name: "unknown", owner: "unknown", rule: caa.RuleUnrestricted},
	{name: "criticalissue", owner: "criticalissue", rule: caa.RuleAuthorized},
	{name: "iodef", owner: "iodef", rule: caa.RuleUnrestricted},
	{name: "criticaliodef", owner: "criticaliodef", rule: caa.RuleUnrestricted},
	{name: "wildonly", owner: "wildonly", rule: caa.RuleUnrestricted},
	{name: "*.wildonly", owner: "wildonly", rule: caa.RuleOther},
	{name: "wildpermit", owner: "wildpermit", rule: caa.RuleOther},
	{name: "*.wildpermit", owner: "wildpermit", rule: caa.RuleAuthorized},
	{name: "wilddeny", owner: "wilddeny", rule: caa.RuleAuthorized},
	{name: "*.wilddeny", owner: "wilddeny", rule: caa.RuleNobody},
	{name: "*.deny", owner: "deny", rule: caa.RuleOther},
	{name: "*.permit", owner: "permit", rule: caa.RuleAuthorized},
	{name: "*.sub.permit", owner: "permit", rule: caa.RuleAuthorized},
	{name: "script", owner: "script", rule: caa.RuleMalformed},
	{name: "spaced", owner: "spaced", rule: caa.RuleMalformed},
	{name: "octets", owner: "octets", rule: caa.RuleMalformed},
	{name: "semicolon", owner: "semicolon", rule: caa.RuleAuthorized},
	{name: "münchen", owner: "xn--mnchen-3ya", rule: caa.RuleAuthorized},
	{name: "someone@deny", owner: "deny", rule: caa.RuleUnrestricted}, // only issuemail concerns mail
	// Climbing, past names that are there without CAA, that are only on the way, and
	// that are not there at all.
	{name: "sub.deny", owner: "deny", rule: caa.RuleOther},
	{name: "a.b.deny", owner: "deny", rule: caa.RuleOther},
	{name: "b.deny", owner: "deny", rule: caa.RuleOther},
	{name: "not.there.deny", owner: "deny", rule: caa.RuleOther},
	{name: "permit.deny", owner: "permit.deny", rule: caa.RuleAuthorized},
	{name: "deny.permit", owner: "deny.permit", rule: caa.RuleOther},
	{name: "sub.deny.permit", owner: "deny.permit", rule: caa.RuleOther},
	{name: "bare", rule: caa.RuleUnrestricted},
	{name: "nothing.at.all", rule: caa.RuleUnrestricted},
	// Aliases are followed at each name; what is above their targets is not.
	{name: "alias-deny", owner: "alias-deny", rule: caa.RuleOther, aliases: "deny"},
	{name: "alias-alias-deny", owner: "alias-alias-deny", rule: caa.RuleOther, aliases: "alias-deny deny"},
	{name: "alias-permit", owner: "alias-permit", rule: caa.RuleAuthorized, aliases: "permit"},
	{name: "sub.alias-deny", owner: "alias-deny", rule: caa.RuleOther, aliases: "deny"},
	{name: "no.alias-permit", owner: "alias-permit", rule: caa.RuleAuthorized, aliases: "permit"},
	{name: "*.alias-deny", owner: "alias-deny", rule: caa.RuleOther, aliases: "deny"},
	{name: "alias-up", rule: caa.RuleUnrestricted},
	{name: "alias.permit", owner: "permit", rule: caa.RuleAuthorized},
	{name: "nowhere.permit", owner: "permit", rule: caa.RuleAuthorized},
	{name: "alias.deny", owner: "alias.deny", rule: caa.RuleAuthorized, aliases: "permit"},
	{name: "long0", owner: "long0", rule: caa.RuleAuthorized, aliases: "long1 long2 long3 permit"},
	{name: "deny.tree", owner: "deny.tree", rule: caa.RuleOther, aliases: "deny.holder"},
	{name: "permit.tree", owner: "permit.tree", rule: caa.RuleAuthorized, aliases: "permit.holder"},
	{name: "sub.permit.tree", owner: "permit.tree", rule: caa.RuleAuthorized, aliases: "permit.holder"},
	{name: "nothing.tree", rule: caa.RuleUnrestricted},
	{name: "tree", rule: caa.RuleUnrestricted},
	{name: "permit.below.deny", owner: "permit.below.deny", rule: caa.RuleAuthorized, aliases: "permit.holder"},
	{name: "nothing.below.deny", owner: "deny", rule: caa.RuleOther},
	{name: "dloop", rule: caa.RuleUnrestricted}, // a DNAME record says nothing of its own name
	{name: "away", owner: "away", rule: caa.RuleOther},
	{name: "toward", owner: "toward", rule: caa.RuleOther},
	// The zone's own asterisk answers for names, not for the asterisk.
	{name: "x.star", owner: "x.star", rule: caa.RuleOther},
	{name: "x.y.star", owner: "x.y.star", rule: caa.RuleOther},
	{name: "*.star", rule: caa.RuleUnrestricted},
}

// caaLoops never come to an end.
var caaLoops = []string{"loop", "pool", "sub.loop", "*.loop", "x.dloop", "sub.x.dloop"}

func caaSubject(t *testing.T, text string) caa.Subject {
	t.Helper()
	s, err := caa.ParseSubject(text)
	must(t, err)
	return s
}

// judgeZone has the climb and the decision made for all cases of a zone.
// validates says that the resolver looks at signatures.
func judgeZone(t *testing.T, r caa.Resolver, zone string, validates bool) {
	t.Helper()
	for _, c := range caaExpected {
		s := caaSubject(t, c.name+"."+zone)
		set, err := caa.Find(t.Context(), r, s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if want := strings.TrimPrefix(c.owner+"."+zone, "."+zone); set.Owner != want {
			t.Errorf("%s: found at %q, want %q", s, set.Owner, want)
		}
		d := caa.Authorize(set, caa.Request{Issuers: []string{"ours.example"}, Subject: s, Methods: []string{"dns-01"}})
		if d.Rule != c.rule || d.Allowed != (c.rule == caa.RuleAuthorized || c.rule == caa.RuleUnrestricted) {
			t.Errorf("%s: %s, allowed %v, want %s: %s", s, d.Rule, d.Allowed, c.rule, d.Reason)
		}
		if strings.Contains(c.name, "big") && len(set.Records) < 1001 {
			t.Errorf("%s: %d records", s, len(set.Records))
		}
		judgeSteps(t, c, zone, set, validates)
	}
	for _, name := range caaLoops {
		if set, err := caa.Find(t.Context(), r, caaSubject(t, name+"."+zone)); err == nil {
			t.Errorf("%s.%s: %+v", name, zone, set)
		}
	}
}

// judgeSteps looks at each question of a climb: whether it was validated, the empty
// ones too, and which aliases were followed.
func judgeSteps(t *testing.T, c caaCase, zone string, set caa.Set, validates bool) {
	t.Helper()
	all := true
	for i, step := range set.Steps {
		// The top-level domain is signed; of aliases that cross a border, one side is not.
		want := validates && (step.Name == "test" || zone != "plain.test" && c.name != "away")
		all = all && want
		if step.Authentic != want || step.Server == "" {
			t.Errorf("%s.%s: step %d, %s: authentic %v, want %v, server %q", c.name, zone, i, step.Name, step.Authentic, want, step.Server)
		}
	}
	if set.Authentic != all {
		t.Errorf("%s.%s: authentic %v", c.name, zone, set.Authentic)
	}
	if c.aliases == "" {
		return
	}
	var want []string
	for a := range strings.FieldsSeq(c.aliases) {
		want = append(want, a+"."+zone)
	}
	if got := set.Steps[len(set.Steps)-1].Aliases; strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s.%s: went through %v, want %v", c.name, zone, got, want)
	}
}
