package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// checker collects what is wrong with c.
type checker struct {
	c        *Config
	problems Problems
}

func (v *checker) report(key, format string, args ...any) {
	v.problems = append(v.problems, v.c.origins[key].problem(key, fmt.Sprintf(format, args...)))
}

// validate judges every value; the derived ones are already there.
func (c *Config) validate() Problems {
	v := &checker{c: c}
	v.listeners()
	v.urls()
	v.storage()
	v.hierarchy()
	v.acme()
	v.directories()
	v.bindings()
	v.mail()
	v.est()
	v.validation()
	v.caa()
	v.status()
	v.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", c.Log.Format, "text", "json")
	return v.problems
}

func (v *checker) oneOf(key, value string, choices ...string) {
	if !slices.Contains(choices, value) {
		v.report(key, "%q is not one of %s", value, strings.Join(choices, ", "))
	}
}

// numbers and durations are ranges with both ends in them.
type (
	numbers   struct{ low, high int }
	durations struct{ low, high time.Duration }
)

func (v *checker) between(key string, value int, in numbers) {
	if value < in.low || value > in.high {
		v.report(key, "%d is out of range: choose from %d to %d", value, in.low, in.high)
	}
}

func (v *checker) lasts(key string, value Duration, in durations) {
	if value.Std() < in.low || value.Std() > in.high {
		v.report(key, "%s is out of range: choose from %s to %s", value, Duration(in.low), Duration(in.high))
	}
}

func (v *checker) unique(key string, list []string) {
	for i, one := range list {
		if slices.Contains(list[:i], one) {
			v.report(key, "%q is there twice: remove one", one)
		}
	}
}

func (v *checker) listeners() {
	if v.c.Listen.Public == "" {
		v.report("listen.public", "must not be empty: \"127.0.0.1:8443\" for this machine only, \":8443\" for all interfaces")
	}
	taken := map[string]string{}
	for _, one := range v.c.listeners() {
		host, port, err := net.SplitHostPort(one.address)
		number, errPort := strconv.ParseUint(port, 10, 16)
		switch {
		case one.address == "":
			continue
		case err != nil || errPort != nil || strings.ContainsAny(host, "/ \t\n\"@?#"):
			v.report(one.key, "%q is no address to listen on: write HOST:PORT as \"127.0.0.1:8443\", \"[::1]:8443\" or \":8443\"", one.address)
		case number != 0 && taken[one.address] != "":
			v.report(one.key, "%s is already %s: choose another port", one.address, taken[one.address])
		}
		taken[one.address] = one.key
	}
}

func (v *checker) urls() {
	u := v.c.URL
	for _, one := range []struct{ key, value, scheme, example string }{
		{"url.base", u.Base, "https", "https://ca.corp.example"},
		{"url.status", u.Status, "http", "http://pki.corp.example"},
	} {
		if one.value != "" {
			v.originURL(one.key, one.value, one.scheme)
		} else if public := v.c.public(); public != "" {
			v.report(one.key, "must be set, as %s is not on loopback: the name by which clients reach this server, as %q; certificates and clients carry it for life", public, one.example)
		}
	}
}

// originURL wants scheme://host[:port] and nothing more.
func (v *checker) originURL(key, value, scheme string) {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		v.report(key, "%q is no URL: write %s://HOST or %s://HOST:PORT", value, scheme, scheme)
	case u.Scheme != scheme:
		v.report(key, "must begin with %s://", scheme)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(value, "#") || u.Path != "":
		v.report(key, "must be %s://HOST or %s://HOST:PORT and nothing more", scheme, scheme)
	case u.Host != strings.ToLower(u.Host) || strings.HasSuffix(u.Host, ".") || strings.HasSuffix(u.Host, ":"):
		v.report(key, "write the host in lower case, without a dot or colon at its end")
	case !isHost(u.Hostname()):
		v.report(key, "%q is neither a host name nor an address", u.Hostname())
	case u.Port() != "" && !isPort(u.Port()):
		v.report(key, "port %s is out of range", u.Port())
	}
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

func isHost(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return isDomain(name)
}

// isDomain knows a DNS host name in lower case (RFC 1123 §2.1).
func isDomain(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

func (v *checker) storage() {
	d := v.c.Database
	v.databaseURL()
	v.between("database.max_connections", d.MaxConnections, numbers{1, 10000})
	if d.Password.Scheme() == "passphrase-file" {
		v.report("database.password", "write \"file:PATH\" or \"credential:NAME\"")
	}
	if d.Password != "" && d.URL == "" {
		v.report("database.password", "goes with database.url, which is empty: SQLite has no password")
	}
	if v.c.Data == "" {
		v.report("data", "must not be empty: name a directory")
	}
	for key, path := range map[string]string{"data": v.c.Data, "profiles": v.c.Profiles} {
		if strings.ContainsRune(path, 0) || path != "" && filepath.Clean(path) == string(filepath.Separator) {
			v.report(key, "%q is no directory to use: name one of its own", path)
		}
	}
}

// databaseURL never repeats the URL: it may hold the password that it must not.
func (v *checker) databaseURL() {
	const key = "database.url"
	text := v.c.Database.URL
	if text == "" {
		return
	}
	if !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://") {
		v.report(key, "must begin with postgres://; leave it empty for SQLite in the data directory")
		return
	}
	u, err := url.Parse(text)
	if err != nil {
		v.report(key, "is no URL: write postgres://USER@HOST:5432/NAME?sslmode=verify-full")
		return
	}
	query, err := url.ParseQuery(u.RawQuery)
	_, hasPassword := u.User.Password()
	switch {
	case err != nil:
		v.report(key, "what follows the \"?\" is not NAME=VALUE&NAME=VALUE")
	case hasPassword || query.Has("password") || query.Has("sslpassword"):
		v.report(key, "has a password in it: put it into a file and write password = \"file:PATH\"")
	case strings.Trim(u.Path, "/") == "" && query.Get("dbname") == "":
		v.report(key, "names no database: write postgres://USER@HOST:5432/NAME")
	}
}
