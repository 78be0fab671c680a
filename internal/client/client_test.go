package client

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"
	"unsafe"

	"chancery/acme"
	"chancery/internal/enroll"
	"chancery/internal/enroll/install"
	"chancery/internal/enroll/settings"
	"chancery/internal/enroll/solve"
	"chancery/internal/resolver"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What client.toml says where it says nothing is what the engine does by itself.
func TestDefaultsAgree(t *testing.T) {
	said, err := engineSettings(settings.Default(nil))
	check(t, err)
	own := enroll.Defaults()
	for name, pair := range map[string][2]any{
		"retry.per_ca": {said.Patience, own.Patience}, "retry.attempts": {said.Tries, own.Tries},
		"retry.pause": {said.FirstPause, own.FirstPause}, "retry.longest": {said.LongestPause, own.LongestPause},
		"renew.before": {said.RenewBefore, own.RenewBefore}, "breaker.failures": {said.BreakAfter, own.BreakAfter},
		"breaker.pause": {said.BreakFor, own.BreakFor}, "notify.after": {said.TellAfter, own.TellAfter},
		"discovery.rules": {said.Rules, own.Rules},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: settings %v, engine %v", name, pair[0], pair[1])
		}
	}
	manual, err := os.ReadFile("../../docs/client.md")
	check(t, err)
	minutes, tries := int(own.Patience/time.Minute), own.Tries
	if want := fmt.Sprintf("at most %d minutes and %d tries", minutes, tries); !strings.Contains(string(manual), want) {
		t.Errorf("docs/client.md does not say %q", want)
	}
}

// hoster is a provider as it could be built in.
type hoster struct {
	solve.Provider `json:"-"`
	Endpoint       string `json:"endpoint"`
	Token          string `json:"token"`
}

func TestMain(m *testing.M) {
	solve.Providers["sample"] = func() solve.Provider { return new(hoster) }
	os.Exit(m.Run())
}

// sample is a client.toml in which everything is set up, so that each setting matters.
func sample(t *testing.T, dir string) *settings.Settings {
	t.Helper()
	text := `
contacts = ["a@corp.example"]
[dns]
resolvers = ["192.0.2.1"]
propagation = ["192.0.2.1"]
[challenge]
tls = ":443"
dns_default = ""
[[challenge.dns]]
label = "updates"
kind = "rfc2136"
server = "192.0.2.1"
key_name = "key.corp.example"
key = "file:one"
[[challenge.dns]]
label = "program"
kind = "exec"
command = ["/bin/true"]
[[challenge.dns]]
label = "built-in"
kind = "sample"
options = { endpoint = "one" }
secrets = { token = "file:one" }
[[ca]]
label = "one"
issuers = ["one.example"]
directory = "https://one.example/d"
[ca.eab]
key_id = "k"
key = "file:mac"
[notify.mail]
server = "mail.corp.example:587"
from = "a@corp.example"
to = ["a@corp.example"]
user = "u"
password = "file:one"
[notify.webhook]
url_from = "file:url"
[notify.exec]
command = ["/bin/true"]
[notify.syslog]
enabled = true
server = "udp://192.0.2.1:514"
[[certificate]]
names = ["a.example"]
[certificate.install]
key = "/x/key.pem"
[certificate.hooks]
pre = "true"
deploy = "true"
post = "true"
failure = "true"
`
	s, err := settings.Parse(filepath.Join(dir, "client.toml"), []byte(text), []string{"HOME=" + dir, "STATE_DIRECTORY=" + filepath.Join(dir, "data")})
	check(t, err)
	return s
}

