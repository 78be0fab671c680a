package settings

import (
	"maps"
	"regexp"
	"slices"

	"chancery/caa"
	"chancery/internal/enroll/vault"
)

var oidPattern = regexp.MustCompile(`^[0-2](\.(0|[1-9][0-9]*))+$`)

var kinds = []string{string(caa.DomainValidated), string(caa.OrganizationValidated), string(caa.ExtendedValidation), string(caa.QualifiedWeb)}

func (s *Settings) validateCAs(j *judge) {
	labels := make([]string, len(s.CAs))
	for i, ca := range s.CAs {
		labels[i] = ca.Label
		at := "ca" + nth(i) + "."
		for _, issuer := range ca.Issuers {
			j.issuer(at+"issuers", issuer)
		}
		if len(ca.Issuers) == 0 && ca.Directory == "" {
			j.add(at+"issuers", "a CA needs its issuer names, or the URL of its directory, or both")
		}
		if ca.Directory != "" {
			j.url(at+"directory", ca.Directory, "https")
		}
		j.oneOf(at+"caa_identities", ca.CAAIdentities, "", "prefer", "require", "ignore")
		j.keyType(at+"account_key", ca.AccountKey)
		j.contacts(at+"contacts", ca.Contacts)
		for _, kind := range slices.Sorted(maps.Keys(ca.Profiles)) {
			j.oneOf(at+"profiles", kind, append(kinds, "default")...)
		}
		for _, kind := range slices.Sorted(maps.Keys(ca.Policies)) {
			j.oneOf(at+"policies", kind, kinds...)
			for _, oid := range ca.Policies[kind] {
				if !oidPattern.MatchString(oid) {
					j.add(at+"policies", "%q is no object identifier: write it as \"2.23.140.1.1\"", oid)
				}
			}
		}
		j.eab(at+"eab", ca.EAB)
	}
	j.labels("ca", labels)
}

func (j *judge) eab(key string, e EAB) {
	j.oneOf(key+".algorithm", e.Algorithm, "", "HS256", "HS384", "HS512")
	if (e.KeyID == "") != (e.Key == "") {
		j.add(key, "key_id and key go together")
	}
}

var challengeTypes = []string{"http-01", "tls-alpn-01", "dns-01", "dns-persist-01"}

func (s *Settings) validateChallenge(j *judge) {
	c := s.Challenge
	for _, one := range c.Types {
		j.oneOf("challenge.types", one, challengeTypes...)
	}
	j.listen("challenge.http", c.HTTP)
	j.listen("challenge.tls", c.TLS)
	labels := make([]string, len(c.DNS))
	for i, p := range c.DNS {
		labels[i] = p.Label
		at := "challenge.dns" + nth(i) + "."
		switch {
		case p.Kind == "":
			j.add(at+"kind", "say how records are set: rfc2136, exec, or a provider that is built in")
		case p.Kind == "rfc2136" && p.Server == "":
			j.add(at+"server", "rfc2136 needs the server that takes updates of the zone")
		case p.Kind == "rfc2136":
			j.oneOf(at+"key_algorithm", p.KeyAlgorithm, "", "hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha224", "hmac-sha1")
			j.tsig(at, p)
		case p.Kind == "exec" && len(p.Command) == 0:
			j.add(at+"command", "exec needs a program")
		}
		for _, zone := range p.Zones {
			if subject, err := caa.ParseSubject(zone); err != nil || subject.Form != caa.Host {
				j.add(at+"zones", "%q is no zone: write it as \"corp.example\"", zone)
			}
		}
	}
	known := j.labels("challenge.dns", labels)
	if c.DNSDefault != "" && !known[c.DNSDefault] {
		j.add("challenge.dns_default", "no [[challenge.dns]] is called %q", c.DNSDefault)
	}
}

// tsig judges how a TSIG key is given: whole in a file, or its name and where it is.
func (j *judge) tsig(at string, p Provider) {
	_, also := p.Options["key_file"]
	switch file := p.KeyFile != "" || also; {
	case file && (p.Key != "" || p.KeyAlgorithm != ""):
		j.add(at+"key_file", "the file of tsig-keygen has the key and its algorithm: leave key and key_algorithm out")
	case !file && p.Key == "" && (p.KeyName != "" || p.KeyAlgorithm != ""):
		j.add(at+"key", "say where the key is: key = \"file:PATH\" with its base64, or key_file = \"PATH\" of a file that tsig-keygen wrote")
	}
}

func (s *Settings) validateCertificates(j *judge) {
	cas, providers := map[string]bool{}, map[string]bool{}
	for _, ca := range s.CAs {
		cas[ca.Label] = true
	}
	for _, p := range s.Challenge.DNS {
		providers[p.Label] = true
	}
	labels, paths := map[string]bool{}, map[string]string{}
	for i := range s.Certificates {
		c := &s.Certificates[i]
		at := "certificate" + nth(i) + "."
		c.validate(j, at)
		if c.CA != "" && !cas[c.CA] {
			j.add(at+"ca", "no [[ca]] is called %q", c.CA)
		}
		if c.DNS != "" && !providers[c.DNS] {
			j.add(at+"dns", "no [[challenge.dns]] is called %q", c.DNS)
		}
		label := c.Label()
		if label != "" && labels[label] {
			j.add(at+"name", "another [[certificate]] is called %q already, by its name or its first name: give this one a name of its own", label)
		}
		labels[label] = true
		for _, path := range c.Target().Paths() {
			if before, taken := paths[path]; taken {
				j.add(at+"install", "%s is where the certificate %s goes already", path, before)
			}
			paths[path] = label
		}
	}
}

// validate judges one certificate by itself.
func (c *Certificate) validate(j *judge, at string) {
	if len(c.Names) == 0 {
		j.add(at+"names", "a certificate needs names")
	}
	for _, name := range c.Names {
		if _, err := caa.ParseSubject(name); err != nil {
			j.add(at+"names", "%v", err)
		}
	}
	if c.Name != "" {
		if err := vault.CheckLabel(c.Name); err != nil {
			j.add(at+"name", "%v", err)
		}
	}
	j.keyType(at+"key_type", c.KeyType)
	for _, one := range c.Challenges {
		j.oneOf(at+"challenges", one, challengeTypes...)
	}
	if err := c.Target().Validate(); err != nil {
		j.add(at+"install", "%v", err)
	}
	for name, command := range map[string]Command{"pre": c.Hooks.Pre, "deploy": c.Hooks.Deploy, "post": c.Hooks.Post, "failure": c.Hooks.Failure} {
		for _, hook := range command.hook(c.Hooks.Timeout) {
			if err := hook.Validate(); err != nil {
				j.add(at+"hooks."+name, "%v", err)
			}
		}
	}
}
