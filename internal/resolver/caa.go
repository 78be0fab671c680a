package resolver

import (
	"context"

	"github.com/miekg/dns"

	"chancery/caa"
)

// CAA gives the CAA records of exactly this name, following its aliases as RFC 8659
// §3 leaves it to the resolver; the climb is [caa.Climb]'s. It satisfies
// [caa.Resolver].
//
// A name or type that is not there is an answer without records, with its AD bit
// and the aliases that led to it. Everything else is an *Error: also an empty
// answer whose sender knew nothing about the name, and a record that cannot be
// read, for it may be the one that forbids.
func (r *Resolver) CAA(ctx context.Context, name string) (caa.Answer, error) {
	a, e := r.lookup(ctx, name, dns.TypeCAA)
	if e != nil && e.Kind != NotFound && e.Kind != NoData {
		return caa.Answer{}, e
	}
	answer := caa.Answer{Authentic: a.Authentic, Aliases: a.Aliases, Server: a.Server}
	for _, rr := range a.Records {
		record, ok := rr.(*dns.CAA)
		// RFC 8659 §4.1: a tag has at least one character. The DNS library also takes
		// records that end before it.
		if !ok || record.Tag == "" {
			return caa.Answer{}, &Error{Name: a.Name, Type: "CAA", Kind: Malformed, Server: a.Server, Reason: "a CAA record ends before its tag"}
		}
		// The library keeps tags in presentation form, values as they came.
		answer.Records = append(answer.Records, caa.Record{Flags: record.Flag, Tag: unescape(record.Tag), Value: record.Value})
	}
	return answer, nil
}
