package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ESTReserved are the names that no EST label may have: operations under the same
// path, ours or not (RFC 7030 §3.2.2, RFC 8295 §2.1, RFC 8995 §8.3, RFC 9148 §5.1).
// Package est has the same list, which a test of the daemon's compares.
var ESTReserved = []string{
	"cacerts", "simpleenroll", "simplereenroll", "fullcmc", "serverkeygen", "csrattrs",
	"pal", "eecerts", "crls", "symmetrickeys", "firmware", "tamp",
	"requestvoucher", "voucher_status", "requestauditlog", "enrollstatus",
	"crts", "sen", "sren", "skg", "skc", "att",
}

func (v *checker) est() {
	e, l := v.c.EST, v.c.Listen
	for key, version := range map[string]string{"listen.tls_newest": l.TLSNewest, "listen.est_newest": l.ESTNewest} {
		v.oneOf(key, version, "1.3", "1.2")
	}
	if len(l.ESTTerminator) > 100 || strings.ContainsRune(l.ESTTerminator, 0) {
		v.report("listen.est_terminator", "is no path of a socket: the system takes 100 characters at most")
	}
	v.srpFront()
	if !slices.Contains([]string{"", "sha-256", "md5"}, e.Digest) {
		v.report("est.digest", `%q is not one of "", sha-256, md5`, e.Digest)
	}
	if e.Realm == "" || len(e.Realm) > 100 || strings.ContainsFunc(e.Realm, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		v.report("est.realm", "must be 1 to 100 plain ASCII characters without quotes and backslashes")
	}
	v.lasts("est.pending_life", e.PendingLife, durations{time.Minute, 398 * day})
	v.lasts("est.retry_after", e.RetryAfter, durations{time.Second, 7 * day})
	if (e.Certificate == "") != (e.Key == "") {
		v.report("est.certificate", "certificate and key go together: set both or neither")
	}
	if e.OwnOnRequest && e.Certificate == "" {
		v.report("est.own_on_request", "means nothing without est.certificate: our own certificate is shown to everybody then")
	}
	makers := v.makers()
	names := map[string]bool{}
	for i, one := range e.Labels {
		key := element("est.label", i+1)
		if names[one.Name] {
			v.report(key+".name", "%q is the name of another label, too; the one without a name can be there once", one.Name)
		}
		names[one.Name] = true
		v.label(key, &one, makers)
	}
}

// srpFront wants all three parts of the way that TLS-SRP takes: to the front, from it
// to the terminator, and from that to the socket.
func (v *checker) srpFront() {
	l := v.c.Listen
	switch {
	case (l.ESTSRP == "") != (l.ESTSRPBackend == ""):
		v.report("listen.est_srp", "est_srp and est_srp_backend go together: set both or neither")
	case l.ESTSRP != "" && l.ESTTerminator == "":
		v.report("listen.est_srp", "leads to a terminator that hands requests over at a socket: set listen.est_terminator")
	}
	if b := l.ESTSRPBackend; b != "" && !strings.HasPrefix(b, "unix:/") {
		if _, port, err := net.SplitHostPort(b); err != nil || port == "" {
			v.report("listen.est_srp_backend", "%q is neither HOST:PORT nor unix:/PATH", b)
		}
	}
}

// makers judges the makers and gives their names.
func (v *checker) makers() map[string]bool {
	names := map[string]bool{}
	for i, m := range v.c.EST.Makers {
		key := element("est.maker", i+1)
		switch {
		case m.Name == "":
			v.report(key, "needs a name, for labels to name it: name = \"acme-devices\"")
		case !profileName.MatchString(m.Name) || len(m.Name) > 64:
			v.report(key+".name", "%q is no name: lower case letters, digits and single hyphens between them", m.Name)
		case names[m.Name]:
			v.report(key+".name", "%q is the name of another maker, too", m.Name)
		}
		names[m.Name] = true
		if m.Roots == "" {
			v.report(key, "needs its root certificates: roots = \"FILE.pem\"")
		}
		switch m.Revocation {
		case "":
			v.report(key, "say how its revocations are learnt: revocation = \"crl\" or \"ocsp\"; \"none\" lets in who was revoked")
		default:
			v.oneOf(key+".revocation", m.Revocation, "crl", "ocsp", "any", "none")
		}
		if len(m.CRLs) > 0 && m.Revocation != "crl" && m.Revocation != "any" {
			v.report(key+".crls", "are read with revocation = \"crl\" or \"any\" only")
		}
		for _, place := range m.CRLs {
			if strings.Contains(place, "://") && !isWebPage(place) || place == "" {
				v.report(key+".crls", "%q is neither a file nor an http URL", place)
			}
		}
		if m.OCSP != "" && (m.Revocation != "ocsp" && m.Revocation != "any" || !isWebPage(m.OCSP)) {
			v.report(key+".ocsp", "is the http URL of a responder, with revocation = \"ocsp\" or \"any\"")
		}
	}
	return names
}

