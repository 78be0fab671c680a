package config

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

const day = 24 * time.Hour

func (v *checker) hierarchy() {
	h := v.c.Hierarchy
	keys := []string{"ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "rsa-2048", "rsa-3072", "rsa-4096"}
	v.oneOf("hierarchy.root_key", h.RootKey, keys...)
	v.oneOf("hierarchy.issuer_key", h.IssuerKey, keys...)
	v.lasts("hierarchy.root_life", h.RootLife, durations{time.Hour, longest})
	v.lasts("hierarchy.issuer_life", h.IssuerLife, durations{time.Hour, longest})
	if h.IssuerLife > h.RootLife {
		v.report("hierarchy.issuer_life", "%s is longer than root_life, %s: nothing outlives its root", h.IssuerLife, h.RootLife)
	}
	// RFC 5280 appendix A.1: ub-organization-name is 64.
	if n := len([]rune(h.Organization)); n == 0 || n > 64 || strings.TrimSpace(h.Organization) != h.Organization ||
		strings.ContainsFunc(h.Organization, unicode.IsControl) {
		v.report("hierarchy.organization", "must be a name of 1 to 64 characters without space at its ends")
	}
	for _, domain := range h.Domains {
		if !isDomain(domain) {
			v.report("hierarchy.domains", "%q is no domain: write it in lower case without \"*.\" or dot at its ends, as \"corp.example\"", domain)
		}
	}
	v.unique("hierarchy.domains", h.Domains)
	v.ownName()
	v.between("hierarchy.crl_shards", h.CRLShards, numbers{1, 1024})
}

// ownName wants the server's own name to be one that the authority may certify.
func (v *checker) ownName() {
	h := v.c.Hierarchy
	u, err := url.Parse(v.c.URL.Base)
	if err != nil || u.Hostname() == "" || len(h.Domains) == 0 {
		return
	}
	host := u.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip = ip.Unmap(); !ip.IsPrivate() && !ip.IsLoopback() && !netip.MustParsePrefix("100.64.0.0/10").Contains(ip) {
			v.report("hierarchy.domains", "with domains only private addresses can be certified, and url.base is %s: this server could not certify itself; give url.base a name below one of the domains", v.c.URL.Base)
		}
		return
	}
	// The authority always may certify localhost and what is below it.
	for _, domain := range append(slices.Clone(h.Domains), "localhost") {
		if host == domain || strings.HasSuffix(host, "."+domain) {
			return
		}
	}
	v.report("hierarchy.domains", "%s of url.base is not below any of them, so this server could not certify itself: add its domain, or name the server below one of them", host)
}

// CheckDomains tells whether the authority that section hierarchy describes may
// certify this server under url.base. Load has done so unless url.base followed
// from a port that the system chose; ask again before making an authority, as
// it cannot be changed. The error is Problems.
func (c *Config) CheckDomains() error {
	v := &checker{c: c}
	if v.ownName(); len(v.problems) > 0 {
		return v.problems
	}
	return nil
}

// profileName is what may stand in a URL, a file name and a JSON object alike.
var profileName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func (v *checker) acme() {
	a := v.c.ACME
	v.page("acme.terms", a.Terms)
	v.page("acme.website", a.Website)
	v.identities("acme.caa_identities", a.CAAIdentities)
	if len(a.Profiles) == 0 {
		v.report("acme.profiles", "must name at least one profile, as [\"tls-server\"]")
	}
	v.profileNames("acme.profiles", a.Profiles)
	v.oneOf("acme.well_known", a.WellKnown, "directory", "redirect")
	v.lasts("acme.order_life", a.OrderLife, durations{time.Minute, 90 * day})
	v.lasts("acme.authorization_life", a.AuthorizationLife, durations{time.Minute, 398 * day})
	v.between("acme.max_names", a.MaxNames, numbers{1, 1000})
	v.between("limits.pending_authorizations", v.c.Limits.PendingAuthorizations, numbers{0, 1_000_000})
	v.between("acme.http01_port", a.HTTP01Port, numbers{1, 65535})
	v.between("acme.tlsalpn01_port", a.TLSALPN01Port, numbers{1, 65535})
	if len(a.Challenges) == 0 {
		v.report("acme.challenges", "must name at least one of http-01, dns-01, tls-alpn-01")
	}
	for _, name := range a.Challenges {
		v.oneOf("acme.challenges", name, "http-01", "dns-01", "tls-alpn-01")
	}
	v.unique("acme.challenges", a.Challenges)
}

