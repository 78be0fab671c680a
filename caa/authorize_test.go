package caa

import (
	"errors"
	"strings"
	"testing"
)

// records reads lines of "flags tag value".
func records(lines ...string) []Record {
	var all []Record
	for _, line := range lines {
		parts := strings.SplitN(line, " ", 3)
		r := Record{Tag: parts[1]}
		for _, c := range parts[0] {
			r.Flags = r.Flags*10 + uint8(c-'0')
		}
		if len(parts) == 3 {
			r.Value = parts[2]
		}
		all = append(all, r)
	}
	return all
}

// found makes a name with the records standing at its own domain.
func found(t *testing.T, name string, lines ...string) Name {
	t.Helper()
	s, err := ParseSubject(name)
	if err != nil {
		t.Fatal(err)
	}
	set := Set{Name: s.Domain, Authentic: true, Records: records(lines...)}
	if s.Form == Address {
		set.Name = s.Name
	}
	if len(lines) > 0 {
		set.Owner = s.Domain
	}
	return Name{s, set}
}

func TestAuthorize(t *testing.T) {
	const acct, other = "https://ca.example/acct/1", "https://ca.example/acct/2"
	for _, test := range []struct {
		title   string
		name    string
		records []string
		want    Rule
	}{
		{"no records", "a.test", nil, RuleUnrestricted},
		{"named", "a.test", []string{"0 issue ca.example"}, RuleAuthorized},
		{"second name of the CA", "a.test", []string{"0 issue ca.alias"}, RuleAuthorized},
		{"another", "a.test", []string{"0 issue ca2.example"}, RuleOther},
		{"part of the name", "a.test", []string{"0 issue example"}, RuleOther},
		{"below the name", "a.test", []string{"0 issue www.ca.example"}, RuleOther},
		{"upper-case tag", "a.test", []string{"0 ISSUE ca2.example"}, RuleOther},
		{"mixed-case tag and name", "a.test", []string{"0 IssUe Ca.ExamPle"}, RuleAuthorized},
		{"one of several", "a.test", []string{"0 issue ca2.example", "0 issue ca.example", "0 issue ca3.example"}, RuleAuthorized},
		{"nobody", "a.test", []string{"0 issue ;"}, RuleNobody},
		{"nobody, empty value", "a.test", []string{"0 issue"}, RuleNobody},
		{"nobody, but with parameters", "a.test", []string{"0 issue ; policy=ev"}, RuleNobody},
		{"nobody and somebody", "a.test", []string{"0 issue ;", "0 issue ca.example"}, RuleAuthorized},
		{"malformed", "a.test", []string{"0 issue %%%%%"}, RuleMalformed},
		{"malformed and named", "a.test", []string{"0 issue %%%%%", "0 issue ca.example"}, RuleAuthorized},
		{"malformed parameters of the named", "a.test", []string{"0 issue ca.example; a=b c=d"}, RuleMalformed},
		{"unknown parameters", "a.test", []string{"0 issue ca.example; policy=ev; x=y"}, RuleAuthorized},

		{"only iodef", "a.test", []string{"0 iodef mailto:a@b.test"}, RuleUnrestricted},
		{"only critical iodef", "a.test", []string{"128 iodef mailto:a@b.test"}, RuleUnrestricted},
		{"only unknown", "a.test", []string{"0 tbs x", "0 issuevmc ca2.example"}, RuleUnrestricted},
		{"unknown and critical", "a.test", []string{"128 tbs x"}, RuleCritical},
		{"unknown and critical beside the named", "a.test", []string{"0 issue ca.example", "128 tbs x"}, RuleCritical},
		{"critical and known", "a.test", []string{"128 issue ca.example"}, RuleAuthorized},
		{"critical and malformed, but known", "a.test", []string{"128 issue %%", "0 issue ca.example"}, RuleAuthorized},
		{"reserved flags", "a.test", []string{"127 tbs x", "1 issue ca.example"}, RuleAuthorized},
		{"all flags", "a.test", []string{"255 tbs x"}, RuleCritical},
		{"critical for a wildcard", "*.a.test", []string{"0 issuewild ca.example", "128 tbs x"}, RuleCritical},
		{"critical for a mailbox", "x@a.test", []string{"128 tbs x"}, RuleCritical},

		{"wildcard by issue", "*.a.test", []string{"0 issue ca.example"}, RuleAuthorized},
		{"wildcard forbidden by issue", "*.a.test", []string{"0 issue ca2.example"}, RuleOther},
		{"issuewild before issue", "*.a.test", []string{"0 issue ca2.example", "0 issuewild ca.example"}, RuleAuthorized},
		{"issuewild forbids though issue permits", "*.a.test", []string{"0 issuewild ;", "0 issue ca.example"}, RuleNobody},
		{"malformed issuewild forbids though issue permits", "*.a.test", []string{"0 issue ca.example", "0 issuewild %%"}, RuleMalformed},
		{"issuewild alone, wildcard", "*.a.test", []string{"0 issuewild ca2.example"}, RuleOther},
		{"issuewild alone, no wildcard", "a.test", []string{"0 issuewild ;"}, RuleUnrestricted},
		{"issuewild permits, no wildcard", "a.test", []string{"0 issuewild ca.example", "0 issue ;"}, RuleNobody},

		{"mailbox", "x@a.test", []string{"0 issuemail ca.example"}, RuleAuthorized},
		{"mailbox forbidden", "x@a.test", []string{"0 issuemail ;"}, RuleNobody},
		{"mailbox never sees issue", "x@a.test", []string{"0 issue ;", "0 issuewild ;"}, RuleUnrestricted},
		{"mailbox malformed", "x@a.test", []string{"0 issuemail %%"}, RuleMalformed},
		{"host never sees issuemail", "a.test", []string{"0 issuemail ;"}, RuleUnrestricted},
		{"wildcard never sees issuemail", "*.a.test", []string{"0 issuemail ;"}, RuleUnrestricted},
		{"addresses see nothing", "192.0.2.1", []string{"0 issue ;"}, RuleUnrestricted},

		{"the account", "a.test", []string{"0 issue ca.example; accounturi=" + acct}, RuleAuthorized},
		{"the account, tag in another case", "a.test", []string{"0 issue ca.example; AccountURI=" + other}, RuleAccount},
		{"another account", "a.test", []string{"0 issue ca.example; accounturi=" + other}, RuleAccount},
		{"another account's case", "a.test", []string{"0 issue ca.example; accounturi=" + strings.ToUpper(acct)}, RuleAccount},
		{"no URI", "a.test", []string{"0 issue ca.example; accounturi="}, RuleAccount},
		{"the account twice", "a.test", []string{"0 issue ca.example; accounturi=" + acct + "; accounturi=" + acct}, RuleAccount},
		{"one of two accounts, by two records", "a.test", []string{"0 issue ca.example; accounturi=" + other, "0 issue ca.example; accounturi=" + acct}, RuleAuthorized},
		{"the account at another CA", "a.test", []string{"0 issue ca2.example; accounturi=" + acct}, RuleOther},
		{"the account for a wildcard", "*.a.test", []string{"0 issuewild ca.example; accounturi=" + other}, RuleAccount},
		{"the account for a mailbox", "x@a.test", []string{"0 issuemail ca.example; accounturi=" + other}, RuleAccount},

		{"the method", "a.test", []string{"0 issue ca.example; validationmethods=dns-01"}, RuleAuthorized},
		{"one of the methods", "a.test", []string{"0 issue ca.example; validationmethods=http-01,dns-01"}, RuleAuthorized},
		{"the CA's own label", "a.test", []string{"0 issue ca.example; validationmethods=ca-ev"}, RuleAuthorized},
		{"another method", "a.test", []string{"0 issue ca.example; validationmethods=http-01"}, RuleMethod},
		{"the method's case", "a.test", []string{"0 issue ca.example; validationmethods=DNS-01"}, RuleMethod},
		{"part of the label", "a.test", []string{"0 issue ca.example; validationmethods=dns-0,ns-01,dns-011"}, RuleMethod},
		{"no method", "a.test", []string{"0 issue ca.example; validationmethods="}, RuleMethod},
		{"list with a gap", "a.test", []string{"0 issue ca.example; validationmethods=dns-01,,http-01"}, RuleMethod},
		{"list that ends too late", "a.test", []string{"0 issue ca.example; validationmethods=dns-01,"}, RuleMethod},
		{"list with a stranger's letter", "a.test", []string{"0 issue ca.example; validationmethods=dns-01,x_y"}, RuleMethod},
		{"two lists", "a.test", []string{"0 issue ca.example; validationmethods=dns-01; validationmethods=http-01"}, RuleMethod},
		{"method and account", "a.test", []string{"0 issue ca.example; validationmethods=dns-01; accounturi=" + acct}, RuleAuthorized},
		{"method of one record, account of another", "a.test", []string{
			"0 issue ca.example; validationmethods=http-01; accounturi=" + acct, "0 issue ca.example; validationmethods=dns-01; accounturi=" + other}, RuleAccount},
		{"discovery is no matter of authorisation", "a.test", []string{"0 issue ca.example; discovery=false; priority=x; priority=y"}, RuleAuthorized},
	} {
		n := found(t, test.name, test.records...)
		q := Request{Issuers: []string{"CA.example", "ca.alias"}, Subject: n.Subject, Accounts: []string{acct, acct + "/v1"}, Methods: []string{"dns-01", "ca-ev"}}
		d := Authorize(n.Set, q)
		if d.Rule != test.want || d.Allowed != (test.want == RuleUnrestricted || test.want == RuleAuthorized) || d.Reason == "" {
			t.Errorf("%s: got %t by %s: %s", test.title, d.Allowed, d.Rule, d.Reason)
		}
		if !d.Allowed && !strings.Contains(d.Reason, n.Set.Owner) {
			t.Errorf("%s: the refusal does not say where the record stands: %s", test.title, d.Reason)
		}
	}
}