// isWebPage tells whether a text is the address of something to fetch.
func isWebPage(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil
}

func (v *checker) label(key string, l *Label, makers map[string]bool) {
	v.labelName(key+".name", l.Name)
	v.profileNames(key+".profile", listed(l.Profile))
	v.profileNames(key+".holders", l.Holders)
	v.profileNames(key+".ras", l.RAs)
	for _, op := range l.Operations {
		v.oneOf(key+".operations", op, "cacerts", "simpleenroll", "simplereenroll", "csrattrs", "fullcmc", "serverkeygen")
	}
	v.unique(key+".operations", l.Operations)
	v.ways(key, l)
	for _, name := range l.Makers {
		if !makers[name] {
			v.report(key+".makers", "there is no maker %q: make one with [[est.maker]]", name)
		}
	}
	for at, list := range map[string][]string{".names": l.Names, ".ra_names": l.RANames} {
		if slices.Contains(list, "") {
			v.report(key+at, "an empty pattern names nothing")
		}
	}
	if len(l.RAs) > 0 && len(l.RANames) == 0 {
		v.report(key+".ras", "say what they may ask for: ra_names = [\"*.iot.example\"]; \"*\" is everything")
	}
	if l.ManualRenewals && !l.Manual {
		v.report(key+".manual_renewals", "means nothing without manual")
	}
	if l.Wrap != "" {
		v.oneOf(key+".wrap", l.Wrap, "auto", "wrapped", "bare")
	}
	if l.PendingLife != 0 {
		v.lasts(key+".pending_life", l.PendingLife, durations{time.Minute, 398 * day})
	}
	if l.RetryAfter != 0 {
		v.lasts(key+".retry_after", l.RetryAfter, durations{time.Second, 7 * day})
	}
	v.lasts(key+".expired_grace", l.ExpiredGrace, durations{0, 3650 * day})
	v.between(key+".pending_limit", l.PendingLimit, numbers{0, 100_000})
	if (l.KeysEncrypted || l.KeysWeakCipher || l.KeysArchive != "") && !slices.Contains(l.Operations, "serverkeygen") {
		v.report(key, "speaks of keys that we make, and does not offer to make any: add \"serverkeygen\" to operations")
	}
}

func listed(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

// labelName wants what stands in a path for itself alone (RFC 3986 §2.3).
func (v *checker) labelName(key, name string) {
	const good = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
	switch {
	case name == "":
	case slices.Contains(ESTReserved, strings.ToLower(name)):
		v.report(key, "%q is the name of an EST operation, and a client that asks for it could mean either: choose another", name)
	case len(name) > 64 || strings.Trim(name, good) != "" || strings.Trim(name, ".") == "":
		v.report(key, "%q cannot stand in a path as it is: up to 64 letters, digits, \"-\", \".\", \"_\" and \"~\"", name)
	}
}

// ways judges how clients of a label authenticate.
func (v *checker) ways(key string, l *Label) {
	at := key + ".accept"
	used := map[string]bool{}
	for _, way := range l.Accept {
		means := strings.Split(way, "+")
		for _, word := range means {
			v.oneOf(at, word, "certificate", "maker", "password", "one-time", "srp")
			used[word] = true
		}
		has := func(word string) bool { return slices.Contains(means, word) }
		switch {
		case has("certificate") && has("maker"):
			v.report(at, "%q cannot be met: a client shows one certificate", way)
		case has("password") && has("one-time") && !l.ChallengeSecret:
			v.report(at, "%q cannot be met: a client has one password in HTTP; with challenge_secret the second can stand in the request", way)
		case has("srp") && l.RequireLinking:
			v.report(at, "%q and require_linking exclude each other: nothing binds a request to the connection behind a TLS terminator", way)
		case has("srp") && v.c.Listen.ESTTerminator == "":
			v.report(at, "%q needs the socket of a TLS terminator that does SRP: set listen.est_terminator", way)
		}
		v.unique(at, means)
	}
	v.unique(at, l.Accept)
	switch accepts := len(l.Accept) > 0; {
	case used["maker"] && len(l.Makers) == 0:
		v.report(at, "takes makers' certificates, and makers names nobody")
	case !used["maker"] && len(l.Makers) > 0:
		v.report(key+".makers", "are named, and accept has no way with \"maker\"")
	case accepts && len(l.RAs) > 0 && !used["certificate"]:
		v.report(key+".ras", "authenticate by certificate, which accept does not take")
	}
}

// anchorEST makes the paths of section est that a file wrote relative to the file.
func (c *Config) anchorEST(directory string) {
	paths := map[string]*string{"listen.est_terminator": &c.Listen.ESTTerminator, "est.certificate": &c.EST.Certificate, "est.key": &c.EST.Key}
	for i := range c.EST.Labels {
		paths[element("est.label", i+1)+".keys_archive"] = &c.EST.Labels[i].KeysArchive
	}
	for i := range c.EST.Makers {
		m, key := &c.EST.Makers[i], element("est.maker", i+1)
		paths[key+".roots"], paths[key+".intermediates"] = &m.Roots, &m.Intermediates
		for j := range m.CRLs {
			if place := m.CRLs[j]; place != "" && !strings.Contains(place, "://") && !filepath.IsAbs(place) {
				m.CRLs[j] = filepath.Join(directory, place)
			}
		}
	}
	for key, path := range paths {
		if c.origins[key].line > 0 && *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(directory, *path)
		}
	}
}

