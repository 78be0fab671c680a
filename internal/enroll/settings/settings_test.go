package settings

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"chancery/internal/enroll/install"
)

var home = []string{"HOME=/home/ada", "XDG_STATE_HOME=/home/ada/state", "XDG_CONFIG_HOME=/home/ada/conf"}

const full = `
data = "state"
contacts = ["hostmaster@corp.example"]
account_key = "ecdsa-p384"

[dns]
resolvers = ["10.0.0.53", "10.0.0.54:5353", "tls://9.9.9.9#dns.quad9.net", "https://dns.example/dns-query", "::1", "[::1]:53"]
trusted = ["10.0.0.53"]
dnssec = "require"

[discovery]
rules = "03"
default = false
caa_identities = "require"
allow = ["127.0.0.0/8"]
agree_tos = "ask"
roots = "roots.pem"

[[ca]]
label = "corp"
issuers = ["ca.corp.example", "old.corp.example"]
directory = "https://ca.corp.example/acme/directory"
default = true
profiles = {"ca-ev" = "ev-2026", default = "tls"}
policies = {"ca-ev" = ["2.23.140.1.1"]}
agree_tos = true
eab = {key_id = "k1", key = "file:eab.key"}

[[ca]]
label = "second"
issuers = ["ca2.example"]
priority = 2
  [ca.eab]
  key_id = "k2"
  key = "credential:eab2"
  algorithm = "HS512"

[challenge]
types = ["dns-01", "http-01"]
webroot = "www"
dns_default = "zone"

[[challenge.dns]]
label = "zone"
kind = "rfc2136"
zones = ["corp.example"]
server = "10.0.0.53"
key_name = "update."
key = "file:tsig"

[renew]
before = 0.25
jitter = "2d"

[notify]
after = 3
[notify.mail]
server = "mail.corp.example:587"
from = "chancery@corp.example"
to = ["ada@corp.example"]
user = "chancery"
password = "file:mail.password"

[[certificate]]
names = ["www.corp.example", "bücher.example"]
key_type = "rsa-3072"
ca = "corp"
[certificate.install]
cert = "/etc/ssl/www.pem"
key = "/etc/ssl/private/www.pem"
group = "ssl-cert"
key_mode = "0640"
[certificate.hooks]
deploy = ["systemctl", "reload", "nginx"]
failure = "logger failed"
timeout = "30s"

[[certificate]]
name = "wild"
names = ["*.corp.example"]
dns = "zone"
disabled = true
`