// changes are other values, by their keys in the file.
func changes(dir string) map[string]func(*settings.Settings) {
	file := func(name string) settings.Reference { return settings.Reference("file:" + filepath.Join(dir, name)) }
	ca := func(do func(*settings.CA)) func(*settings.Settings) {
		return func(s *settings.Settings) { do(&s.CAs[0]) }
	}
	provider := func(i int, do func(*settings.Provider)) func(*settings.Settings) {
		return func(s *settings.Settings) { do(&s.Challenge.DNS[i]) }
	}
	cert := func(do func(*settings.Certificate)) func(*settings.Settings) {
		return func(s *settings.Settings) { do(&s.Certificates[0]) }
	}
	into := func(do func(*settings.Install)) func(*settings.Settings) {
		return cert(func(c *settings.Certificate) { do(&c.Install) })
	}
	roots := filepath.Join(dir, "roots.pem")
	return map[string]func(*settings.Settings){
		"data":                     func(s *settings.Settings) { s.Data = filepath.Join(dir, "other") },
		"contacts":                 func(s *settings.Settings) { s.Contacts = []string{"b@corp.example"} },
		"account_key":              func(s *settings.Settings) { s.AccountKey = "rsa-2048" },
		"dns.resolvers":            func(s *settings.Settings) { s.DNS.Resolvers = []string{"192.0.2.2"} },
		"dns.trusted":              func(s *settings.Settings) { s.DNS.Trusted = []string{"192.0.2.1"} },
		"dns.dnssec":               func(s *settings.Settings) { s.DNS.DNSSEC = "off" },
		"dns.forgive_failures":     func(s *settings.Settings) { s.DNS.ForgiveFailures = true },
		"dns.propagation":          func(s *settings.Settings) { s.DNS.Propagation = []string{"192.0.2.2"} },
		"discovery.enabled":        func(s *settings.Settings) { s.Discovery.Enabled = false },
		"discovery.rules":          func(s *settings.Settings) { s.Discovery.Rules = "03" },
		"discovery.default":        func(s *settings.Settings) { s.Discovery.Default = false },
		"discovery.caa_identities": func(s *settings.Settings) { s.Discovery.CAAIdentities = "ignore" },
		"discovery.allow_private":  func(s *settings.Settings) { s.Discovery.AllowPrivate = true },
		"discovery.allow":          func(s *settings.Settings) { s.Discovery.Allow = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} },
		"discovery.agree_tos":      func(s *settings.Settings) { s.Discovery.AgreeTerms = "ask" },
		"discovery.only":           func(s *settings.Settings) { s.Discovery.Only = []string{"one.example"} },
		"discovery.roots":          func(s *settings.Settings) { s.Discovery.Roots = roots },
		"ca.label":                 ca(func(c *settings.CA) { c.Label = "two" }),
		"ca.issuers":               ca(func(c *settings.CA) { c.Issuers = []string{"two.example"} }),
		"ca.directory":             ca(func(c *settings.CA) { c.Directory = "https://two.example/d" }),
		"ca.default":               ca(func(c *settings.CA) { c.Default = true }),
		"ca.priority":              ca(func(c *settings.CA) { c.Priority = 9 }),
		"ca.roots":                 ca(func(c *settings.CA) { c.Roots = roots }),
		"ca.allow_private":         ca(func(c *settings.CA) { c.AllowPrivate = true }),
		"ca.caa_identities":        ca(func(c *settings.CA) { c.CAAIdentities = "ignore" }),
		"ca.profiles":              ca(func(c *settings.CA) { c.Profiles = map[string]string{"default": "x"} }),
		"ca.policies":              ca(func(c *settings.CA) { c.Policies = map[string][]string{"ca-ev": {"1.2.3"}} }),
		"ca.account_key":           ca(func(c *settings.CA) { c.AccountKey = "rsa-2048" }),
		"ca.agree_tos":             ca(func(c *settings.CA) { c.AgreeTerms = true }),
		"ca.contacts":              ca(func(c *settings.CA) { c.Contacts = []string{"b@corp.example"} }),
		"ca.eab.key_id":            ca(func(c *settings.CA) { c.EAB.KeyID = "other" }),
		"ca.eab.key":               ca(func(c *settings.CA) { c.EAB.Key = file("mac2") }),
		"ca.eab.algorithm":         ca(func(c *settings.CA) { c.EAB.Algorithm = "HS512" }),
		"challenge.types":          func(s *settings.Settings) { s.Challenge.Types = []string{"dns-01"} },
		"challenge.http":           func(s *settings.Settings) { s.Challenge.HTTP = ":8080" },
		"challenge.webroot":        func(s *settings.Settings) { s.Challenge.Webroot = dir },
		"challenge.tls":            func(s *settings.Settings) { s.Challenge.TLS = ":8443" },
		"challenge.dns_default":    func(s *settings.Settings) { s.Challenge.DNSDefault = "program" },
		"challenge.persist":        func(s *settings.Settings) { s.Challenge.Persist = true },
		"challenge.dns.label":      func(s *settings.Settings) { s.Challenge.DNSDefault = "x"; s.Challenge.DNS[0].Label = "x" },
		"challenge.dns.kind":       provider(0, func(p *settings.Provider) { p.Kind, p.Command = "exec", []string{"/bin/true"} }),
		"challenge.dns.zones":      provider(0, func(p *settings.Provider) { p.Zones = []string{"corp.example"} }),
		"challenge.dns.server":     provider(0, func(p *settings.Provider) { p.Server = "192.0.2.2" }),
		"challenge.dns.key_file": provider(0, func(p *settings.Provider) {
			p.KeyFile, p.KeyName, p.Key = filepath.Join(dir, "tsig"), "", ""
		}),
		"challenge.dns.key_name": provider(0, func(p *settings.Provider) { p.KeyName = "x.corp.example" }),
		"challenge.dns.key_algorithm": provider(0, func(p *settings.Provider) {
			p.KeyAlgorithm = "hmac-sha512"
		}),
		"challenge.dns.key":         provider(0, func(p *settings.Provider) { p.Key = file("two") }),
		"challenge.dns.command":     provider(1, func(p *settings.Provider) { p.Command = []string{"/bin/false"} }),
		"challenge.dns.options":     provider(2, func(p *settings.Provider) { p.Options = map[string]string{"endpoint": "two"} }),
		"challenge.dns.secrets":     provider(2, func(p *settings.Provider) { p.Secrets["token"] = file("two") }),
		"challenge.dns.propagation": provider(0, func(p *settings.Provider) { p.Propagation = "9m" }),
		"renew.before":              func(s *settings.Settings) { s.Renew.Before = 0.5 },
		"renew.ari":                 func(s *settings.Settings) { s.Renew.ARI = false },
		"renew.allow_ca_change":     func(s *settings.Settings) { s.Renew.AllowCAChange = true },
		"renew.pin_ca":              func(s *settings.Settings) { s.Renew.PinCA = true },
		"renew.jitter":              func(s *settings.Settings) { s.Renew.Jitter = "9m" },
		"renew.workers":             func(s *settings.Settings) { s.Renew.Workers = 9 },
		"retry.attempts":            func(s *settings.Settings) { s.Retry.Attempts = 9 },
		"retry.pause":               func(s *settings.Settings) { s.Retry.Pause = "9s" },
		"retry.longest":             func(s *settings.Settings) { s.Retry.Longest = "9m" },
		"retry.per_ca":              func(s *settings.Settings) { s.Retry.PerCA = "9m" },
		"retry.total":               func(s *settings.Settings) { s.Retry.Total = "9h" },
		"breaker.failures":          func(s *settings.Settings) { s.Breaker.Failures = 9 },
		"breaker.pause":             func(s *settings.Settings) { s.Breaker.Pause = "9m" },
		"notify.after":              func(s *settings.Settings) { s.Notify.After = 9 },
		"notify.mail.server":        func(s *settings.Settings) { s.Notify.Mail.Server = "mail2.corp.example:587" },
		"notify.mail.security":      func(s *settings.Settings) { s.Notify.Mail.Security = "tls" },
		"notify.mail.from":          func(s *settings.Settings) { s.Notify.Mail.From = "b@corp.example" },
		"notify.mail.to":            func(s *settings.Settings) { s.Notify.Mail.To = []string{"b@corp.example"} },
		"notify.mail.user":          func(s *settings.Settings) { s.Notify.Mail.User = "v" },
		"notify.mail.password":      func(s *settings.Settings) { s.Notify.Mail.Password = file("two") },
		"notify.webhook.url":        func(s *settings.Settings) { s.Notify.Webhook.URL, s.Notify.Webhook.URLFrom = "https://x.example/2", "" },
		"notify.webhook.url_from":   func(s *settings.Settings) { s.Notify.Webhook.URLFrom = file("url2") },
		"notify.webhook.token":      func(s *settings.Settings) { s.Notify.Webhook.Token = file("two") },
		"notify.webhook.secret":     func(s *settings.Settings) { s.Notify.Webhook.Secret = file("two") },
		"notify.exec.command":       func(s *settings.Settings) { s.Notify.Exec.Command = []string{"/bin/false"} },
		"notify.exec.timeout":       func(s *settings.Settings) { s.Notify.Exec.Timeout = "9m" },
		"notify.syslog.enabled":     func(s *settings.Settings) { s.Notify.Syslog.Enabled = false },
		"notify.syslog.server":      func(s *settings.Settings) { s.Notify.Syslog.Server = "udp://192.0.2.2:514" },

		"certificate.name":            cert(func(c *settings.Certificate) { c.Name = "x" }),
		"certificate.names":           cert(func(c *settings.Certificate) { c.Names = []string{"b.example"} }),
		"certificate.key_type":        cert(func(c *settings.Certificate) { c.KeyType = "rsa-2048" }),
		"certificate.reuse_key":       cert(func(c *settings.Certificate) { c.ReuseKey = true }),
		"certificate.profile":         cert(func(c *settings.Certificate) { c.Profile = "x" }),
		"certificate.ca":              cert(func(c *settings.Certificate) { c.CA = "one" }),
		"certificate.pin_ca":          cert(func(c *settings.Certificate) { c.PinCA = true }),
		"certificate.allow_ca_change": cert(func(c *settings.Certificate) { c.AllowCAChange = true }),
		"certificate.challenges":      cert(func(c *settings.Certificate) { c.Challenges = []string{"dns-01"} }),
		"certificate.webroot":         cert(func(c *settings.Certificate) { c.Webroot = dir }),
		"certificate.dns":             cert(func(c *settings.Certificate) { c.DNS = "program" }),
		"certificate.disabled":        cert(func(c *settings.Certificate) { c.Disabled = true }),
		"certificate.hooks.pre":       cert(func(c *settings.Certificate) { c.Hooks.Pre = settings.Command{} }),
		"certificate.hooks.deploy":    cert(func(c *settings.Certificate) { c.Hooks.Deploy = settings.Command{} }),
		"certificate.hooks.post":      cert(func(c *settings.Certificate) { c.Hooks.Post = settings.Command{} }),
		"certificate.hooks.failure":   cert(func(c *settings.Certificate) { c.Hooks.Failure = settings.Command{} }),
		"certificate.hooks.timeout":   cert(func(c *settings.Certificate) { c.Hooks.Timeout = "9m" }),

		"certificate.install.cert":            into(func(i *settings.Install) { i.Cert = "/x/cert.pem" }),
		"certificate.install.key":             into(func(i *settings.Install) { i.Key = "/x/other.pem" }),
		"certificate.install.chain":           into(func(i *settings.Install) { i.Chain = "/x/chain.pem" }),
		"certificate.install.fullchain":       into(func(i *settings.Install) { i.FullChain = "/x/full.pem" }),
		"certificate.install.combined":        into(func(i *settings.Install) { i.Combined = "/x/all.pem" }),
		"certificate.install.pkcs12":          into(func(i *settings.Install) { i.PKCS12, i.PKCS12Password = "/x/p12", file("one") }),
		"certificate.install.pkcs12_password": into(func(i *settings.Install) { i.PKCS12Password = file("two") }),
		"certificate.install.pkcs12_legacy":   into(func(i *settings.Install) { i.PKCS12Legacy = true }),
		"certificate.install.owner":           into(func(i *settings.Install) { i.Owner = "daemon" }),
		"certificate.install.group":           into(func(i *settings.Install) { i.Group = "daemon" }),
		"certificate.install.mode":            into(func(i *settings.Install) { i.Mode = "0640" }),
		"certificate.install.key_mode":        into(func(i *settings.Install) { i.KeyMode = "0640" }),
	}
}

