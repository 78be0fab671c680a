package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// someEST is a configuration with everything that EST can have.
const someEST = `data = "/d"
[listen]
est = "127.0.0.1:9443"
est_newest = "1.2"
est_terminator = "run/est.sock"
est_srp = "127.0.0.1:9444"
est_srp_backend = "unix:/run/apache2/srp.sock"
[est]
digest = "md5"
cmc_ra = true
certificate = "tls.pem"
key = "tls.key"
own_on_request = true
[[est.maker]]
name = "acme-devices"
roots = "acme.pem"
revocation = "crl"
crls = ["acme.crl", "http://acme.example/crl"]
[[est.label]]
[[est.label]]
name = "Floor.1"
profile = "ldevid"
accept = ["maker", "certificate+password", "srp"]
makers = ["acme-devices"]
operations = ["simpleenroll", "serverkeygen"]
names = ["{serial}.iot.example", "own"]
keys_archive = "/safe/archive.pem"
quota = "3/1d"
pending_life = "2d"
`

func TestESTDefaults(t *testing.T) {
	c := Default()
	labels := c.ESTLabels()
	if !c.EST.Enabled || c.ESTKeysMade() || len(labels) != 1 {
		t.Fatalf("%+v", c.EST)
	}
	l := labels[0]
	if l.Name != "" || l.Profile != "device" || !slices.Equal(l.Accept, usualWays) || !slices.Equal(l.Operations, usualOperations) ||
		l.PendingLife != Duration(7*24*time.Hour) || l.RetryAfter != Duration(5*time.Minute) {
		t.Errorf("%+v", l)
	}
}

func TestESTGood(t *testing.T) {
	c, warnings, err := parse(someEST)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || warnings[0].Key != "est.digest" {
		t.Errorf("warnings: %v", warnings)
	}
	labels := c.ESTLabels()
	if c.Listen.ESTTerminator != "/etc/chancery/run/est.sock" || c.EST.Certificate != "/etc/chancery/tls.pem" || c.EST.Key != "/etc/chancery/tls.key" ||
		c.EST.Makers[0].Roots != "/etc/chancery/acme.pem" || !slices.Equal(c.EST.Makers[0].CRLs, []string{"/etc/chancery/acme.crl", "http://acme.example/crl"}) ||
		labels[1].KeysArchive != "/safe/archive.pem" {
		t.Errorf("paths: %+v %+v", c.Listen, c.EST)
	}
	if len(labels) != 2 || labels[0].Profile != "device" || labels[1].PendingLife != Duration(48*time.Hour) || labels[1].Quota.Count != 3 || !c.ESTKeysMade() {
		t.Errorf("labels: %+v", labels)
	}
	text := effective(t, c)
	again, _, err := parse(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if live, restart := Differences(c, again); len(live)+len(restart) > 0 {
		t.Errorf("read again, %v and %v differ", live, restart)
	}
	live, restart := Differences(Default(), c)
	if !slices.Contains(live, "est.label") || !slices.Contains(live, "est.digest") || !slices.Contains(restart, "listen.est") || !slices.Contains(restart, "est.cmc_ra") {
		t.Errorf("live %v, restart %v", live, restart)
	}
}

func TestESTBad(t *testing.T) {
	const maker = "[[est.maker]]\nname = 'm'\nroots = 'r'\n"
	for _, test := range []struct{ text, key, want string }{
		{"[[est.label]]\nname = 'simpleenroll'", "est.label[1].name", "is the name of an EST operation"},
		{"[[est.label]]\nname = 'CRTS'", "est.label[1].name", "is the name of an EST operation"},
		{"[[est.label]]\nname = 'a/b'", "est.label[1].name", "cannot stand in a path"},
		{"[[est.label]]\nname = '..'", "est.label[1].name", "cannot stand in a path"},
		{"[[est.label]]\nname = 'a'\n[[est.label]]\n\nname = 'a'", "est.label[2].name", ":5:1: est.label[2].name: \"a\" is the name of another"},
		{"[[est.label]]\n[[est.label]]\n", "est.label[2].name", "can be there once"},
		{"[[est.label]]\nprofile = 'x y'", "est.label[1].profile", "no profile name"},
		{"[[est.label]]\noperations = ['enroll']", "est.label[1].operations", "not one of cacerts"},
		{"[[est.label]]\naccept = ['cert']", "est.label[1].accept", "not one of certificate"},
		{"[[est.label]]\naccept = ['certificate+maker']\nmakers = ['m']\n" + maker + "revocation = 'none'", "est.label[1].accept", "shows one certificate"},
		{"[[est.label]]\naccept = ['password+one-time']", "est.label[1].accept", "one password in HTTP"},
		{"[[est.label]]\naccept = ['srp']", "est.label[1].accept", "set listen.est_terminator"},
		{"listen.est_terminator = '/s'\n[[est.label]]\naccept = ['srp', 'certificate']\nrequire_linking = true", "est.label[1].accept", "exclude each other"},
		{"[[est.label]]\naccept = ['maker']", "est.label[1].accept", "names nobody"},
		{"[[est.label]]\nmakers = ['m']\n" + maker + "revocation = 'none'", "est.label[1].makers", "no way with"},
		{"[[est.label]]\naccept = ['maker']\nmakers = ['m']", "est.label[1].makers", "there is no maker"},
		{"[[est.label]]\nras = ['ra']", "est.label[1].ras", "say what they may ask for"},
		{"[[est.label]]\nras = ['ra']\nra_names = ['*']\naccept = ['password']", "est.label[1].ras", "authenticate by certificate"},
		{"[[est.label]]\nnames = ['']", "est.label[1].names", "names nothing"},
		{"[[est.label]]\nmanual_renewals = true", "est.label[1].manual_renewals", "means nothing without manual"},
		{"[[est.label]]\nwrap = 'no'", "est.label[1].wrap", "not one of auto"},
		{"[[est.label]]\npending_life = '1s'", "est.label[1].pending_life", "choose from"},
		{"[[est.label]]\nquota = '3'", "est.label[1].quota", "as \"300/3h\""},
		{"[[est.label]]\nkeys_encrypted = true", "est.label[1]", "add \"serverkeygen\""},
		{"[[est.label]]\nnaems = []", "est.label[1].naems", "did you mean est.label[1].name?"},
		{"[est.label]\nname = 'a'", "est.label", "write [[est.label]]"},
		{"[[est.maker]]\n", "est.maker[1]", "needs a name"},
		{"[[est.maker]]\nname = 'A B'", "est.maker[1].name", "is no name"},
		{"[[est.maker]]\nname = 'm'", "est.maker[1]", "root certificates"},
		{maker, "est.maker[1]", "how its revocations are learnt"},
		{maker + "revocation = 'maybe'", "est.maker[1].revocation", "not one of crl"},
		{maker + "revocation = 'none'\ncrls = ['x']", "est.maker[1].crls", "with revocation"},
		{maker + "revocation = 'crl'\ncrls = ['ftp://x']", "est.maker[1].crls", "neither a file"},
		{maker + "revocation = 'ocsp'\nocsp = 'x'", "est.maker[1].ocsp", "http URL"},
		{"est.digest = 'MD5'", "est.digest", "not one of"},
		{"est.realm = 'a\"b'", "est.realm", "plain ASCII"},
		{"est.certificate = 'x'", "est.certificate", "go together"},
		{"est.own_on_request = true", "est.own_on_request", "means nothing"},
		{"listen.tls_newest = '1.1'", "listen.tls_newest", "not one of 1.3, 1.2"},
		{"listen.est = '127.0.0.1:8443'", "listen.est", "is already listen.public"},
		{"listen.est = ':9443'", "url.base", "as listen.est is not on loopback"},
		{"listen.est_srp = '127.0.0.1:1'", "listen.est_srp", "go together"},
		{"listen.est_srp = '127.0.0.1:1'\nlisten.est_srp_backend = '127.0.0.1:2'", "listen.est_srp", "set listen.est_terminator"},
		{"listen.est_srp = '127.0.0.1:1'\nlisten.est_srp_backend = 'here'", "listen.est_srp_backend", "neither HOST:PORT"},
		{"listen.est_srp = ':1'\nlisten.est_srp_backend = '127.0.0.1:2'\nlisten.est_terminator = '/s'", "url.base", "as listen.est_srp is not on loopback"},
	} {
		t.Run(test.text, func(t *testing.T) {
			_, _, err := parse(test.text)
			problems, ok := errors.AsType[Problems](err)
			if !ok {
				t.Fatalf("%v", err)
			}
			if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Key == test.key && strings.Contains(p.Error(), test.want) }) {
				t.Errorf("no problem of %q with %q in:\n%v", test.key, test.want, err)
			}
		})
	}
}