// TestAuthorizeAccounts: without an account nothing that is bound to one is
// satisfied, not even by an empty value.
func TestAuthorizeAccounts(t *testing.T) {
	for _, value := range []string{"accounturi=", "accounturi=https://ca.example/acct/1"} {
		n := found(t, "a.test", "0 issue ca.example; "+value)
		for _, accounts := range [][]string{nil, {""}} {
			if d := Authorize(n.Set, Request{Issuers: []string{"ca.example"}, Subject: n.Subject, Accounts: accounts}); d.Allowed {
				t.Errorf("%s: allowed for %q", value, accounts)
			}
		}
		q := Request{Issuers: []string{"ca.example"}, Subject: n.Subject, NoParameters: true}
		if d := Authorize(n.Set, q); !d.Allowed {
			t.Errorf("%s: a CA without RFC 8657 refuses: %s", value, d.Reason)
		}
	}
	n := found(t, "a.test", "0 issue ;")
	if d := Authorize(n.Set, Request{Issuers: []string{""}, Subject: n.Subject}); d.Allowed {
		t.Error("a CA without a name is taken for nobody's")
	}
}

// TestUnknownIsNotUnrestricted: a set that was not found for the name, such as the
// one that comes with a lookup's error, permits nothing.
func TestUnknownIsNotUnrestricted(t *testing.T) {
	for _, name := range []string{"a.test", "*.a.test", "x@a.test", "192.0.2.1"} {
		n := found(t, name)
		for _, set := range []Set{{}, {Name: "b.test"}, {Name: "*.a.test"}, {Name: "x@a.test"}, {Name: "192.0.2.2"}} {
			if d := Authorize(set, Request{Issuers: []string{"ca.example"}, Subject: n.Subject}); d.Allowed || d.Rule != RuleUnknown {
				t.Errorf("%s by the set of %q: %+v", name, set.Name, d)
			}
			q := Question{Names: []Name{{n.Subject, set}, found(t, "c.test", "0 issue ca.example")}, Defaults: []Default{{Label: "ours"}}}
			var none *ChoiceError
			if _, err := Choose(q); !errors.As(err, &none) || none.Cause != CauseUnknown {
				t.Errorf("%s by the set of %q: %v", name, set.Name, err)
			}
		}
	}
	if d := Authorize(Set{}, Request{}); d.Allowed {
		t.Error("nothing at all is authorised")
	}
}

