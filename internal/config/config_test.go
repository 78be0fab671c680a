package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func parse(text string, environ ...string) (*Config, []Warning, error) {
	return load(input{name: "/etc/chancery/chancery.toml", text: []byte(text), environ: environ})
}

func TestDefaultsAreValid(t *testing.T) {
	c, warnings, err := Load("", Overrides{}, nil)
	if err != nil || len(warnings) != 0 {
		t.Fatalf("warnings %v, error %v", warnings, err)
	}
	if !c.Loopback() || c.URL.Base != "https://localhost:8443" || c.URL.Status != "http://localhost:8443" {
		t.Errorf("loopback %t, URLs %+v", c.Loopback(), c.URL)
	}
	if c.Data != "chancery-data" || c.Profiles != "chancery-data/profiles" {
		t.Errorf("data %q, profiles %q", c.Data, c.Profiles)
	}
}

func TestGood(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want func(*Config) bool
	}{
		"relative to the file": {"data = 'd'\n[keys]\nunlock = 'passphrase-file:p'", func(c *Config) bool {
			return c.Data == "/etc/chancery/d" && c.Keys.Unlock == "passphrase-file:/etc/chancery/p" && c.Profiles == "/etc/chancery/d/profiles"
		}},
		"dotted and inline": {"listen.public = '[::1]:1'\nlog = {level = 'debug'}", func(c *Config) bool {
			return c.Listen.Public == "[::1]:1" && c.Log.Level == "debug" && c.URL.Base == "https://localhost:1"
		}},
		"status port": {"[listen]\nstatus = 'localhost:80'", func(c *Config) bool {
			return c.URL.Status == "http://localhost:80" && c.URL.Base == "https://localhost:8443"
		}},
		"outside": {"[listen]\npublic = ':443'\n[url]\nbase = 'https://ca.corp.internal/'\nstatus = 'http://10.1.2.3:8080'", func(c *Config) bool {
			return !c.Loopback() && c.URL.Base == "https://ca.corp.internal" && c.URL.Status == "http://10.1.2.3:8080"
		}},
		"system's port": {"listen.public = '127.0.0.1:0'", func(c *Config) bool {
			unset := c.URL.Base == "" && c.URL.Status == ""
			c.Bound(7, 9)
			return unset && c.URL.Base == "https://localhost:7" && c.URL.Status == "http://localhost:9"
		}},
		"behind a proxy": {"[url]\nbase = 'https://ca.corp.internal'\nstatus = 'http://localhost:8443'", func(c *Config) bool {
			return !c.Loopback() && c.ListensOnLoopback()
		}},
		"status behind a proxy": {"[url]\nbase = 'https://localhost:8443'\nstatus = 'http://10.1.2.3'", func(c *Config) bool {
			return !c.Loopback()
		}},
		"loopback by other names": {"[url]\nbase = 'https://ca.localhost:8443'\nstatus = 'http://[::1]:8443'", func(c *Config) bool {
			return c.Loopback()
		}},
		"one URL on loopback": {"url.base = 'https://127.8.9.10'", func(c *Config) bool {
			return c.Loopback() && c.URL.Status == "http://localhost:8443"
		}},
		"a name below a domain": {"hierarchy.domains = ['a.example', 'corp.internal']\n[url]\nbase = 'https://ca.corp.internal'\nstatus = 'http://x'", func(c *Config) bool {
			return c.CheckDomains() == nil
		}},
		"a domain itself": {"hierarchy.domains = ['corp.internal']\n[url]\nbase = 'https://corp.internal'\nstatus = 'http://x'", func(c *Config) bool {
			return c.CheckDomains() == nil
		}},
		"a private address beside domains": {"hierarchy.domains = ['corp.internal']\n[url]\nbase = 'https://100.64.1.2'\nstatus = 'http://x'", func(c *Config) bool {
			return c.CheckDomains() == nil
		}},
		"localhost beside domains": {"hierarchy.domains = ['corp.internal']\nlisten.public = '127.0.0.1:0'", func(c *Config) bool {
			c.Bound(7, 9)
			return c.CheckDomains() == nil
		}},
		"durations": {"[acme]\norder_life = '1d12h'\nauthorization_life = '90d'", func(c *Config) bool {
			return c.ACME.OrderLife.Std() == 36*time.Hour && c.ACME.AuthorizationLife.Std() == 90*24*time.Hour
		}},
		"rates": {"[limits]\norders_per_account = '5/1m'\naccounts_per_address = '0'", func(c *Config) bool {
			return c.Limits.OrdersPerAccount == Rate{5, Duration(time.Minute)} && c.Limits.AccountsPerAddress == Rate{}
		}},
		"networks": {"[validation]\nallow = ['127.0.0.0/8', 'fd00::/8']\nresolvers = ['127.0.0.1:5353', '::1']", func(c *Config) bool {
			return len(c.Validation.Allow) == 2 && c.Validation.Allow[1].String() == "fd00::/8" && len(c.Validation.Resolvers) == 2
		}},
		"PostgreSQL": {"[database]\nurl = 'postgres://u@h:5432/n?sslmode=disable'\npassword = 'credential:pg'", func(c *Config) bool {
			return c.Database.Password == "credential:pg"
		}},
		"directories": {"[acme]\ncaa_identities = ['ca.example']\n[[acme.directory]]\nname = 'ev'\nhosts = ['ev.example']\nrequire_eab = true\n[[acme.directory]]\nname = 'b-2'\nprofiles = ['x']", func(c *Config) bool {
			d := c.ACME.Directories
			return len(d) == 2 && d[0].Name == "ev" && d[0].RequireEAB && slices.Equal(d[0].Hosts, []string{"ev.example"}) && d[1].Name == "b-2" && len(d[1].Hosts) == 0
		}},
		"directories in brackets": {"acme.directory = [{name = 'ev'}]", func(c *Config) bool {
			return len(c.ACME.Directories) == 1 && c.ACME.Directories[0].Name == "ev"
		}},
		"no directories": {"acme.directory = []", func(c *Config) bool { return len(c.ACME.Directories) == 0 }},
		"mail": {"[mail]\nserver = 'Mail.example:587'\nfrom = 'ca@example.org'\nuser = 'u'\npassword = 'file:p'", func(c *Config) bool {
			return c.Mail.TLS == "starttls" && c.Mail.Password == "file:/etc/chancery/p"
		}},
		"mail in the clear": {"[mail]\nserver = '127.0.0.1:25'\nfrom = 'ca@example.org'\ntls = 'none'", func(c *Config) bool {
			return c.Mail.TLS == "none"
		}},
		"CAA by default": {"acme.caa_identities = ['ca.example']", func(c *Config) bool {
			return c.CAAMode("") == "enforce" && c.CAAMode("issuing") == "enforce" && c.CAA.Parameters
		}},
		"CAA without a name": {"", func(c *Config) bool { return c.CAAMode("") == "off" }},
		"CAA by a further directory": {"[[acme.directory]]\nname = 'ev'\ncaa_identities = ['ev.example']", func(c *Config) bool {
			return c.CAAMode("") == "enforce" && slices.Equal(c.CAAIdentities(), []string{"ev.example"})
		}},
		"CAA by line": {"acme.caa_identities = ['ca.example']\n[caa]\nmode = 'report'\nlines = ['devices=off', 'issuing=enforce']\nresolvers = ['tls://10.0.0.53#dns.example', '10.0.0.53']\ntrusted = ['10.0.0.53']\nparameters = false", func(c *Config) bool {
			return c.CAAMode("") == "report" && c.CAAMode("devices") == "off" && c.CAAMode("issuing") == "enforce" && !c.CAA.Parameters
		}},
		"lists": {"[acme]\nprofiles = ['b', 'a-1']\nchallenges = ['dns-01']\n[hierarchy]\ndomains = ['corp.internal']", func(c *Config) bool {
			return slices.Equal(c.ACME.Profiles, []string{"b", "a-1"}) && len(c.ACME.Challenges) == 1 && len(c.Hierarchy.Domains) == 1
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c, warnings, err := parse(test.text)
			if err != nil || len(warnings) != 0 {
				t.Fatalf("warnings %v, error %v", warnings, err)
			}
			if !test.want(c) {
				t.Errorf("%+v", *c)
			}
		})
	}
}