// page wants the address of a web page, or nothing.
func (v *checker) page(key, text string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil {
		v.report(key, "%q is no address of a web page: write https://HOST/PATH", text)
	}
}

func (v *checker) validation() {
	c := v.c.Validation
	v.resolvers("validation.resolvers", c.Resolvers)
	for key, list := range map[string][]netip.Prefix{"validation.allow": c.Allow, "validation.deny": c.Deny} {
		for _, network := range list {
			if network.Masked() != network {
				v.report(key, "%s has bits behind its prefix: write %s", network, network.Masked())
			}
		}
	}
	v.lasts("validation.timeout", c.Timeout, durations{100 * time.Millisecond, 5 * time.Minute})
	v.between("validation.workers", c.Workers, numbers{1, 10000})
}

func (v *checker) status() {
	s := v.c.Status
	v.lasts("status.crl_life", s.CRLLife, durations{time.Minute, 398 * day})
	v.lasts("status.ocsp_life", s.OCSPLife, durations{time.Minute, 398 * day})
	v.lasts("status.crl_refresh", s.CRLRefresh, durations{time.Second, 398 * day})
	v.lasts("status.max_age", s.MaxAge, durations{time.Second, day})
	if 2*s.CRLRefresh > s.CRLLife {
		v.report("status.crl_refresh", "%s is more than half of crl_life, %s: one failure would leave an expired CRL", s.CRLRefresh, s.CRLLife)
	}
}

// listener is an address and the key that sets it.
type listener struct{ key, address string }

func (c *Config) listeners() []listener {
	return []listener{
		{"listen.public", c.Listen.Public}, {"listen.status", c.Listen.Status}, {"listen.metrics", c.Listen.Metrics},
		{"listen.est", c.Listen.EST}, {"listen.est_srp", c.Listen.ESTSRP},
	}
}

// ListensOnLoopback reports whether every listener is on loopback. Others may
// still reach the server, by a proxy.
func (c *Config) ListensOnLoopback() bool { return c.outside() == "" }

// Loopback reports whether this is the laboratory, where validators may reach
// loopback and names need not last: every listener is on loopback, and so are
// the names of both URLs, as far as they are set. A server that is named for
// others is behind a proxy, and not at home.
func (c *Config) Loopback() bool { return c.public() == "" }

// public names the key that makes others reach this server, "" if there is none.
func (c *Config) public() string {
	if outside := c.outside(); outside != "" {
		return outside
	}
	for _, one := range []struct{ key, text string }{{"url.base", c.URL.Base}, {"url.status", c.URL.Status}} {
		// What is no URL is reported elsewhere, and makes nothing public.
		if u, err := url.Parse(one.text); err == nil && u.Hostname() != "" && !loopbackName(u.Hostname()) {
			return one.key
		}
	}
	return ""
}

// outside names a listener that others can reach, "" if there is none.
func (c *Config) outside() string {
	for _, one := range c.listeners() {
		if one.address != "" && !onLoopback(one.address) {
			return one.key
		}
	}
	return ""
}

// onLoopback tells where a listener's HOST:PORT is.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopbackName(host)
}

// loopbackName does not resolve names, as their meaning may change; "localhost"
// and what is below it are loopback by RFC 6761 §6.3.
func loopbackName(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