// TestRFC8659Examples are those of §4.2, §4.3 and §4.5.
func TestRFC8659Examples(t *testing.T) {
	for _, test := range []struct {
		name    string
		records []string
		allowed string // of these three
	}{
		{"certs.example.com", []string{"0 issue ca1.example.net", "0 issue ca2.example.org"}, "ca1.example.net ca2.example.org"},
		{"nocerts.example.com", []string{"0 issue ;"}, ""},
		{"malformed.example.com", []string{"0 issue %%%%%"}, ""},
		{"account.example.com", []string{"0 issue ca1.example.net; account=230123"}, "ca1.example.net"},
		{"wild.example.com", []string{"0 issue ca1.example.net", "0 issuewild ca2.example.org"}, "ca1.example.net"},
		{"*.wild.example.com", []string{"0 issue ca1.example.net", "0 issuewild ca2.example.org"}, "ca2.example.org"},
		{"*.wild2.example.com", []string{"0 issue ca1.example.net"}, "ca1.example.net"},
		{"wild3.example.com", []string{"0 issuewild ca2.example.org", "0 issue ;"}, ""},
		{"*.wild3.example.com", []string{"0 issuewild ca2.example.org", "0 issue ;"}, "ca2.example.org"},
		{"wild3.example.com", []string{"0 issuewild ca2.example.org"}, "ca1.example.net ca2.example.org ca3.example"},
		{"report.example.com", []string{"0 issue ca1.example.net", "0 iodef mailto:security@example.com"}, "ca1.example.net"},
		{"new.example.com", []string{"0 issue ca1.example.net", "128 tbs Unknown"}, ""},
	} {
		n := found(t, test.name, test.records...)
		var allowed []string
		for _, ca := range []string{"ca1.example.net", "ca2.example.org", "ca3.example"} {
			if Authorize(n.Set, Request{Issuers: []string{ca}, Subject: n.Subject}).Allowed {
				allowed = append(allowed, ca)
			}
		}
		if got := strings.Join(allowed, " "); got != test.allowed {
			t.Errorf("%s %v: allowed %q, want %q", test.name, test.records, got, test.allowed)
		}
	}
}