// Each setting changes something of what the client is made of.
func TestEverySettingMatters(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"one": "b25l", "two": "dHdv", "mac": "bWFj", "mac2": "bWFjMg", "url": "https://x.example/1", "url2": "https://x.example/2"} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	check(t, os.WriteFile(filepath.Join(dir, "roots.pem"), root(t), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "tsig"), []byte(`key "x.corp.example" { algorithm hmac-sha512; secret "b25l"; };`), 0o600))
	rows := changes(dir)
	plain := made(t, sample(t, dir))
	if again := made(t, sample(t, dir)); again != plain {
		t.Fatal("two clients of the same settings differ: the comparison is worth nothing")
	}
	var keys []string
	leaves(reflect.TypeFor[settings.Settings](), "", &keys)
	for _, key := range keys {
		change := rows[key]
		if change == nil {
			t.Errorf("%s: no test changes it", key)
			continue
		}
		delete(rows, key)
		s := sample(t, dir)
		change(s)
		if err := s.Check(); err != nil && key != "certificate.install.pkcs12_password" {
			t.Errorf("%s: the other value is wrong: %v", key, err)
		}
		if made(t, s) == plain {
			t.Errorf("%s does nothing", key)
		}
	}
	for key := range rows {
		t.Errorf("%s is no setting", key)
	}
}

