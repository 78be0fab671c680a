package interop_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chancery/internal/porttest"
)

// caaCases are the zone that stands three times below test: unsigned as plain,
// signed with NSEC as signed, and with NSEC3 as hashed. The CA that asks is
// ours.example. The cases are those that public suites for CAs have, and some more.
const caaCases = `$TTL 60
@	SOA	ns.test. hostmaster.test. 1 3600 600 86400 60
@	NS	ns.test.
empty		CAA	0 issue ";"
blank		CAA	0 issue ""
deny		CAA	0 issue "theirs.example"
upper		CAA	0 ISSUE "THEIRS.EXAMPLE"
mixed		CAA	0 IsSuE "tHeIrS.example"
permit		CAA	0 issue "ours.example"
upper-permit	CAA	0 ISSUE "OURS.EXAMPLE"
mixed-permit	CAA	0 iSsUe "OurS.eXample"
params		CAA	0 issue "ours.example; validationmethods=dns-01"
methods		CAA	0 issue "ours.example; validationmethods=tls-alpn-01"
account		CAA	0 issue "ours.example; accounturi=https://ours.example/acct/1"
several		CAA	0 issue "theirs.example"
several		CAA	0 issue "ours.example"
several		CAA	0 issue ";"
critical	CAA	128 unknowntag "x"
critical	CAA	0 issue "ours.example"
criticalbits	CAA	131 unknowntag "x"
criticalbits	CAA	0 issue "ours.example"
bit1		CAA	1 unknowntag "x"
bit1		CAA	0 issue "ours.example"
unknown		CAA	0 unknowntag "x"
criticalissue	CAA	128 issue "ours.example"
iodef		CAA	0 iodef "mailto:security@example.net"
criticaliodef	CAA	128 iodef "mailto:security@example.net"
wildonly	CAA	0 issuewild "theirs.example"
wildpermit	CAA	0 issue "theirs.example"
wildpermit	CAA	0 issuewild "ours.example"
wilddeny	CAA	0 issue "ours.example"
wilddeny	CAA	0 issuewild ";"
script		CAA	0 issue "<script>alert(1)</script>.example"
spaced		CAA	0 issue "ours.example; a=b c"
octets		CAA	0 issue "ours.example; a=\195\164\"\\"
semicolon	CAA	0 issue "ours.example;"
xn--mnchen-3ya	CAA	0 issue "ours.example"
sub.deny	A	192.0.2.1
a.b.deny	A	192.0.2.1
sub.permit	A	192.0.2.1
permit.deny	CAA	0 issue "ours.example"
deny.permit	CAA	0 issue "theirs.example"
sub.deny.permit	A	192.0.2.1
alias-deny	CNAME	deny
alias-alias-deny	CNAME	alias-deny
alias-permit	CNAME	permit
sub.alias-deny	A	192.0.2.1
alias-up	CNAME	sub.deny
bare		A	192.0.2.1
alias.permit	CNAME	bare
nowhere.permit	CNAME	nothing.at.all
alias.deny	CNAME	permit
deny.holder	CAA	0 issue "theirs.example"
permit.holder	CAA	0 issue "ours.example"
tree		DNAME	holder
below.deny	DNAME	holder
loop		CNAME	pool
pool		CNAME	loop
dloop		DNAME	dpool
dpool		DNAME	dloop
long0		CNAME	long1
long1		CNAME	long2
long2		CNAME	long3
long3		CNAME	permit
*.star		CAA	0 issue "theirs.example"
away		CNAME	deny.plain.test.
toward		CNAME	deny.signed.test.
`

// dnsWorld is a top-level domain "test" of our own, at a server of our own.
type dnsWorld struct {
	dir      string
	port     int      // of the authority
	all      []string // zones that resolvers are to know the server of
	served   []string // those with a file, or that ought to have one
	apart    map[string]string
	anchor   string // the file with test's DS record
	staticDS string // the same for named
}

// where gives the address of a zone's server as unbound writes it.
func (w *dnsWorld) where(zone string) string {
	if a, ok := w.apart[zone]; ok {
		return a
	}
	return fmt.Sprintf("127.0.0.1@%d", w.port)
}