// TestRFC8657Examples are those of appendix A.
func TestRFC8657Examples(t *testing.T) {
	const a, b = "https://example.net/account/1234", "https://example.net/account/2345"
	two := []string{"0 issue example.net; accounturi=" + a + "; validationmethods=dns-01", "0 issue example.net; accounturi=" + b + "; validationmethods=http-01"}
	for _, test := range []struct {
		records         []string
		account, method string
		want            bool
	}{
		{[]string{"0 issue example.net; accounturi=" + a, "0 issue example.net; accounturi=" + b}, b, "http-01", true},
		{[]string{"0 issue example.net; accounturi=" + a, "0 issue example.net; accounturi=" + b}, "https://example.net/account/3", "http-01", false},
		{[]string{"0 issue example.net; validationmethods=dns-01,xyz-01"}, "", "xyz-01", true},
		{[]string{"0 issue example.net; validationmethods=dns-01,xyz-01"}, "", "http-01", false},
		{[]string{"0 issue example.net; validationmethods=dns-01", "0 issue example.net; validationmethods=xyz-01"}, "", "xyz-01", true},
		{two, a, "dns-01", true}, {two, a, "http-01", false}, {two, b, "http-01", true}, {two, b, "dns-01", false},
		{[]string{"0 issue example.net; validationmethods=dns-01,ca-foo"}, "", "ca-foo", true},
	} {
		n := found(t, "example.com", test.records...)
		d := Authorize(n.Set, Request{Issuers: []string{"example.net"}, Subject: n.Subject, Accounts: []string{test.account}, Methods: []string{test.method}})
		if d.Allowed != test.want {
			t.Errorf("%v for %s by %s: %+v", test.records, test.account, test.method, d)
		}
	}
}