// leaves lists the keys that hold values, by the tags of the fields.
func leaves(of reflect.Type, prefix string, keys *[]string) {
	for f := range of.Fields() {
		name, tagged := f.Tag.Lookup("toml")
		inner := f.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		switch {
		case !tagged:
		case inner.Kind() == reflect.Struct && inner.PkgPath() == of.PkgPath() && f.Type != reflect.TypeFor[settings.Command]():
			leaves(inner, prefix+name+".", keys)
		default:
			*keys = append(*keys, prefix+name)
		}
	}
}

// made tells what a client of these settings works with.
func made(t *testing.T, s *settings.Settings) string {
	t.Helper()
	c, err := Open(t.Context(), Options{Settings: s})
	check(t, err)
	defer c.ways.close()
	said, err := engineSettings(s)
	check(t, err)
	dns, err := resolver.New(resolver.Config{Servers: s.DNS.Resolvers, Trusted: s.DNS.Trusted, MixCase: true})
	check(t, err)
	answers, err := newSolvers(s, dns, "")
	check(t, err)
	channels, err := channels(s.Notify)
	check(t, err)
	parts, err := c.Parts()
	check(t, err)
	all := []any{c.Vault.Dir(), c.DNS, said, c.ways.policies, believed(s, dns), forgive(s, nil), channels,
		parts.Settings, parts.Wanted, parts.Disabled}
	for _, sheet := range parts.Wanted {
		set, err := answers.of(sheet)
		check(t, err)
		all = append(all, set)
	}
	lookup := bindings(s)
	for _, name := range []string{"one.example", "two.example", "https://one.example/d", "https://two.example/d"} {
		if external, err := lookup(name); err == nil {
			all = append(all, name, external.KeyID, external.Key, external.Algorithm)
		}
	}
	var b strings.Builder
	tell(&b, reflect.ValueOf(all), map[unsafe.Pointer]bool{})
	return b.String()
}