func TestBad(t *testing.T) {
	const file = "/etc/chancery/chancery.toml"
	for _, test := range []struct{ text, key, want string }{
		{"x", "", file + ":1:1: not TOML"},
		{"data = 'a'\ndata = 'b'", "", ":2:1: not TOML"},
		{"\n\n  dada = 1", "dada", file + ":3:3: dada: unknown key: did you mean data?"},
		{"[acme]\n\nmaxnames = 1", "acme.maxnames", ":3:1: acme.maxnames: unknown key: did you mean acme.max_names?"},
		{"max_names = 1", "max_names", "did you mean acme.max_names?"},
		{"Data = 'x'", "Data", "did you mean data?"},
		{"[ame]\nx = 1", "ame", ":1:2: ame: unknown key: did you mean acme?"},
		{"log = { levle = 'x' }", "log.levle", ":1:9: log.levle: unknown key: did you mean log.level?"},
		{"\"acme.max_names\" = 3", "\"acme.max_names\"", "unknown key"},
		{"zebra_in_the_garden = 1", "zebra_in_the_garden", "config show --effective"},
		{"acme = 3", "acme", "is a section: write [acme]"},
		{"[[acme]]\nmax_names = 3", "acme", "is a section"},
		{"[data]\nx = 1", "data", "must be text in quotes, not a section"},
		{"data = 3", "data", "must be text in quotes, not a number"},
		{"data = ''", "data", "name a directory"},
		{"data = '/'", "data", "name one of its own"},
		{"acme.max_names = '3'", "acme.max_names", "a whole number without quotes, not text"},
		{"acme.max_names = 3.5", "acme.max_names", "a number with a point"},
		{"acme.max_names = 0", "acme.max_names", "choose from 1 to 1000"},
		{"acme.require_eab = 'yes'", "acme.require_eab", "true or false without quotes"},
		{"acme.profiles = 'a'", "acme.profiles", "a list in [ ]"},
		{"acme.profiles = ['a', 1]", "acme.profiles", "element 2: must be text"},
		{"acme.profiles = []", "acme.profiles", "at least one profile"},
		{"acme.profiles = ['a b']", "acme.profiles", "is no profile name"},
		{"acme.profiles = ['a', 'a']", "acme.profiles", "there twice"},
		{"acme.challenges = []", "acme.challenges", "at least one of"},
		{"acme.challenges = ['http-02']", "acme.challenges", "is not one of http-01"},
		{"acme.terms = 'ftp://x'", "acme.terms", "https://HOST/PATH"},
		{"acme.website = 'https://'", "acme.website", "https://HOST/PATH"},
		{"caa.mode = 'maybe'", "caa.mode", "not one of enforce, report, off"},
		{"caa.mode = 'enforce'", "caa.mode", "acme.caa_identities"},
		{"caa.mode = 'report'", "caa.mode", "acme.caa_identities"},
		{"caa.lines = ['devices=enforce']", "caa.lines", "acme.caa_identities"},
		{"caa.lines = ['devices']", "caa.lines", "LINE=MODE"},
		{"caa.lines = ['a=off', 'a=report']", "caa.lines", "there twice"},
		{"caa.resolvers = ['dns.example']", "caa.resolvers", "no DNS server"},
		{"caa.trusted = ['tls://10.0.0.53']", "caa.trusted", "no address"},
		{"acme.caa_identities = ['10.0.0.1x']\ncaa.parameters = 1", "caa.parameters", "true or false"},
		{"acme.caa_identities = ['CA.example']", "acme.caa_identities", "lower case"},
		{"acme.well_known = 'moved'", "acme.well_known", "is not one of directory, redirect"},
		{"acme.require_binding = true", "acme.require_binding", "set require_eab instead"},
		{"acme.directory = 'ev'", "acme.directory", "write [[acme.directory]]"},
		{"acme.directory = ['ev']", "acme.directory", "write [[acme.directory]]"},
		{"[acme.directory]\nname = 'ev'", "acme.directory", "write [[acme.directory]]"},
		{"[[acme.directory]]\n", "acme.directory[1]", ":1:3: acme.directory[1]: needs a name"},
		{"[[acme.directory]]\nname = 'a'\n[[acme.directory]]\n\nname = 'A'", "acme.directory[2].name", ":5:1: acme.directory[2].name: \"A\" cannot stand"},
		{"[[acme.directory]]\nname = 'a'\n[[acme.directory]]\nname = 'a'", "acme.directory[2].name", "of another directory"},
		{"[[acme.directory]]\nname = 'a'\nhost = 'x'", "acme.directory[1].host", "did you mean acme.directory[1].hosts?"},
		{"[[acme.directory]]\nname = 'a'\nhosts = 'x'", "acme.directory[1].hosts", "a list in [ ]"},
		{"[[acme.directory]]\nname = 'a'\nhosts = ['x:1']", "acme.directory[1].hosts", "no host name"},
		{"[[acme.directory]]\nname = 'a'\nhosts = ['x']\n[[acme.directory]]\nname = 'b'\nhosts = ['x']", "acme.directory[2].hosts", "one directory only"},
		{"[[acme.directory]]\nname = 'a'\nprofiles = ['X']", "acme.directory[1].profiles", "no profile name"},
		{"[[acme.directory]]\nname = 'a'\nterms = 'x'", "acme.directory[1].terms", "web page"},
		{"[[acme.directory]]\nname = 'a'\ncaa_identities = ['x;']", "acme.directory[1].caa_identities", "no domain name"},
		{"mail.from = 'a@b'", "mail.server", "must be set"},
		{"[mail]\nserver = 'mail'\nfrom = 'a@b.example'", "mail.server", "HOST:PORT"},
		{"[mail]\nserver = 'mail.example:25'\nfrom = 'a@b.example'\ntls = 'none'", "mail.tls", "on loopback"},
		{"[mail]\nserver = 'mail.example:25'\nfrom = 'A <a@b.example>'", "mail.from", "no mail address"},
		{"[mail]\nserver = 'mail.example:25'\nfrom = 'a@b.example'\nuser = 'u'", "mail.user", "go together"},
		{"[mail]\nserver = 'mail.example:25'\nfrom = 'a@b.example'\nuser = 'u'\npassword = 'secret'", "mail.password", "secrets are not written here"},
		{"[mail]\nserver = 'localhost:25'\ntls = 'none'\nfrom = 'a@b.example'\nuser = 'u'\npassword = 'file:p'", "mail.user", "in the clear"},
		{"acme.binding_life = '1s'", "acme.binding_life", "choose from"},
		{"acme.order_life = 48", "acme.order_life", "text in quotes"},
		{"acme.order_life = 1979-05-27", "acme.order_life", "a date or time"},
		{"acme.order_life = '48'", "acme.order_life", "units"},
		{"acme.order_life = '-3h'", "acme.order_life", "not be negative"},
		{"acme.order_life = '9999999d'", "acme.order_life", "up to 36525"},
		{"acme.order_life = '1s'", "acme.order_life", "choose from 1m to 90d"},
		{"acme.http01_port = 65536", "acme.http01_port", "out of range"},
		{"listen.public = ''", "listen.public", "must not be empty"},
		{"listen.public = '8443'", "listen.public", "write HOST:PORT"},
		{"listen.public = '127.0.0.1:70000'", "listen.public", "write HOST:PORT"},
		{"listen.status = '127.0.0.1:8443'", "listen.status", "is already listen.public"},
		{"listen.public = ':8443'", "url.base", "as listen.public is not on loopback"},
		{"listen.metrics = '0.0.0.0:1'", "url.status", "as listen.metrics is not on loopback"},
		{"url.base = 'https://ca.corp.internal'", "url.status", "as url.base is not on loopback"},
		{"url.status = 'http://10.1.2.3'", "url.base", "as url.status is not on loopback"},
		{"url.status = 'http://localhost.corp.internal'", "url.base", "as url.status is not on loopback"},
		{"url.base = 'http://x'", "url.base", "must begin with https://"},
		{"url.status = 'https://x'", "url.status", "must begin with http://"},
		{"url.base = 'https://x/acme'", "url.base", "and nothing more"},
		{"url.base = 'https://u@x'", "url.base", "and nothing more"},
		{"url.base = 'https://x?y'", "url.base", "and nothing more"},
		{"url.base = 'https://X'", "url.base", "lower case"},
		{"url.base = 'https://a_b'", "url.base", "neither a host name"},
		{"url.base = 'https://x:0'", "url.base", "out of range"},
		{"url.base = 'x'", "url.base", "is no URL"},
		{"database.url = 'mysql://x'", "database.url", "must begin with postgres://"},
		{"database.url = 'postgres://h'", "database.url", "names no database"},
		{"database.password = 'file:x'", "database.password", "SQLite has no password"},
		{"database.max_connections = 0", "database.max_connections", "out of range"},
		{"keys.unlock = 'file:'", "keys.unlock", "needs a name"},
		{"keys.unlock = 'credential:a/b'", "keys.unlock", "without slashes"},
		{"hierarchy.root_key = 'rsa-1024'", "hierarchy.root_key", "is not one of ecdsa-p256"},
		{"hierarchy.issuer_life = '8000d'", "hierarchy.issuer_life", "nothing outlives its root"},
		{"hierarchy.domains = ['*.x']", "hierarchy.domains", "without \"*.\""},
		{"hierarchy.domains = ['corp.internal']\n[url]\nbase = 'https://ca.corp.example'\nstatus = 'http://x'", "hierarchy.domains", "ca.corp.example of url.base is not below any of them"},
		{"hierarchy.domains = ['corp.internal']\n[url]\nbase = 'https://evilcorp.internal'\nstatus = 'http://x'", "hierarchy.domains", "not below any of them"},
		{"hierarchy.domains = ['corp.internal']\n[url]\nbase = 'https://192.0.2.1'\nstatus = 'http://x'", "hierarchy.domains", "only private addresses"},
		{"hierarchy.organization = ' '", "hierarchy.organization", "1 to 64 characters"},
		{"hierarchy.crl_shards = 0", "hierarchy.crl_shards", "out of range"},
		{"validation.allow = ['10.0.0.1/8']", "validation.allow", "write 10.0.0.0/8"},
		{"validation.deny = ['10.0.0.1']", "validation.deny", "is no network"},
		{"validation.resolvers = ['dns']", "validation.resolvers", "write its address"},
		{"validation.timeout = '1h'", "validation.timeout", "choose from"},
		{"status.crl_refresh = '6d'", "status.crl_refresh", "more than half of crl_life"},
		{"status.max_age = '2d'", "status.max_age", "choose from 1s to 1d"},
		{"status.max_age = '0s'", "status.max_age", "choose from 1s to 1d"},
		{"limits.orders_per_account = '5'", "limits.orders_per_account", "as \"300/3h\""},
		{"limits.orders_per_account = '0/1h'", "limits.orders_per_account", "\"0\" for no limit"},
		{"log.level = 'loud'", "log.level", "debug, info, warn, error"},
	} {
		t.Run(test.text, func(t *testing.T) {
			_, _, err := parse(test.text)
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("%v", err)
			}
			found := slices.ContainsFunc(problems, func(p Problem) bool {
				return p.Key == test.key && strings.Contains(p.Error(), test.want)
			})
			if !found {
				t.Errorf("no problem of %q with %q in:\n%v", test.key, test.want, err)
			}
		})
	}
}