// newDNSWorld writes and signs the zones and starts their server.
func newDNSWorld(t *testing.T) *dnsWorld {
	t.Helper()
	w := &dnsWorld{dir: t.TempDir(), port: porttest.Free(t), apart: map[string]string{}}
	w.apart["blackhole.test"] = fmt.Sprintf("127.0.0.1@%d", blackHole(t))
	w.apart["six.test"] = fmt.Sprintf("::1@%d", w.port)
	refusing := porttest.Free(t)
	authority(t, t.TempDir(), refusing, nil)
	w.apart["refused.test"] = fmt.Sprintf("127.0.0.1@%d", refusing)
	cases := caaCases
	for i := range 1001 {
		cases += fmt.Sprintf("big\tCAA\t0 issue \"ca%04d.example\"\nbigpermit\tCAA\t0 issue \"ca%04d.example\"\n", i, i)
	}
	cases += "bigpermit\tCAA\t0 issue \"ours.example\"\n"
	small := caaCases[:strings.Index(caaCases, "blank")] + "@\tCAA\t0 issue \"theirs.example\"\nwww\tA\t192.0.2.1\n"

	parent := caaCases[:strings.Index(caaCases, "empty")] + "ns\tA\t127.0.0.1\n"
	add := func(zone, text string, signed bool) {
		w.all, w.served = append(w.all, zone), append(w.served, zone)
		dnsFile(t, w.dir, zone+".zone", text)
		parent += zone + ".\tNS\tns.test.\n"
		if signed {
			parent += w.ds(t, zone)
		}
	}
	add("plain.test", cases, false)
	add("six.test", small, false)
	w.sign(t, "signed.test", cases)
	w.sign(t, "hashed.test", cases, "-3", "-")
	w.sign(t, "expired.test", small, "-s", "20200101000000", "-e", "20200201000000")
	for _, z := range []string{"altered.test", "stripped.test", "silent.test", "stranger.test"} {
		w.sign(t, z, small)
	}
	add("signed.test", w.read(t, "signed.test"), true)
	add("hashed.test", w.read(t, "hashed.test"), true)
	add("expired.test", w.read(t, "expired.test"), true)
	add("altered.test", strings.Replace(w.read(t, "altered.test"), `"theirs.example"`, `"ours.example"`, 1), true)
	add("stripped.test", without(w.read(t, "stripped.test"), "RRSIG\tCAA", "RRSIG CAA"), true)
	add("silent.test", without(w.read(t, "silent.test"), "NSEC"), true)
	add("unsigned.test", small, false)
	parent += strings.ReplaceAll(w.ds(t, "stranger.test"), "stranger.test.", "unsigned.test.") // a DS, and no signatures
	add("stranger.test", w.read(t, "stranger.test"), false)
	parent += strings.ReplaceAll(w.ds(t, "altered.test"), "altered.test.", "stranger.test.") // the DS of another key
	for _, z := range []string{"servfail.test", "refused.test", "blackhole.test"} {
		w.all = append(w.all, z)
		parent += z + ".\tNS\tns.test.\n"
	}
	w.served = append(w.served, "servfail.test") // without a file

	w.sign(t, "test", parent)
	w.all, w.served = append(w.all, "test"), append(w.served, "test")
	dnsFile(t, w.dir, "test.zone", w.read(t, "test"))
	w.anchor = filepath.Join(w.dir, "dsset-test.")
	f := strings.Fields(w.ds(t, "test"))
	digest := slices.Index(f, "DS") + 1
	w.staticDS = fmt.Sprintf("%q static-ds %s %s %s %q;", "test", f[digest], f[digest+1], f[digest+2], strings.Join(f[digest+3:], ""))
	authority(t, w.dir, w.port, w.served)
	return w
}

// sign makes a key for a zone and signs it with BIND's tools, one record a line.
func (w *dnsWorld) sign(t *testing.T, zone, text string, options ...string) {
	t.Helper()
	tool(t, w.dir, "dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "-f", "KSK", zone)
	dnsFile(t, w.dir, zone+".unsigned", text)
	arguments := append([]string{"-q", "-P", "-z", "-S", "-O", "full", "-o", zone, "-f", zone + ".signed"}, options...)
	tool(t, w.dir, "dnssec-signzone", append(arguments, zone+".unsigned")...)
}

// read gives a signed zone.
func (w *dnsWorld) read(t *testing.T, zone string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, zone+".signed"))
	must(t, err)
	return string(text)
}

// ds gives a zone's DS record for its parent.
func (w *dnsWorld) ds(t *testing.T, zone string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, "dsset-"+zone+"."))
	must(t, err)
	return string(text)
}

// without drops the lines that have one of the words.
func without(text string, words ...string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) }) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}