func TestESTOddities(t *testing.T) {
	for text, key := range map[string]string{
		"[[est.label]]\nnames = ['own', 'uri:*', 'CN=*']":                        "est.label[1].names",
		"[[est.label]]\nnames = ['hardware-module:*']":                           "est.label[1].names",
		"[[est.label]]\nnames = ['0.0.0.0/0']":                                   "est.label[1].names",
		"[[est.label]]\nnames = ['ip:::/0']":                                     "est.label[1].names",
		"[[est.label]]\nsha1_cmc = true":                                         "est.label[1].sha1_cmc",
		"[[est.label]]\noperations = ['serverkeygen']\nkeys_weak_cipher = true":  "est.label[1].keys_weak_cipher",
		"[[est.label]]\nnames = ['*']":                                           "est.label[1].names",
		"[[est.label]]\naccept = ['one-time']\nnames = ['{serial}.iot.example']": "est.label[1].names",
		"[[est.label]]\naccept = ['password']\nnames = ['own', 'CN={cn}']":       "est.label[1].names",
		"[[est.label]]\naccept = ['certificate']\nnames = ['{user}.example']":    "est.label[1].names",
		"listen.est_terminator = '/s'":                                           "listen.est_terminator",
		"listen.est_newest = '1.2'":                                              "listen.est_newest",
		"listen.est_terminator = '/s'\n[[est.label]]\naccept = ['srp']":          "listen.est_terminator",
		"[[est.maker]]\nname='m'\nroots='r'\nrevocation = 'none'":                "est.maker[1].revocation",
	} {
		_, warnings, err := parse(text)
		if err != nil || len(warnings) != 1 || warnings[0].Key != key {
			t.Errorf("%q: %v, %v", text, warnings, err)
		}
	}
	for _, text := range []string{
		"names = ['{serial}.iot.example', '{cn}.example', '{user}.example']", // by the usual ways
		"accept = ['certificate+one-time']\nnames = ['{serial}.example', '{user}.example']",
		"accept = ['one-time']\nnames = ['{user}.example']",
		"names = ['*.iot.example', 'uri:urn:dev:*', '10.0.0.0/8', 'CN=*', 'ip:{cn}', 'own']", // some names
		"names = ['*', 'uri:*']\nmanual = true",                                              // a person looks at them
	} {
		if _, warnings, err := parse("[[est.label]]\n" + text); err != nil || len(warnings) != 0 {
			t.Errorf("%q: %v, %v", text, warnings, err)
		}
	}
}
