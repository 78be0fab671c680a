package caa

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParseGood(t *testing.T) {
	type ps = []Parameter
	for _, test := range []struct {
		name, value, issuer string
		parameters          ps
	}{
		{"name alone", "ca1.example.net", "ca1.example.net", nil},
		{"upper case", "CA1.Example.NET", "ca1.example.net", nil},
		{"blanks around", " \tca.example\t ", "ca.example", nil},
		{"one label", "localhost", "localhost", nil},
		{"hyphens inside", "a--b.x-1.example", "a--b.x-1.example", nil},
		{"digits", "1.2.3.4", "1.2.3.4", nil},
		{"nobody: nothing", "", "", nil},
		{"nobody: blanks", " \t ", "", nil},
		{"nobody: semicolon", ";", "", nil},
		{"nobody: semicolon and blanks", " ; ", "", nil},
		{"nobody with a parameter", "; policy=ev", "", ps{{"policy", "ev"}}},
		{"semicolon behind the name", "ca.example;", "ca.example", nil},
		{"semicolon and blank behind the name", "ca.example ; ", "ca.example", nil},
		{"one parameter", "ca.example; account=230123", "ca.example", ps{{"account", "230123"}}},
		{"no blanks", "ca.example;a=b;c=d", "ca.example", ps{{"a", "b"}, {"c", "d"}}},
		{"tabulators", "ca.example\t;\ta\t=\tb\t;\tc=d\t", "ca.example", ps{{"a", "b"}, {"c", "d"}}},
		{"blanks around =", "ca.example; a = b", "ca.example", ps{{"a", "b"}}},
		{"repeated", "ca.example; a=1; A=2", "ca.example", ps{{"a", "1"}, {"a", "2"}}},
		{"empty value", "ca.example; a=", "ca.example", ps{{"a", ""}}},
		{"empty value, blanks", "ca.example; a= ; b= ", "ca.example", ps{{"a", ""}, {"b", ""}}},
		{"= in a value", "ca.example; a==b=c=", "ca.example", ps{{"a", "=b=c="}}},
		{"all that a value may hold", "ca.example; a=!:<~@[\"\\", "ca.example", ps{{"a", "!:<~@[\"\\"}}},
		{"address as value", "ca.example; accounturi=https://ca.example/acct/1?x=y", "ca.example", ps{{"accounturi", "https://ca.example/acct/1?x=y"}}},
		{"hyphen in a tag", "ca.example; a-b--c=d", "ca.example", ps{{"a-b--c", "d"}}},
	} {
		for _, tag := range []string{"issue", "IssueWild", "ISSUEMAIL"} {
			p, err := Parse(Record{Tag: tag, Value: test.value})
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
				continue
			}
			if p.Issuer != test.issuer || !reflect.DeepEqual(p.Parameters, test.parameters) || p.Tag != strings.ToLower(tag) {
				t.Errorf("%s: got %q %q %v", test.name, p.Tag, p.Issuer, p.Parameters)
			}
		}
	}
}

func TestParseMalformed(t *testing.T) {
	for _, test := range []struct{ name, value, meant string }{
		{"example of RFC 8659", "%%%%%", ""},
		{"missing semicolon, as published", "ca1.example; priority=1 validationmethods=ca-ev", "ca1.example; priority=1; validationmethods=ca-ev"},
		{"missing semicolon behind the name", "ca1.example priority=1", "ca1.example; priority=1"},
		{"missing semicolon, blanks around =", "ca1.example; a = 1 b = 2", "ca1.example; a=1; b=2"},
		{"semicolon behind the last parameter", "ca.example; a=b;", "ca.example; a=b"},
		{"semicolon and blank behind the last parameter", "ca.example; a=b ; ", "ca.example; a=b"},
		{"two semicolons", "ca.example;; a=b", "ca.example; a=b"},
		{"semicolons alone", ";;", ";"},
		{"two names", "ca.example ca2.example", ""},
		{"final dot", "ca.example.", "ca.example"},
		{"leading dot", ".ca.example", ""},
		{"empty label", "ca..example", ""},
		{"comma", "ca.example, a=b", "ca.example; a=b"},
		{"hyphen first", "-ca.example", ""},
		{"hyphen last", "ca-.example", ""},
		{"underscore in the name", "c_a.example", ""},
		{"letters beyond ASCII", "çà.example", ""},
		{"address of a page", "https://ca.example/acme", "ca.example"},
		{"quotes within", `"ca.example"`, "ca.example"},
		{"parameter without =", "ca.example; a", ""},
		{"parameter without name", "ca.example; =b", ""},
		{"underscore in a tag", "ca.example; a_b=c", ""},
		{"hyphen first in a tag", "ca.example; -a=c", ""},
		{"hyphen last in a tag", "ca.example; a-=c", ""},
		{"blank in a value", "ca.example; a=b c", ""},
		{"control in a value", "ca.example; a=b\x00", ""},
		{"line feed", "ca.example\n", "ca.example"},
		{"beyond ASCII in a value", "ca.example; a=é", ""},
		{"parameter instead of a name", "a=b", "; a=b"},
	} {
		p, err := Parse(Record{Tag: "issue", Value: test.value})
		var m *MalformedError
		if !errors.As(err, &m) {
			t.Errorf("%s: got %v, %v", test.name, p, err)
			continue
		}
		if m.Meant != test.meant {
			t.Errorf("%s: meant %q, want %q", test.name, m.Meant, test.meant)
		}
		if p.Tag != "issue" || p.Issuer != "" || p.Parameters != nil {
			t.Errorf("%s: a malformed record gave %+v", test.name, p)
		}
		if m.Offset < 0 || m.Offset > len(test.value) || m.Reason == "" || !strings.Contains(err.Error(), m.Reason) {
			t.Errorf("%s: unhelpful: %d %v", test.name, m.Offset, err)
		}
		if strings.ContainsAny(err.Error(), "\x00\n\x1b") {
			t.Errorf("%s: control characters reach the terminal: %q", test.name, err)
		}
	}
}

