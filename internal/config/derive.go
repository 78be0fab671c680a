package config

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// derive fills in what follows from other values.
func (c *Config) derive() {
	if c.Profiles == "" && c.Data != "" {
		c.Profiles = filepath.Join(c.Data, "profiles")
	}
	c.URL.Base = strings.TrimSuffix(c.URL.Base, "/")
	c.URL.Status = strings.TrimSuffix(c.URL.Status, "/")
	public, status := port(c.Listen.Public), port(c.Listen.Status)
	if c.Listen.Status == "" {
		status = public
	}
	c.Bound(public, status)
}

// Bound fills in the default URLs of a laboratory (see [Config.Loopback]) for the ports that its
// listeners really have. Load has done so unless a port is 0, which lets the
// system choose; then the daemon calls it once it listens. status is the public
// port if there is no status listener. A URL that was set stays.
func (c *Config) Bound(public, status int) {
	if !c.Loopback() {
		return
	}
	if c.URL.Base == "" && public != 0 {
		c.URL.Base = "https://localhost:" + strconv.Itoa(public)
	}
	if c.URL.Status == "" && status != 0 {
		c.URL.Status = "http://localhost:" + strconv.Itoa(status)
	}
}

// port gives 0 for what has none; validate complains about it.
func port(address string) int {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

// oddities are values that are allowed and seldom meant.
func (c *Config) oddities() (list []Warning) {
	warn := func(key, text string) { list = append(list, Warning{Key: key, Text: text}) }
	if c.Listen.Metrics != "" && !onLoopback(c.Listen.Metrics) {
		warn("listen.metrics", "is not on loopback: everybody who reaches it reads metrics and profiles")
	}
	if !c.ListensOnLoopback() && strings.Contains(c.URL.Base+"/", "://localhost") {
		warn("url.base", "says localhost although a listener is off loopback: other machines will not find this server")
	}
	if !c.Loopback() && (c.ACME.HTTP01Port != 80 || c.ACME.TLSALPN01Port != 443) {
		warn("acme", "the validation ports are not 80 and 443: on most machines every user can open another port, and so prove the machine's name")
	}
	if (c.ACME.BindByDomain || c.ACME.BindByMail) && c.Mail.Server == "" {
		warn("mail", "nobody is mailed, although acme has customers asked to confirm bindings: look at \"chancery binding list\", or set mail.server")
	}
	if c.ACME.BindByDomain && c.ACME.OrderLife < c.ACME.BindingLife {
		warn("acme.binding_life", "is longer than order_life: an order ends before its customer's time to answer does")
	}
	c.estOddities(warn)
	return list
}