// tell writes a value, with what it points to and what its functions give.
func tell(b *strings.Builder, v reflect.Value, seen map[unsafe.Pointer]bool) {
	if v.IsValid() && !v.CanInterface() && v.CanAddr() {
		v = reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem()
	}
	switch v.Kind() {
	case reflect.Invalid:
		b.WriteString("nil")
	case reflect.Pointer:
		if v.IsNil() || seen[v.UnsafePointer()] {
			b.WriteString("-")
			return
		}
		seen[v.UnsafePointer()] = true
		tell(b, v.Elem(), seen)
	case reflect.Interface:
		if !v.IsNil() {
			fmt.Fprintf(b, "(%v)", v.Elem().Type())
		}
		if inner := v.Elem(); v.CanInterface() && inner.IsValid() { // a copy has an address
			whole := reflect.New(inner.Type()).Elem()
			whole.Set(inner)
			tell(b, whole, seen)
			return
		}
		tell(b, v.Elem(), seen)
	case reflect.Struct:
		fmt.Fprintf(b, "%v{", v.Type())
		for i := range v.NumField() {
			tell(b, v.Field(i), seen)
			b.WriteByte(' ')
		}
		b.WriteByte('}')
	case reflect.Slice, reflect.Array:
		b.WriteByte('[')
		for i := range v.Len() {
			tell(b, v.Index(i), seen)
			b.WriteByte(' ')
		}
		b.WriteByte(']')
	case reflect.Map:
		keys := v.MapKeys()
		sort.Slice(keys, func(i, j int) bool { return fmt.Sprint(keys[i]) < fmt.Sprint(keys[j]) })
		for _, key := range keys {
			fmt.Fprintf(b, "%v:", key)
			tell(b, v.MapIndex(key), seen)
		}
	case reflect.Func:
		fmt.Fprintf(b, "func %t", !v.IsNil())
		if !v.IsNil() && v.CanInterface() && v.Type().NumIn() == 0 && v.Type().NumOut() > 0 && v.Type().Out(0) != reflect.TypeFor[time.Time]() {
			fmt.Fprintf(b, " %v", v.Call(nil)[0])
		}
	case reflect.Chan, reflect.UnsafePointer:
	default:
		fmt.Fprintf(b, "%v", v)
	}
}