func parse(t *testing.T, text string) *Settings {
	t.Helper()
	s, err := Parse("/etc/chancery/client.toml", []byte(text), home)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParse(t *testing.T) {
	s := parse(t, full)
	for _, check := range []struct {
		what      string
		got, want any
	}{
		{"data", s.Data, "/etc/chancery/state"},
		{"roots", s.Discovery.Roots, "/etc/chancery/roots.pem"},
		{"webroot", s.Challenge.Webroot, "/etc/chancery/www"},
		{"eab", s.CAs[0].EAB, EAB{KeyID: "k1", Key: "file:/etc/chancery/eab.key"}},
		{"eab 2", s.CAs[1].EAB, EAB{KeyID: "k2", Key: "credential:eab2", Algorithm: "HS512"}},
		{"inherited key", s.CAs[1].AccountKey, "ecdsa-p384"},
		{"inherited contacts", s.CAs[0].Contacts, []string{"hostmaster@corp.example"}},
		{"profiles", s.CAs[0].Profiles["ca-ev"], "ev-2026"},
		{"tsig", s.Challenge.DNS[0].KeyAlgorithm, ""},
		{"jitter", s.Renew.Jitter.Std(), 48 * time.Hour},
		{"kept default", s.Retry.Attempts, 4},
		{"kept default beside", s.Challenge.HTTP, ":80"},
		{"mode", s.Certificates[0].Install.KeyMode, Mode("0640")},
		{"list", s.Certificates[0].Hooks.Deploy, Command{List: []string{"systemctl", "reload", "nginx"}}},
		{"line", s.Certificates[0].Hooks.Failure, Command{Line: "logger failed"}},
		{"label", s.Certificates[0].Label(), "www.corp.example"},
		{"label 2", s.Certificates[1].Label(), "wild"},
	} {
		if !reflect.DeepEqual(check.got, check.want) {
			t.Errorf("%s: got %v, want %v", check.what, check.got, check.want)
		}
	}
	sheet, err := s.Certificates[0].Sheet()
	if err != nil || !reflect.DeepEqual(sheet.Names, []string{"www.corp.example", "xn--bcher-kva.example"}) ||
		sheet.Hooks.Deploy[0].Timeout != install.Duration(30*time.Second) || sheet.Install.KeyMode != 0o640 {
		t.Errorf("sheet %+v, %v", sheet, err)
	}
	if ca, ok := s.CA("second"); !ok || ca.Priority != 2 {
		t.Errorf("CA: %+v, %t", ca, ok)
	}
}

func TestWrong(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"unknown key", "contacs = []", `1:1: contacs: unknown key: did you mean contacts?`},
		{"unknown in section", "\n[dns]\nresolver = []", `3:1: dns.resolver: unknown key: did you mean dns.resolvers?`},
		{"unknown in array", "[[certificate]]\nnames=['a.example']\nkeytype='x'", `3:1: certificate.keytype: unknown key: did you mean certificate.key_type?`},
		{"unknown deep", "[[certificate]]\nnames=['a.example']\n[certificate.install]\nkeey='/x'", `certificate.install.key?`},
		{"unknown section", "[discover]\n", `did you mean discovery?`},
		{"not TOML", "data = \n", "1:"},
		{"wrong type", "[renew]\nworkers = 'many'", "2:"},
		{"duration", "[renew]\njitter = '3 weeks'", `2:1: renew.jitter: "3 weeks" is no duration`},
		{"duration without unit", "[renew]\njitter = 5", `2:10`},
		{"mode without quotes", "[[certificate]]\nnames=['a.example']\ninstall={cert='/c',mode=640}", "3:25"},
		{"several", "contacts = ['x']\naccount_key = 'dsa'", "2:1: account_key"},
		{"mode", "[[certificate]]\nnames=['a.example']\ninstall={cert='/c',mode='9'}", "is no file mode"},
		{"key for all", "[[certificate]]\nnames=['a.example']\n[certificate.install]\nkey='/k'\nkey_mode='0644'", "3:14: certificate[1].install: key mode 0644 lets everybody read"},
		{"dnssec", "[dns]\ndnssec = 'maybe'", `2:1: dns.dnssec: must be off or prefer or require, not "maybe"`},
		{"contradiction", "[dns]\ndnssec='require'\nforgive_failures=true", "3:1: dns.forgive_failures: contradicts"},
		{"server", "[dns]\nresolvers = ['dns.example']", "named by its address"},
		{"contact", "contacts = ['mailto:a@b.example']", "without mailto:"},
		{"key type", "account_key = 'dsa'", `1:1: account_key: "dsa" is no kind of key: choose one of ecdsa-p256`},
		{"no names", "[[certificate]]\nname='x'\n[[certificate]]\nname='y'\nnames=['y.example']", "1:3: certificate[1].names: a certificate needs names"},
		{"bad name", "[[certificate]]\nnames=['a.example']\n[[certificate]]\nnames=['b example']", "4:1: certificate[2].names"},
		{"label twice", "[[certificate]]\nnames=['a.example']\n[[certificate]]\nnames=['A.example', 'b.example']", `certificate[2].name: another [[certificate]] is called "a.example" already`},
		{"path twice", "[[certificate]]\nnames=['a.example']\ninstall={cert='/c'}\n[[certificate]]\nnames=['b.example']\ninstall={cert='/c'}", "6:1: certificate[2].install: /c is where the certificate a.example goes already"},
		{"unknown ca", "[[certificate]]\nnames=['a.example']\nca='no'", `3:1: certificate[1].ca: no [[ca]] is called "no"`},
		{"unknown dns", "[[certificate]]\nnames=['a.example']\ndns='no'", `no [[challenge.dns]] is called "no"`},
		{"label", "[[certificate]]\nname='../x'\nnames=['a.example']", "cannot name a certificate"},
		{"ca without label", "[[ca]]\nissuers=['ca.example']", "1:3: ca[1].label: give each [[ca]] a label"},
		{"ca twice", "[[ca]]\nlabel='a'\nissuers=['ca.example']\n[[ca]]\nlabel='a'\nissuers=['ca.example']", `5:1: ca[2].label: another [[ca]] is called "a" already`},
		{"ca without anything", "[[ca]]\nlabel='a'", "needs its issuer names"},
		{"plain directory", "[[ca]]\nlabel='a'\ndirectory='http://ca.example/'", "begins with https://"},
		{"issuer", "[[ca]]\nlabel='a'\nissuers=['https://ca.example']", "is no issuer name"},
		{"half eab", "[[ca]]\nlabel='a'\nissuers=['ca.example']\neab={key_id='x'}", "4:1: ca[1].eab: key_id and key go together"},
		{"profile kind", "[[ca]]\nlabel='a'\nissuers=['ca.example']\nprofiles={ev='x'}", "must be ca-dv or ca-ov or ca-ev or ca-qwac or default"},
		{"oid", "[[ca]]\nlabel='a'\nissuers=['ca.example']\npolicies={ca-ev=['EV']}", "is no object identifier"},
		{"rfc2136", "[[challenge.dns]]\nlabel='a'\nkind='rfc2136'", "1:13: challenge.dns[1].server"},
		{"dns default", "[challenge]\ndns_default='no'", `no [[challenge.dns]] is called "no"`},
		{"listen", "[challenge]\nhttp='80'", "no address to listen on"},
		{"before", "[renew]\nbefore = 30.0", "must be between 0 and 1"},
		{"total", "[retry]\ntotal='1m'", "shorter than retry.per_ca"},
		{"mail", "[notify.mail]\nserver='mail.example:25'", `1:9: notify.mail: needs "from" and "to"`},
		{"hook", "[[certificate]]\nnames=['a.example']\n[certificate.hooks.post]\nx=1", "certificate[1].hooks.post: a command is a list"},
		{"hook number", "[[certificate]]\nnames=['a.example']\nhooks={deploy=7}", "a command is a list of program and arguments"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := Parse("/c.toml", []byte(test.text), home)
			if err == nil {
				t.Fatalf("accepted: %+v", s)
			}
			problem, ok := errors.AsType[Problem](err)
			if !ok || problem.Source != "/c.toml" || problem.Line == 0 {
				t.Errorf("no place: %#v", err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %s\nwant %s", err, test.want)
			}
		})
	}
}

