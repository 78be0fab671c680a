package settings

import (
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"chancery/caa"
	"chancery/internal/enroll/install"
)

// judge collects problems.
type judge struct{ found Problems }

func (j *judge) add(key, format string, args ...any) {
	j.found = append(j.found, Problem{Key: key, Text: fmt.Sprintf(format, args...)})
}

// oneOf wants a known word; "" is one only if it is listed.
func (j *judge) oneOf(key, value string, words ...string) {
	if !slices.Contains(words, value) {
		words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "" })
		j.add(key, "must be %s, not %q", strings.Join(words, " or "), value)
	}
}

func (j *judge) keyType(key, value string) {
	if err := install.CheckKeyType(value); err != nil {
		j.add(key, "%v", err)
	}
}

func (j *judge) contacts(key string, list []string) {
	for _, one := range list {
		if address, err := mail.ParseAddress(one); err != nil || address.Address != one {
			j.add(key, "%q is no mail address: write it as \"hostmaster@corp.example\", without mailto:", one)
		}
	}
}

func (j *judge) from1(key string, value int) {
	if value < 1 {
		j.add(key, "must be 1 or more")
	}
}

func (j *judge) listen(key, value string) {
	if value == "" {
		return
	}
	host, port, err := net.SplitHostPort(value)
	n, err2 := strconv.ParseUint(port, 10, 16)
	if err != nil || err2 != nil || n == 0 {
		j.add(key, "%q is no address to listen on: write \":80\" or \"192.0.2.1:80\"", value)
	} else if host != "" && host != "localhost" {
		if _, err := netip.ParseAddr(host); err != nil {
			j.add(key, "%q: the host must be an IP address of this machine, or nothing for all of them", value)
		}
	}
}

func (j *judge) url(key, value string, schemes ...string) {
	u, err := url.Parse(value)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Hostname() == "" || u.User != nil {
		j.add(key, "must be a URL that begins with %s://", strings.Join(schemes, ":// or "))
	}
}

func (m *Mail) validate(j *judge) {
	j.oneOf("notify.mail.security", m.Security, "starttls", "tls", "none")
	if m.Server != "" {
		if _, _, err := net.SplitHostPort(m.Server); err != nil {
			j.add("notify.mail.server", "%q: write HOST:PORT, as \"mail.corp.example:587\"", m.Server)
		}
		if m.From == "" || len(m.To) == 0 {
			j.add("notify.mail", "needs \"from\" and \"to\"")
		}
		if _, err := mail.ParseAddress(m.From); err != nil && m.From != "" {
			j.add("notify.mail.from", "%q is no mail address: write it as \"chancery@corp.example\"", m.From)
		}
		j.contacts("notify.mail.to", m.To)
	}
	if (m.User == "") != (m.Password == "") {
		j.add("notify.mail.user", "user and password go together")
	}
	if m.Security == "none" && m.User != "" {
		j.add("notify.mail.security", "a password is not sent to a mail server without TLS: use starttls or tls")
	}
}

// webhook takes plain http to this machine only: the messages name what is protected
// where, and a token goes along.
func (j *judge) webhook(key, value string) {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" {
		j.url(key, value, "https")
		return
	}
	if host, _ := netip.ParseAddr(u.Hostname()); !host.IsLoopback() && u.Hostname() != "localhost" {
		j.add(key, "must begin with https://: plain http reaches this machine only")
		return
	}
	j.url(key, value, "http")
}

// syslog takes the ways of RFC 5426, 6587 and 5425, and a socket of this machine.
func (j *judge) syslog(key, value string) {
	u, err := url.Parse(value)
	switch {
	case err != nil:
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		return
	case slices.Contains([]string{"udp", "tcp", "tls"}, u.Scheme) && u.Hostname() != "" && u.Path == "" && u.User == nil:
		return
	}
	j.add(key, "%q: write udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH", value)
}

func (j *judge) server(key, value string) {
	rest := value
	switch scheme, after, found := strings.Cut(value, "://"); {
	case found && scheme == "https":
		j.url(key, value, "https")
		return
	case found && scheme == "tls":
		rest, _, _ = strings.Cut(after, "#")
	case found:
		j.add(key, "%q: a server is \"IP[:PORT]\", \"tls://IP[:PORT]#NAME\" or \"https://HOST/dns-query\"", value)
		return
	}
	if _, err := netip.ParseAddr(strings.Trim(rest, "[]")); err == nil {
		return
	}
	if _, err := netip.ParseAddrPort(rest); err != nil {
		j.add(key, "%q: a server is named by its address, as \"10.0.0.53\" or \"10.0.0.53:53\"", value)
	}
}

var labelPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$`)

// labels wants a label for each and none twice.
func (j *judge) labels(table string, labels []string) map[string]bool {
	seen := map[string]bool{}
	for i, label := range labels {
		key := table + nth(i) + ".label"
		switch {
		case label == "":
			j.add(key, "give each [[%s]] a label", table)
		case !labelPattern.MatchString(label):
			j.add(key, "%q: a label is up to 64 letters, digits, - and _", label)
		case seen[label]:
			j.add(key, "another [[%s]] is called %q already", table, label)
		}
		seen[label] = true
	}
	return seen
}

// validate gives everything that is wrong.
func (s *Settings) validate() Problems {
	j := &judge{}
	j.flaws("", reflect.ValueOf(s).Elem())
	if s.Data == "" {
		j.add("data", "must name a directory")
	}
	j.contacts("contacts", s.Contacts)
	j.keyType("account_key", s.AccountKey)
	for key, servers := range map[string][]string{"dns.resolvers": s.DNS.Resolvers, "dns.trusted": s.DNS.Trusted, "dns.propagation": s.DNS.Propagation} {
		for _, server := range servers {
			j.server(key, server)
		}
	}
	j.oneOf("dns.dnssec", s.DNS.DNSSEC, "off", "prefer", "require")
	if s.DNS.DNSSEC == "require" && s.DNS.ForgiveFailures {
		j.add("dns.forgive_failures", "contradicts dnssec = \"require\": a failed lookup is never secure; take one of them away")
	}
	j.oneOf("discovery.rules", s.Discovery.Rules, "seed", "03")
	j.oneOf("discovery.caa_identities", s.Discovery.CAAIdentities, "prefer", "require", "ignore")
	j.oneOf("discovery.agree_tos", s.Discovery.AgreeTerms, "caa", "ask")
	for _, issuer := range s.Discovery.Only {
		j.issuer("discovery.only", issuer)
	}
	s.validateRhythm(j)
	s.validateNotify(j)
	s.validateCAs(j)
	s.validateChallenge(j)
	s.validateCertificates(j)
	return j.found
}

func (s *Settings) validateRhythm(j *judge) {
	if !(s.Renew.Before > 0 && s.Renew.Before < 1) {
		j.add("renew.before", "must be between 0 and 1, as 0.33 for the last third of a certificate's life")
	}
	j.from1("renew.workers", s.Renew.Workers)
	j.from1("retry.attempts", s.Retry.Attempts)
	j.from1("breaker.failures", s.Breaker.Failures)
	for key, length := range map[string]Duration{
		"retry.pause": s.Retry.Pause, "retry.longest": s.Retry.Longest, "retry.per_ca": s.Retry.PerCA,
		"retry.total": s.Retry.Total, "breaker.pause": s.Breaker.Pause,
	} {
		if length.flaw() == "" && length.Std() <= 0 {
			j.add(key, "must be longer than nothing")
		}
	}
	if s.Retry.Total.Std() < s.Retry.PerCA.Std() {
		j.add("retry.total", "is shorter than retry.per_ca: the first CA would take all of it")
	}
}

func (s *Settings) validateNotify(j *judge) {
	n := s.Notify
	j.from1("notify.after", n.After)
	n.Mail.validate(j)
	if n.Webhook.URL != "" {
		j.webhook("notify.webhook.url", n.Webhook.URL)
		if n.Webhook.URLFrom != "" {
			j.add("notify.webhook.url_from", "url is given too: take one of them away")
		}
	}
	if n.Syslog.Server != "" {
		j.syslog("notify.syslog.server", n.Syslog.Server)
	}
}

func (j *judge) issuer(key, name string) {
	if _, err := caa.ParseSubject(name); err != nil || strings.ContainsAny(name, "*@:/") {
		j.add(key, "%q is no issuer name: write it as in CAA records, as \"ca.example\"", name)
	}
}

// Check judges settings that were changed after Load, by flags for one run. The error
// is Problems.
func (s *Settings) Check() error {
	if wrong := s.validate(); len(wrong) > 0 {
		return wrong
	}
	return nil
}