// A TSIG key is given in parts, by a key file, or not at all.
func TestTSIG(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "k"), []byte(`key "k.corp.example" { algorithm hmac-sha512; secret "b25l"; };`), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("b25l"), 0o600))
	for lines, algorithm := range map[string]string{
		"": "", `options = { key_file = "` + dir + `/k" }`: "hmac-sha512.",
		`key_file = "k"`: "hmac-sha512.", `key = "file:k"`: "hmac-sha512.", "key_file = 'k'\nkey_name = 'k.corp.example'": "hmac-sha512.",
		"key_name = 'k.corp.example'\nkey = 'file:secret'":                                "hmac-sha256.",
		"key_name = 'k.corp.example'\nkey = 'file:secret'\nkey_algorithm = 'hmac-sha384'": "hmac-sha384.",
	} {
		text := "[[challenge.dns]]\nlabel = 'x'\nkind = 'rfc2136'\nserver = '192.0.2.1'\n" + lines
		s, err := settings.Parse(filepath.Join(dir, "client.toml"), []byte(text), nil)
		check(t, err)
		made, err := publisher(s.Challenge.DNS[0])
		if err != nil {
			t.Errorf("%s: %v", lines, err)
			continue
		}
		key := made.(*solve.RFC2136).Key
		if (key == nil) != (algorithm == "") || key != nil && key.Algorithm != algorithm {
			t.Errorf("%s: %+v", lines, key)
		}
	}
}

