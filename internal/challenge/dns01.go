package challenge

import (
	"context"
	"errors"
	"strings"

	"github.com/miekg/dns"

	"chancery/internal/resolver"
)

// dns01 looks for the digest among the TXT records of _acme-challenge.NAME (RFC
// 8555 §8.4). Other records may stand beside it: several orders may be under way.
func (v *Validator) dns01(ctx context.Context, j Job, t *trail) *Failure {
	name := "_acme-challenge." + j.Target.Value
	answer, err := v.conf.Resolver.Lookup(ctx, name, dns.TypeTXT)
	if err != nil {
		t.add("no TXT record at %s", name)
		kind := DNS
		var re *resolver.Error
		if errors.As(err, &re) && re.Kind == resolver.NoData {
			kind = Unauthorized // the DNS works; the proof is missing
		}
		return fail(kind, "%s; expected a TXT record %q at %s", err, j.text(), name).because(err)
	}
	texts := answer.Texts()
	found := false
	for _, text := range texts {
		// No early exit: how many records were compared is nobody's business.
		found = same([]byte(text), []byte(j.text())) || found
	}
	via := ""
	if len(answer.Aliases) > 0 {
		via = " through " + strings.Join(answer.Aliases, ", ")
	}
	t.add("%s gave %d TXT records for %s%s%s", answer.Server, len(texts), name, via, authentic(answer.Authentic))
	if found {
		t.add("one is %s", j.text())
		return nil
	}
	return fail(Unauthorized, "none of the %d TXT records at %s is the expected %q; server %s gave %s%s",
		len(texts), name, j.text(), answer.Server, quoteAll(texts), hint(texts, j.text()))
}

// quoteAll quotes the first records.
func quoteAll(texts []string) string {
	var s []string
	for i, text := range texts {
		if i == 5 {
			s = append(s, "…")
			break
		}
		s = append(s, excerpt([]byte(text)))
	}
	return strings.Join(s, ", ")
}

// hint recognises two common mistakes of DNS consoles.
func hint(texts []string, want string) string {
	for _, text := range texts {
		if text != want && strings.Trim(text, "\" \t") == want {
			return " (remove the quotes or spaces around the value)"
		}
	}
	return ""
}