func TestProblemsComeTogetherInOrder(t *testing.T) {
	_, _, err := parse("b = 1\n[log]\nx = 1\n[acme]\nrequire_eab = 3", "CHANCERY_ACME_MAX_NAMES=many")
	problem, ok := errors.AsType[Problem](err)
	if !ok || problem.Key != "b" {
		t.Errorf("first problem is %+v", problem)
	}
	var got []string
	for line := range strings.Lines(err.Error()) {
		got = append(got, strings.SplitN(line, ": ", 3)[1])
	}
	if want := []string{"b", "log.x", "acme.require_eab", "acme.max_names"}; !slices.Equal(got, want) {
		t.Errorf("keys %q, want %q", got, want)
	}
}

// What stands where a reference belongs may be the secret itself.
func TestSecretsAreNotRepeated(t *testing.T) {
	const secret = "hunter2"
	for _, text := range []string{
		"keys.unlock = 'hunter2'",
		"database.password = 'hunter2'",
		"database.url = 'postgres://u:hunter2@h/n'",
		"database.url = 'postgres://u@h/n?password=hunter2'",
		"database.url = 'postgres://u@h/n?x=%zz&password=hunter2'",
		"database.url = 'postgres://u:hunter2@h:port/n'",
		"database.url = 'user=u password=hunter2'",
	} {
		_, _, err := parse(text)
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", text, err)
		}
	}
	c := Default()
	c.Database.URL = "postgres://u:hunter2@h/n"
	var out bytes.Buffer
	if err := c.Effective(&out); err != nil || strings.Contains(out.String(), secret) {
		t.Errorf("error %v, output %s", err, out.String())
	}
}

