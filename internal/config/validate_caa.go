package config

import (
	"net/netip"
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
	for _, server := range c.Resolvers {
		if !strings.HasPrefix(server, "tls://") && !strings.HasPrefix(server, "https://") && !isServer(server) {
			v.report("caa.resolvers", "%q is no DNS server: write its address, with or without port, as \"10.0.0.53\", or \"tls://10.0.0.53#NAME\", or \"https://NAME/dns-query\"", server)
		}
	}
	v.unique("caa.resolvers", c.Resolvers)
	for _, server := range c.Trusted {
		if !isServer(server) {
			v.report("caa.trusted", "%q is no address of a DNS server: write it as in resolvers, as \"10.0.0.53\"; those over TLS need not be named", server)
		}
	}
	v.unique("caa.trusted", c.Trusted)
}

// isServer knows the address of a DNS server, with or without port.
func isServer(text string) bool {
	_, errAddress := netip.ParseAddr(text)
	_, errPort := netip.ParseAddrPort(text)
	return errAddress == nil || errPort == nil
}
