package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// caaModes are the words for [CAA].Mode.
var caaModes = []string{"enforce", "report", "off"}

// CAAIdentities gives all names by which CAA records allow this CA to issue,
// whichever directory announces them: they are names of one CA.
func (c *Config) CAAIdentities() []string {
	all := slices.Clone(c.ACME.CAAIdentities)
	for _, d := range c.ACME.Directories {
		for _, name := range d.CAAIdentities {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

// CAAMode gives the mode of a line of issuers, "" being those that no entry of
// caa.lines names: "enforce", "report" or "off".
func (c *Config) CAAMode(line string) string {
	for _, entry := range c.CAA.Lines {
		if name, mode, _ := strings.Cut(entry, "="); line != "" && name == line {
			return mode
		}
	}
	switch {
	case c.CAA.Mode != "":
		return c.CAA.Mode
	case len(c.CAAIdentities()) > 0:
		return "enforce"
	}
	return "off"
}

// CAALines gives the lines of issuers that caa.lines names.
func (c *Config) CAALines() []string {
	var lines []string
	for _, entry := range c.CAA.Lines {
		name, _, _ := strings.Cut(entry, "=")
		lines = append(lines, name)
	}
	return lines
}

func (v *checker) caa() {
	c := v.c.CAA
	if c.Mode != "" {
		v.oneOf("caa.mode", c.Mode, caaModes...)
	}
	key, needs := "caa.mode", v.c.CAAMode("")
	for _, entry := range c.Lines {
		name, mode, _ := strings.Cut(entry, "=")
		if !profileName.MatchString(name) || !slices.Contains(caaModes, mode) {
			v.report("caa.lines", "%q is not LINE=MODE: write it as \"devices=off\", with one of %s", entry, strings.Join(caaModes, ", "))
		} else if mode != "off" && needs == "off" {
			key, needs = "caa.lines", mode
		}
	}
	v.unique("caa.lines", v.c.CAALines())
	if needs != "off" && slices.Contains(caaModes, needs) && len(v.c.CAAIdentities()) == 0 {
		v.report(key, "%q needs a name by which CAA records can allow this CA to issue: set acme.caa_identities, as [\"ca.corp.example\"], or turn CAA off", needs)
	}
	v.resolvers("caa.resolvers", c.Resolvers)
	for _, server := range c.Trusted {
		if !isServer(server) {
			v.report("caa.trusted", "%q is no address of a DNS server: write it as in resolvers, as \"10.0.0.53\"; those over TLS need not be named", server)
		}
	}
	v.unique("caa.trusted", c.Trusted)
}

// maxResolvers is how many DNS servers can be named.
const maxResolvers = 8

// resolvers judges a list of DNS servers.
func (v *checker) resolvers(key string, list []string) {
	for _, server := range list {
		if !isResolver(server) {
			v.report(key, "%q is no DNS server: write its address, with or without port, as \"10.0.0.53\" or \"[fd00::53]:5353\", or \"tls://10.0.0.53#NAME\", or \"https://NAME/dns-query\"", server)
		}
	}
	v.unique(key, list)
	if len(list) > maxResolvers {
		v.report(key, "names %d servers: %d are enough", len(list), maxResolvers)
	}
}

// isResolver knows what the configuration can say of a DNS server: its address, for
// DNS over TLS its address and the name in its certificate, or an https URL.
func isResolver(text string) bool {
	if place, ok := strings.CutPrefix(text, "tls://"); ok {
		place, name, named := strings.Cut(place, "#")
		return isServer(place) && (!named || isHost(strings.ToLower(name)))
	}
	if !strings.HasPrefix(text, "https://") {
		return isServer(text)
	}
	u, err := url.Parse(strings.TrimSuffix(text, "{?dns}"))
	if err != nil || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(u.Host, ":") {
		return false
	}
	path, at, placed := strings.Cut(u.Path, "@")
	_, errAt := netip.ParseAddr(at)
	return isHost(strings.ToLower(u.Hostname())) && (u.Port() == "" || isPort(u.Port())) && strings.Trim(path, "/") != "" && (!placed || errAt == nil)
}

// isServer knows the address of a DNS server, with or without port.
func isServer(text string) bool {
	if at, err := netip.ParseAddrPort(text); err == nil {
		return at.Port() != 0
	}
	bare, bracketed := strings.CutPrefix(text, "[")
	bare, closed := strings.CutSuffix(bare, "]")
	ip, err := netip.ParseAddr(bare)
	return err == nil && bracketed == closed && !(bracketed && ip.Is4())
}