// widest gives the kind of names of which a list of patterns lets everybody have all, and
// false when there is none. Attributes of the subject ("CN=*") are no names of anybody's:
// a common name that is one has to pass as that.
func widest(patterns []string) (kind string, wide bool) {
	for _, p := range patterns {
		word, rest, named := strings.Cut(p, ":")
		if network, err := netip.ParsePrefix(strings.TrimPrefix(p, "ip:")); err == nil && network.Bits() == 0 {
			kind, wide = "address of "+p, true
		}
		if named && rest == "*" {
			kind, wide = "name of the kind "+word, true
		}
		if p == "*" {
			return "name", true
		}
	}
	return kind, wide
}

// unknownField tells of a pattern with a field that no way of the label can fill, so that
// it lets nothing pass; "" when there is none.
func unknownField(l Label) string {
	if len(l.Accept) == 0 {
		return "" // the usual ways know all fields
	}
	certificate, user := false, false
	for _, way := range l.Accept {
		for _, means := range strings.Split(way, "+") {
			isCertificate := means == "certificate" || means == "maker"
			certificate, user = certificate || isCertificate, user || !isCertificate
		}
	}
	for _, p := range l.Names {
		switch {
		case !certificate && (strings.Contains(p, "{serial}") || strings.Contains(p, "{cn}")):
			return fmt.Sprintf("%q lets nothing pass: {serial} and {cn} are of the client's certificate, and no way of accept has one; {user} is the user's name", p)
		case !user && strings.Contains(p, "{user}"):
			return fmt.Sprintf("%q lets nothing pass: {user} is the name of a user, and no way of accept has one; {serial} and {cn} are of the client's certificate", p)
		}
	}
	return ""
}

// estOddities are settings of EST that are allowed and seldom meant.
func (c *Config) estOddities(warn func(key, text string)) {
	srp := false
	for i, l := range c.EST.Labels {
		key := element("est.label", i+1)
		for _, way := range l.Accept {
			srp = srp || slices.Contains(strings.Split(way, "+"), "srp")
		}
		if l.SHA1CMC {
			warn(key+".sha1_cmc", "takes signatures that others than the signer can make")
		}
		if l.KeysWeakCipher {
			warn(key+".keys_weak_cipher", "sends private keys over ciphers weaker than they are")
		}
		if kind, wide := widest(l.Names); wide && !l.Manual {
			warn(key+".names", "lets every client have every "+kind)
		}
		if text := unknownField(l); text != "" {
			warn(key+".names", text)
		}
	}
	if c.Listen.ESTTerminator != "" && !srp {
		warn("listen.est_terminator", "is a socket that no label takes anybody from: accept has no way with \"srp\"")
	}
	if srp && c.Listen.ESTSRP == "" {
		warn("listen.est_terminator", "nothing slows who guesses TLS-SRP passwords: let clients connect to listen.est_srp instead of to the terminator")
	}
	if c.EST.Digest == "md5" {
		warn("est.digest", "MD5 can be guessed fast by who overhears it: keep it for clients that know nothing else")
	}
	for i, m := range c.EST.Makers {
		if m.Revocation == "none" {
			warn(element("est.maker", i+1)+".revocation", "certificates that this maker revoked still open this server")
		}
		if m.RevocationSoft {
			warn(element("est.maker", i+1)+".revocation_soft", "who keeps this server from asking keeps revoked certificates good")
		}
	}
	if c.Listen.EST == "" && c.origins["listen.est_newest"].source != "" {
		warn("listen.est_newest", "means nothing without listen.est")
	}
}
