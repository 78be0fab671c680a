package config

import (
	"net"
	"net/mail"
	"strings"
	"time"
)

func (v *checker) identities(key string, names []string) {
	for _, name := range names {
		if !isDomain(name) {
			v.report(key, "%q is no domain name in lower case", name)
		}
	}
	v.unique(key, names)
}

func (v *checker) profileNames(key string, names []string) {
	for _, name := range names {
		if !profileName.MatchString(name) || len(name) > 64 {
			v.report(key, "%q is no profile name: lower case letters, digits and single hyphens between them", name)
		}
	}
	v.unique(key, names)
}

// directories judges the further ones.
func (v *checker) directories() {
	names, hosts := map[string]bool{}, map[string]bool{}
	for i, d := range v.c.ACME.Directories {
		key := element("acme.directory", i+1)
		switch {
		case d.Name == "":
			v.report(key, "needs a name, which stands in its URLs: name = \"ev\"")
		case !profileName.MatchString(d.Name) || len(d.Name) > 64:
			v.report(key+".name", "%q cannot stand in a URL as it is: lower case letters, digits and single hyphens between them", d.Name)
		case names[d.Name]:
			v.report(key+".name", "%q is the name of another directory, too", d.Name)
		}
		names[d.Name] = true
		for _, host := range d.Hosts {
			switch {
			case !isHost(host):
				v.report(key+".hosts", "%q is no host name in lower case, without port", host)
			case hosts[host]:
				v.report(key+".hosts", "%q can mean one directory only", host)
			}
			hosts[host] = true
		}
		v.profileNames(key+".profiles", d.Profiles)
		v.identities(key+".caa_identities", d.CAAIdentities)
		v.page(key+".terms", d.Terms)
	}
}

func (v *checker) bindings() {
	a := v.c.ACME
	v.lasts("acme.binding_life", a.BindingLife, durations{time.Minute, 90 * day})
	if a.RequireBinding && !a.BindByDomain && !a.BindByMail && !a.RequireEAB {
		v.report("acme.require_binding", "leaves no binding but an external one: set require_eab instead, or bind_by_domain, or bind_by_mail")
	}
}

func (v *checker) mail() {
	m := v.c.Mail
	v.oneOf("mail.tls", m.TLS, "starttls", "tls", "none")
	if m.Server == "" {
		if m.From != "" || m.User != "" || m.Password != "" {
			v.report("mail.server", "must be set, as \"mail.corp.example:587\", or the rest of the section left out")
		}
		return
	}
	host, port, err := net.SplitHostPort(m.Server)
	switch {
	case err != nil || !isPort(port) || !isHost(strings.ToLower(host)):
		v.report("mail.server", "%q is no mail server: write HOST:PORT, as \"mail.corp.example:587\"", m.Server)
	case m.TLS == "none" && !loopbackName(host):
		v.report("mail.tls", "\"none\" is for a server on loopback; others could read the links that confirm, and the password")
	}
	if a, err := mail.ParseAddress(m.From); err != nil || a.Address != m.From || strings.ContainsAny(m.From, "\r\n") {
		v.report("mail.from", "%q is no mail address: write it as \"ca@corp.example\"", m.From)
	}
	if m.TLS == "none" && m.User != "" {
		v.report("mail.user", "goes with TLS: a password is not sent in the clear")
	}
	if (m.User == "") != (m.Password == "") {
		v.report("mail.user", "user and password go together: set both or neither")
	}
	if m.Password.Scheme() == "passphrase-file" {
		v.report("mail.password", "write \"file:PATH\" or \"credential:NAME\"")
	}
}