// TestParseOthers: other properties' values are not looked at, and tags fold as
// ASCII alone.
func TestParseOthers(t *testing.T) {
	for tag, known := range map[string]bool{
		"iodef": true, "IoDef": true, "issuevmc": false, "contactemail": false, "": false,
		"i\u017f\u017fue": false, "\u0130ssue": false, "issue ": false,
	} {
		p, err := Parse(Record{Tag: tag, Value: "%% no issuer %%"})
		if err != nil || p.Known() != known || p.Issuer != "" {
			t.Errorf("%q: %+v, %v", tag, p, err)
		}
	}
}

func TestRecordString(t *testing.T) {
	r := Record{Flags: 129, Tag: "is\x1bsue", Value: "a\"b\\c\x80;\t"}
	if got, want := r.String(), `129 is\027sue "a\"b\\c\128;\009"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !r.Critical() || (Record{Flags: 127}).Critical() {
		t.Error("only bit 0 is the critical flag")
	}
}

func FuzzParse(f *testing.F) {
	for _, value := range []string{
		"", ";", "ca.example", " CA.example ;", "ca.example; a=b; C = d=e", "; a=", "ca.example; a= ; b=x",
		"ca1.example; priority=1 validationmethods=ca-ev", "%%%%%", "ca.example; a=b;", "\"ca.example\"", "ca.example\x00",
	} {
		f.Add(uint8(0), "issue", value)
		f.Add(uint8(255), "ISSUEWILD", value)
	}
	f.Add(uint8(128), "tbs", "Unknown")
	f.Fuzz(func(t *testing.T, flags uint8, tag, value string) {
		p, err := Parse(Record{Flags: flags, Tag: tag, Value: value})
		if err != nil {
			var m *MalformedError
			if !errors.As(err, &m) || p.Issuer != "" || p.Parameters != nil {
				t.Fatalf("malformed, and yet %+v, %v", p, err)
			}
			if m.Meant != "" {
				if _, err := Parse(Record{Tag: tag, Value: m.Meant}); err != nil {
					t.Fatalf("the suggestion %q is malformed too: %v", m.Meant, err)
				}
			}
			return
		}
		c := p.Canonical()
		again, err := Parse(c)
		if err != nil || again.Tag != p.Tag || again.Issuer != p.Issuer || !reflect.DeepEqual(again.Parameters, p.Parameters) {
			t.Fatalf("%+v\nbecame %q\nwhich is %+v, %v", p, c.Value, again, err)
		}
		if again.Canonical() != c {
			t.Fatalf("%q is not stable: %q", c, again.Canonical())
		}
		if c.Critical() != p.Record.Critical() {
			t.Fatal("the critical flag was lost")
		}
	})
}

func FuzzParseSubject(f *testing.F) {
	for _, text := range []string{"Example.com.", "*.a.test", "x@Y.test", "192.0.2.1", "::ffff:1.2.3.4", "fe80::1%1", "MÜNCHEN.test", "\uff11.2.3.4", "*.", "@", "a..b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSubject(text)
		if err != nil {
			var bad *NameError
			if !errors.As(err, &bad) || s != (Subject{}) {
				t.Fatalf("got %+v, %v", s, err)
			}
			return
		}
		if again, err := ParseSubject(s.Name); err != nil || again != s {
			t.Fatalf("%+v is not canonical: %+v, %v", s, again, err)
		}
		if (s.Form == Address) != (s.Domain == "") || strings.HasPrefix(s.Domain, "*") || s.Domain != lower(s.Domain) {
			t.Fatalf("got %+v", s)
		}
	})
}

func TestParseSubject(t *testing.T) {
	for text, want := range map[string]Subject{
		"Example.COM":           {Host, "example.com", "example.com"},
		"example.com.":          {Host, "example.com", "example.com"},
		"*.a.example":           {Wildcard, "*.a.example", "a.example"},
		"münchen.example":       {Host, "xn--mnchen-3ya.example", "xn--mnchen-3ya.example"},
		"*.MÜNCHEN.example":     {Wildcard, "*.xn--mnchen-3ya.example", "xn--mnchen-3ya.example"},
		"_sip.example":          {Host, "_sip.example", "_sip.example"},
		"Alice@Example.com":     {Mailbox, "Alice@example.com", "example.com"},
		`"a@b"@example.com`:     {Mailbox, `"a@b"@example.com`, "example.com"},
		"192.0.2.1":             {Address, "192.0.2.1", ""},
		"2001:DB8::1":           {Address, "2001:db8::1", ""},
		"::ffff:192.0.2.1":      {Address, "192.0.2.1", ""},
		"com":                   {Host, "com", "com"},
		strings.Repeat("a", 63): {Host, strings.Repeat("a", 63), strings.Repeat("a", 63)},
	} {
		got, err := ParseSubject(text)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", ".", "a..b", ".a", "*", "*.", "*.*.a", "a.*.b", "a b", "@example.com", "a@", "a@[192.0.2.1]", "fe80::1%eth0",
		strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a", "a/b", "xn--a\u00e4.example", "a\x00b", "\u2024.example",
		"192.0.2.1.", "*.192.0.2.1", "x@192.0.2.1", "\uff11.2.3.4", "a.1", "[::1]", "::1.",
	} {
		got, err := ParseSubject(text)
		var bad *NameError
		if !errors.As(err, &bad) {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
}