// A secret that somebody wrote where the reference belongs is not repeated.
func TestSecretIsNotRepeated(t *testing.T) {
	for _, text := range []string{
		"[notify.mail]\npassword = 'hunter2'",
		"[[ca]]\nlabel='a'\nissuers=['ca.example']\neab={key_id='k', key='hunter2'}",
		"[[certificate]]\nnames=['a.example']\ninstall={pkcs12='/p', pkcs12_password='hunter2'}",
		"[[challenge.dns]]\nlabel='a'\nkind='hetzner'\nsecrets={token='hunter2'}",
	} {
		_, err := Parse("/c.toml", []byte(text), home)
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "file:PATH") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestPlaces(t *testing.T) {
	if os.Geteuid() == 0 {
		if got := Place(home); got != "/etc/chancery/client.toml" {
			t.Error(got)
		}
		if got := Default(home).Data; got != "/var/lib/chancery-client" {
			t.Error(got)
		}
	} else {
		if got := Place(home); got != "/home/ada/conf/chancery/client.toml" {
			t.Error(got)
		}
		if got := Default(home).Data; got != "/home/ada/state/chancery" {
			t.Error(got)
		}
	}
	if got := Default([]string{"STATE_DIRECTORY=/var/lib/a:/var/lib/b"}).Data; got != "/var/lib/a" {
		t.Error(got)
	}
	missing := filepath.Join(t.TempDir(), "client.toml")
	if _, err := Load(missing, home); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "leave --config away") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(missing, []byte("data='d'"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Load(missing, home)
	if err != nil || s.Data != filepath.Join(filepath.Dir(missing), "d") || s.File() != missing {
		t.Errorf("%+v, %v", s, err)
	}
}

// What Explain writes is read to the same settings, and every key has a manual.
func TestExplain(t *testing.T) {
	for _, text := range []string{"", full} {
		s := parse(t, text)
		var out bytes.Buffer
		if err := s.Explain(&out); err != nil {
			t.Fatal(err)
		}
		again, err := Parse("/etc/chancery/client.toml", out.Bytes(), home)
		if err != nil {
			t.Fatalf("%v in\n%s", err, out.String())
		}
		var second bytes.Buffer
		if err := again.Explain(&second); err != nil {
			t.Fatal(err)
		}
		if out.String() != second.String() {
			t.Errorf("explained again:\n%s\nbefore:\n%s", second.String(), out.String())
		}
		// The example of what is not there can be uncommented.
		if text == "" && !strings.Contains(out.String(), "# [[certificate]]") {
			t.Errorf("no example of a certificate in\n%s", out.String())
		}
	}
}

func TestManualIsWhole(t *testing.T) {
	for owner, text := range comments() {
		if text == "" && owner != "Settings.file" {
			t.Errorf("%s has no manual", owner)
		}
	}
	if len(comments()) < 100 || len(known()) < 100 {
		t.Errorf("only %d texts, %d keys", len(comments()), len(known()))
	}
}

func TestEABRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mac")
	if err := os.WriteFile(path, []byte("c2VjcmV0LWtleS0_Pz8=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := EAB{KeyID: "k", Key: Reference("file:" + path), Algorithm: "HS384"}.Read()
	if err != nil || string(got.Key) != "secret-key-???" || got.Algorithm != "HS384" {
		t.Fatalf("%v, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("not base64!\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (EAB{KeyID: "k", Key: Reference("file:" + path)}).Read(); err == nil || strings.Contains(err.Error(), "not base64!") {
		t.Errorf("%v", err)
	}
	if _, err := (EAB{}).Read(); !errors.Is(err, ErrNoEAB) {
		t.Errorf("%v", err)
	}
}

// many has n certificates.
func many(n int) []byte {
	var out bytes.Buffer
	for i := range n {
		fmt.Fprintf(&out, "[[certificate]]\nnames = [\"host%d.corp.example\", \"www%d.corp.example\"]\nkey_type = \"ecdsa-p256\"\n", i, i)
		fmt.Fprintf(&out, "[certificate.install]\ncert = \"/etc/ssl/%d.pem\"\nkey = \"/etc/ssl/private/%d.pem\"\n[certificate.hooks]\ndeploy = [\"systemctl\", \"reload\", \"nginx\"]\n\n", i, i)
	}
	return out.Bytes()
}

func TestMany(t *testing.T) {
	s := parse(t, string(many(10000)))
	if len(s.Certificates) != 10000 || s.Certificates[9999].Names[0] != "host9999.corp.example" {
		t.Fatalf("%d certificates", len(s.Certificates))
	}
}

func BenchmarkParse10000(b *testing.B) {
	text := many(10000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("/c.toml", text, home); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte("[[certificate]]\nnames=['a.example']\nhooks={deploy=['a']}"))
	f.Add([]byte("[dns]\nresolver=[]"))
	f.Add([]byte("ca = [{label='a', issuers=['b.example'], eab={key_id='x',key='file:y'}}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("/etc/chancery/client.toml", text, home)
		if err != nil {
			_ = err.Error()
			return
		}
		var out, second bytes.Buffer
		if err := s.Explain(&out); err != nil {
			t.Fatal(err)
		}
		again, err := Parse("/etc/chancery/client.toml", out.Bytes(), home)
		if err != nil {
			t.Fatalf("%v in\n%s", err, out.String())
		}
		if err := again.Explain(&second); err != nil || !bytes.Equal(out.Bytes(), second.Bytes()) {
			t.Fatalf("%v:\n%s\nthen\n%s", err, out.String(), second.String())
		}
	})
}

// Who may write the settings has commands run.
func TestSettingsOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "client.toml")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, nil); err == nil || !strings.Contains(err.Error(), "chmod go-w "+path) {
		t.Errorf("%v", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("the rest needs root, to give files to another user")
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.Chown(path, 54321, 54321)); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, nil); err == nil || !strings.Contains(err.Error(), "belongs to user 54321") {
		t.Errorf("%v", err)
	}
}