// The file that tsig-keygen writes is read, and mistakes say what to write.
func TestTSIGKeygen(t *testing.T) {
	keygen, err := exec.LookPath("tsig-keygen")
	if err != nil {
		t.Skip("there is no tsig-keygen here")
	}
	dir := t.TempDir()
	text, err := exec.CommandContext(t.Context(), keygen, "-a", "hmac-sha384", "update.corp.example").Output()
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "tsig.key"), text, 0o600))
	for lines, mistake := range map[string]string{
		`key_file = "tsig.key"`:                                  "",
		`key = "file:tsig.key"`:                                  "",
		`key_name = "update.corp.example"`:                       "key_file = ",
		"key_file = 'tsig.key'\nkey_algorithm = 'hmac-sha256'":   "leave key and key_algorithm out",
		"key_file = 'tsig.key'\nkey_name = 'other.corp.example'": "no key named",
		"key = 'file:tsig.key'\nkey_algorithm = 'hmac-sha256'":   "leave that out",
		"key_file = 'client.toml'":                               "tsig-keygen NAME",
	} {
		written := "[[challenge.dns]]\nlabel = 'x'\nkind = 'rfc2136'\nserver = '192.0.2.1'\n" + lines
		file := filepath.Join(dir, "client.toml")
		check(t, os.WriteFile(file, []byte(written), 0o600))
		var made solve.Publisher
		s, err := settings.Parse(file, []byte(written), nil)
		if err == nil {
			made, err = publisher(s.Challenge.DNS[0])
		}
		if mistake != "" {
			if err == nil || !strings.Contains(err.Error(), mistake) {
				t.Errorf("%s: %v", lines, err)
			}
			continue
		}
		check(t, err)
		if key := made.(*solve.RFC2136).Key; key == nil || key.Name != "update.corp.example." || key.Algorithm != "hmac-sha384." {
			t.Errorf("%s: %+v", lines, key)
		}
	}
}

// root is a certificate in PEM form.
func root(t *testing.T) []byte {
	t.Helper()
	key, err := install.NewKey("")
	check(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// The kinds of challenge that a certificate's own settings name win.
func TestPreferred(t *testing.T) {
	s := sample(t, t.TempDir())
	s.Challenge.DNS = nil
	answers, err := newSolvers(s, nil, t.TempDir())
	check(t, err)
	sheet, err := s.Certificates[0].Sheet()
	check(t, err)
	sheet.Challenge.Types = []string{"tls-alpn-01", "http-01"}
	set, err := answers.of(sheet)
	check(t, err)
	got := set.Methods(acme.Identifier{Type: acme.IdentifierDNS, Value: "a.example"})
	if !slices.Equal(got, []acme.ChallengeType{acme.ChallengeTLSALPN01, acme.ChallengeHTTP01}) {
		t.Errorf("%v", got)
	}
	sheet.Challenge.DNS = "nobody"
	if _, err := answers.of(sheet); err == nil {
		t.Error("a provider that is not there is not missed")
	}
}

// What a process left that died is taken away by any other of the same data directory,
// whatever the settings say by now.
func TestSweep(t *testing.T) {
	dir, www := t.TempDir(), t.TempDir()
	s := settings.Default(nil)
	s.Data = dir
	c, err := Open(t.Context(), Options{Settings: s})
	check(t, err)
	token, print := "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA", strings.Repeat("x", 43)
	answer := filepath.Join(www, ".well-known", "acme-challenge", token)
	check(t, os.MkdirAll(filepath.Dir(answer), 0o755))
	check(t, os.WriteFile(answer, nil, 0o644))
	note := filepath.Join(dir, "answers", "1.json")
	check(t, os.MkdirAll(filepath.Dir(note), 0o700))
	check(t, os.WriteFile(note, fmt.Appendf(nil, `{"identifier":{"type":"dns","value":"a.example"},"challenge":{"type":"http-01","token":%q},"keyAuthorization":%q,"webroot":%q}`,
		token, token+"."+print, www), 0o600))
	check(t, c.Sweep(t.Context()))
	for _, path := range []string{answer, note} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s stands", path)
		}
	}
}