func TestEnvironment(t *testing.T) {
	c, warnings, err := parse("data = '/x'\n[acme]\nmax_names = 3",
		"STATE_DIRECTORY=/var/lib/chancery:/var/lib/other", "HOME=/", "CHANCERY_ACME_MAX_NAMES=4",
		"CHANCERY_ACME_PROFILES=a, b", "CHANCERY_ACME_REQUIRE_EAB=true", "CHANCERY_ACME_ORDER_LIFE=2d",
		"CHANCERY_VALIDATION_ALLOW=127.0.0.0/8", "CHANCERY_LISTEN_PUBLI=x",
		"CHANCERY_CRASH_AT=sign", "CHANCERY_TEST_POSTGRES=x", "CHANCERY_PEERS=required")
	if err != nil {
		t.Fatal(err)
	}
	if c.Data != "/x" || c.ACME.MaxNames != 4 || !slices.Equal(c.ACME.Profiles, []string{"a", "b"}) || !c.ACME.RequireEAB ||
		c.ACME.OrderLife.Std() != 48*time.Hour || len(c.Validation.Allow) != 1 {
		t.Errorf("%+v", *c)
	}
	if len(warnings) != 1 || warnings[0].Key != "CHANCERY_LISTEN_PUBLI" || !strings.Contains(warnings[0].String(), "CHANCERY_LISTEN_PUBLIC") {
		t.Errorf("warnings %v", warnings)
	}
	for _, bad := range []string{"CHANCERY_ACME_MAX_NAMES=x", "CHANCERY_ACME_REQUIRE_EAB=1", "CHANCERY_LOG_LEVEL=x", "CHANCERY_ACME_ORDER_LIFE=3"} {
		name, _, _ := strings.Cut(bad, "=")
		if _, _, err := parse("", bad); err == nil || !strings.HasPrefix(err.Error(), "environment variable "+name+": ") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestStateDirectory(t *testing.T) {
	c, _, err := parse("", "STATE_DIRECTORY=/var/lib/chancery:/x")
	if err != nil || c.Data != "/var/lib/chancery" {
		t.Errorf("data %q, error %v", c.Data, err)
	}
}

func TestLoadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.toml")
	if _, _, err := Load(path, Overrides{}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("data = 'd'\nlisten.public = 'x'"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := Load(path, Overrides{Data: "other", Listen: "127.0.0.1:99"}, []string{"CHANCERY_DATA=third"})
	if err != nil || c.Data != "other" || c.URL.Base != "https://localhost:99" {
		t.Errorf("%+v, error %v", c, err)
	}
	_, _, err = Load("", Overrides{Listen: "99"}, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "command line: listen.public: ") {
		t.Errorf("bad --listen: %v", err)
	}
}

func TestOddities(t *testing.T) {
	_, warnings, err := parse("[listen]\npublic=':1'\nmetrics=':2'\n[url]\nbase='https://localhost'\nstatus='http://x'\n[acme]\nhttp01_port=8080\nbind_by_mail=true")
	if err != nil || len(warnings) != 4 {
		t.Errorf("warnings %v, error %v", warnings, err)
	}
}

func TestEffective(t *testing.T) {
	_, _, err := parse("data = '/d'\n[hierarchy]\norganization = \"A \\\"b\\\" \\u007f<&> ü\"", "CHANCERY_LOG_LEVEL=warn")
	if err == nil {
		t.Fatal("a control character in a name was allowed")
	}
	c, _, err := parse("data = '/d'\n[hierarchy]\norganization = 'A \"b\" \\<&> ü'\n[[acme.directory]]\nname = 'ev'", "CHANCERY_LOG_LEVEL=warn")
	if err != nil {
		t.Fatal(err)
	}
	text := effective(t, c)
	for _, want := range []string{
		"\n[listen]\n", "data = \"/d\" # set by /etc/chancery/chancery.toml:1\n",
		"level = \"warn\" # set by environment variable CHANCERY_LOG_LEVEL\n", "\n# HTTPS for clients.",
		"root_life = \"7300d\"\n", "accounts_per_address = \"500/3h\"\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	again, _, err := parse(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if live, restart := Differences(c, again); len(live)+len(restart) > 0 || again.Hierarchy.Organization != c.Hierarchy.Organization {
		t.Errorf("read again, %v and %v differ", live, restart)
	}
}

func effective(t *testing.T, c *Config) string {
	t.Helper()
	var out bytes.Buffer
	if err := c.Effective(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// A key without a manual, or without a name of its own, is a bug.
func TestEveryKeyIsDocumented(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sections(Default()) {
		if s.name != "" && comments()[s.owner] == "" {
			t.Errorf("section %s has no comment", s.name)
		}
		tables := s.fields
		for _, f := range s.lists {
			tables = append(append(tables, f), leaves(f.key, blank(f.value.Type(), 1).Index(0))...)
		}
		for _, f := range tables {
			if comments()[f.owner] == "" {
				t.Errorf("key %s has no comment", f.key)
			}
			if seen[variable(f.key)] || strings.HasSuffix(f.key, ".") {
				t.Errorf("key %s has no name of its own", f.key)
			}
			seen[variable(f.key)] = true
		}
	}
	if len(seen) < 30 {
		t.Errorf("only %d keys found", len(seen))
	}
}

func TestDifferences(t *testing.T) {
	old, _, err := parse("")
	if err != nil {
		t.Fatal(err)
	}
	new, _, err := parse("log.level = 'debug'\nlog.format = 'json'\nacme.profiles = ['x']\nhierarchy.organization = 'x'\nlisten.public = '127.0.0.1:1'\nvalidation.workers = 5")
	if err != nil {
		t.Fatal(err)
	}
	new.ACME.Directories = append(new.ACME.Directories, Directory{Name: "ev"})
	live, restart := Differences(old, new)
	if !slices.Equal(live, []string{"acme.profiles", "acme.directory", "validation.workers", "log.level"}) {
		t.Errorf("live %v", live)
	}
	if !slices.Equal(restart, []string{"listen.public", "url.base", "url.status", "log.format"}) {
		t.Errorf("restart %v", restart)
	}
}

func FuzzLoad(f *testing.F) {
	var whole bytes.Buffer
	if err := Default().Effective(&whole); err != nil {
		f.Fatal(err)
	}
	f.Add(whole.String())
	f.Add("data = 'x'\n[listen]\npublic = ':1'")
	f.Add("[[acme.directory]]\nname = 'a'\nhosts = ['x']\n[[acme.directory]]\nname = 'b'")
	f.Add("[[a]]\nb = [{c = 1}]\n'x.y' = 1e9")
	f.Add("acme = {max_names = 1, order_life = '1d1h'}")
	f.Fuzz(func(t *testing.T, text string) {
		in := input{name: "/f/c.toml", text: []byte(text), overrides: Overrides{Data: "/d"}}
		c, _, err := load(in)
		if err != nil {
			var problems Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("not Problems: %v", err)
			}
			return
		}
		in.text = []byte(effective(t, c))
		again, _, err := load(in)
		if err != nil {
			t.Fatalf("own output is refused: %v\n%s", err, in.text)
		}
		c.origins, again.origins = nil, nil
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("read again, it is another\n%s", in.text)
		}
	})
}

func FuzzDuration(f *testing.F) {
	for _, seed := range []string{"48h", "90d", "1d12h", "1h30m", "0s", "36525d", "1d-1h", "1.5h", "d", "2562047h47m16.854775807s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDuration(text)
		if err != nil {
			return
		}
		if d < 0 || d.Std() > longest {
			t.Fatalf("%q is %d", text, d)
		}
		if again, err := ParseDuration(d.String()); err != nil || again != d {
			t.Fatalf("%q prints as %q: %v, %v", text, d, again, err)
		}
	})
}

func FuzzRate(f *testing.F) {
	for _, seed := range []string{"0", "300/3h", "1/1s", "5/", "/", "2147483647/36525d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRate(text)
		if err != nil {
			return
		}
		if again, err := ParseRate(r.String()); err != nil || again != r {
			t.Fatalf("%q prints as %q: %v, %v", text, r, again, err)
		}
	})
}

// Who may write the configuration decides what is certified.
func TestConfigurationOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chancery.toml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(path, Overrides{}, nil); err == nil || !strings.Contains(err.Error(), "chmod go-w "+path) {
		t.Errorf("%v", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("the rest needs root, to give files to another user")
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.Chown(path, 54321, 54321)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(path, Overrides{}, nil); err == nil || !strings.Contains(err.Error(), "belongs to user 54321") {
		t.Errorf("%v", err)
	}
}
