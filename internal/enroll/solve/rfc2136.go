package solve

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// RFC2136 publishes by DNS updates, signed with a key if there is one.
type RFC2136 struct {
	// Server is host:port or host of the zone's primary; "" means the one that the zone's
	// SOA record names.
	Server string
	// Key signs the updates (RFC 8945), and the answers must be signed by it; nil: no
	// signatures, and the server goes by addresses.
	Key *TSIG
	// Timeout is for one update; 0 means 10 s.
	Timeout time.Duration
}

// Publish adds the record to whatever stands at the name (RFC 2136 §2.5.1).
func (u *RFC2136) Publish(ctx context.Context, a Answer) error {
	return u.update(ctx, a, func(m *dns.Msg, rr dns.RR) { m.Insert([]dns.RR{rr}) })
}

// Withdraw deletes this one record (RFC 2136 §2.5.4).
func (u *RFC2136) Withdraw(ctx context.Context, a Answer) error {
	return u.update(ctx, a, func(m *dns.Msg, rr dns.RR) { m.Remove([]dns.RR{rr}) })
}

func (u *RFC2136) server(a Answer) (string, error) {
	server := u.Server
	if server == "" {
		if server = strings.TrimSuffix(a.Primary, "."); server == "" {
			return "", fmt.Errorf("the zone %s names no primary server: name the server to update in the configuration", a.Zone)
		}
	}
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(strings.Trim(server, "[]"), "53")
	}
	return server, nil
}

// update goes over TCP: nobody can answer in the server's name who does not sit on the way.
func (u *RFC2136) update(ctx context.Context, a Answer, change func(*dns.Msg, dns.RR)) error {
	server, err := u.server(a)
	if err != nil {
		return err
	}
	if a.Zone == "" {
		return errors.New("an update needs to know the zone")
	}
	m := new(dns.Msg).SetUpdate(a.Zone)
	change(m, &dns.TXT{Hdr: dns.RR_Header{Name: a.Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: uint32(a.TTL / time.Second)}, Txt: []string{a.Value}})
	timeout := u.Timeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	client := dns.Client{Net: "tcp", Timeout: timeout}
	if u.Key != nil {
		client.TsigSecret = map[string]string{u.Key.Name: base64.StdEncoding.EncodeToString([]byte(u.Key.Secret.Reveal()))}
		m.SetTsig(u.Key.Name, u.Key.Algorithm, 300, time.Now().Unix())
	}
	reply, _, err := client.ExchangeContext(ctx, m, server)
	return u.judge(reply, err, &UpdateError{Server: server, Zone: a.Zone})
}

// judge says what an answer means.
func (u *RFC2136) judge(reply *dns.Msg, err error, refusal *UpdateError) error {
	if reply == nil {
		return fmt.Errorf("updating zone %s at %s: %w", refusal.Zone, refusal.Server, tidyNet(err))
	}
	signature := reply.IsTsig()
	switch {
	case signature != nil && signature.Error != dns.RcodeSuccess:
		refusal.Code = dns.RcodeToString[int(signature.Error)]
		if signature.Error == dns.RcodeBadSig { // 16 is BADVERS elsewhere
			refusal.Code = "BADSIG"
		}
	case reply.Rcode != dns.RcodeSuccess:
		refusal.Code = dns.RcodeToString[reply.Rcode]
	case err != nil:
		// RFC 8945 §5.3: what is not well signed is not from the server.
		return fmt.Errorf("updating zone %s at %s: the answer is not to be trusted: %w", refusal.Zone, refusal.Server, err)
	case u.Key != nil && signature == nil:
		return fmt.Errorf("updating zone %s at %s: the answer is not to be trusted: it is not signed", refusal.Zone, refusal.Server)
	default:
		return nil
	}
	refusal.Hint = hints[refusal.Code]
	if refusal.Hint == "" {
		refusal.Hint = "see the server's log"
	}
	return refusal
}

var hints = map[string]string{
	"BADSIG":   "the secret of the TSIG key is another there",
	"BADKEY":   "the server has no TSIG key of this name and algorithm",
	"BADTIME":  "the clocks differ by more than 5 minutes",
	"REFUSED":  "this key, or this address, may not update such a record there (BIND: update-policy or allow-update)",
	"NOTAUTH":  "the server is not the zone's primary, or does not know the key",
	"NOTZONE":  "the name is not in that zone",
	"NOTIMP":   "the server takes no updates",
	"SERVFAIL": "the server could not write the zone; see its log",
}
