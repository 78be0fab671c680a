package interop_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"chancery/internal/peertest"
)

// TestOneServerServesAllClients has clients that contradict each other in what they take
// enrol at one server with one configuration, all of them under the service without a
// label: none of the servers that were looked at could do that.
func TestOneServerServesAllClients(t *testing.T) {
	l := newESTLab(t, estServer)
	t.Run("strongSwan", func(t *testing.T) { oneServerStrongSwan(t, l.on(t)) })
	t.Run("curl and OpenSSL", func(t *testing.T) { oneServerCurl(t, l.on(t)) })
	t.Run("Bouncy Castle", func(t *testing.T) { oneServerCastle(t, l.on(t)) })
	t.Run("libest", func(t *testing.T) { oneServerLibest(t, l.on(t)) })
}

// strongSwan runs pki and gives what it writes to the standard output.
func (l *estLab) strongSwan(args ...string) string {
	l.t.Helper()
	if plugins, _ := filepath.Glob("/usr/lib/ipsec/plugins/libstrongswan-openssl.so"); len(plugins) == 0 {
		peertest.Missing(l.t, "strongSwan knows no elliptic curves: apt-get install libstrongswan-standard-plugins")
	}
	return l.run(command{name: peertest.Need(l.t, "pki"), args: args})
}

// authorities fetches the authorities with strongSwan, which writes a file for each.
func (l *estLab) authorities() []string {
	l.t.Helper()
	out, err := os.MkdirTemp(l.dir, "estca")
	if err != nil {
		l.t.Fatal(err)
	}
	l.strongSwan("--estca", "--url", "https://"+l.at(l.port), "--cacert", l.root, "--caout", filepath.Join(out, "ca"), "--outform", "pem", "--force")
	files, err := filepath.Glob(filepath.Join(out, "*"))
	if err != nil {
		l.t.Fatal(err)
	}
	return files
}

// swanEnrol enrols a key with strongSwan; the certificate is written to NAME.pem.
func (l *estLab) swanEnrol(name string, args ...string) {
	l.t.Helper()
	said := l.strongSwan(append([]string{"--est", "--url", "https://" + l.at(l.port), "--in", name + ".csr", "--cacert", l.root, "--cacert", "issuer.pem", "--outform", "pem"}, args...)...)
	at := strings.Index(said, "-----BEGIN")
	if at < 0 {
		l.t.Fatalf("no certificate came: %s", said)
	}
	l.write(name+".pem", said[at:strings.LastIndex(said, "-----END")]+"-----END CERTIFICATE-----\n")
}

func oneServerStrongSwan(t *testing.T, l *estLab) {
	above := l.above()
	for _, cert := range above {
		if !cert.Equal(l.read("root.pem")) {
			l.write("issuer.pem", encodePEM(cert))
		}
	}
	if files := l.authorities(); len(files) != len(above) {
		t.Errorf("strongSwan wrote %q, and the server has %d authorities", files, len(above))
	}
	l.request("swan")
	l.swanEnrol("swan", "--userpass", estUser+":"+estPassword)
	l.sound("swan.pem", "swan.key", "swan.iot.example")
	// By the certificate: with another key, then with the same one.
	l.requestAs("swan2", "swan")
	l.swanEnrol("swan2", "--cert", "swan.pem", "--key", "swan.key")
	l.sound("swan2.pem", "swan2.key", "swan.iot.example")
	l.again("swan3", "swan2.key", "swan")
	l.swanEnrol("swan3", "--cert", "swan2.pem", "--key", "swan2.key")
	l.sound("swan3.pem", "swan2.key", "swan.iot.example")
	serials := []string{l.read("swan.pem").SerialNumber.String(), l.read("swan2.pem").SerialNumber.String(), l.read("swan3.pem").SerialNumber.String()}
	slices.Sort(serials)
	if len(slices.Compact(serials)) != 3 {
		t.Errorf("certificates were given twice: %q", serials)
	}
}

func oneServerCurl(t *testing.T, l *estLab) {
	l.get("cacerts").certs(t)
	l.get("csrattrs").is(t, 200)
	l.request("curl")
	l.unwrap(l.post("simpleenroll", "curl", "--digest", "-u", estUser+":"+estPassword).certs(t).body, "curl")
	l.sound("curl.pem", "curl.key", "curl.iot.example")
	l.unwrap(l.post("simplereenroll", "curl", "--cert", "curl.pem", "--key", "curl.key").certs(t).body, "curl2")
	l.sound("curl2.pem", "curl.key", "curl.iot.example")
}

func oneServerCastle(t *testing.T, l *estLab) {
	c := l.castle(t)
	if said := c.must(t, "cacerts", "ok trusted=true"); strings.Count(said, "[") != len(l.above()) {
		t.Errorf("Bouncy Castle says %s, and the server has %d authorities", said, len(l.above()))
	}
	c.must(t, "csrattrs", "ok ")
	c.must(t, "enroll name=castle cn=castle.iot.example dns=castle.iot.example"+castleUser, "ok made=false")
	l.sound("castle.pem", "castle.key", "castle.iot.example")
	c.must(t, "reenroll name=castle key=same present=castle cn=castle.iot.example dns=castle.iot.example", "ok made=false")
	l.sound("castle.pem", "castle.key", "castle.iot.example")
	c.must(t, "serverkeygen name=castle3 cn=castle3.iot.example dns=castle3.iot.example"+castleUser, "ok made=true")
	l.sound("castle3.pem", "castle3.key", "castle3.iot.example")
}

// strongSwanPolls has strongSwan wait until an administrator approves, or refuses.
func strongSwanPolls(t *testing.T, l *estLab) {
	for _, cert := range l.above() {
		if !cert.Equal(l.read("root.pem")) {
			l.write("issuer.pem", encodePEM(cert))
		}
	}
	l.request("poll")
	waits := make(chan struct{})
	go func() {
		defer close(waits)
		l.within(settled, "a request waits", func() (bool, string) {
			out := l.chancery("", "est", "requests", "--state", "pending")
			return strings.Contains(out, "poll.iot.example"), out
		})
		l.decide("approve")
	}()
	l.swanEnrol("poll", "--userpass", estUser+":"+estPassword, "--interval", "1", "--maxpolltime", "60")
	<-waits
	l.sound("poll.pem", "poll.key", "poll.iot.example")
	l.request("polled")
	l.refused(command{name: peertest.Need(t, "pki"), args: []string{"--est", "--url", "https://" + l.at(l.port), "--in", "polled.csr",
		"--cacert", l.root, "--cacert", "issuer.pem", "--userpass", estUser + ":" + estPassword, "--interval", "1", "--maxpolltime", "2"}}, "timed out", "timeout", "maximum poll time")
	l.decide("refuse", "--reason", "no such device")
	l.refused(command{name: peertest.Need(t, "pki"), args: []string{"--est", "--url", "https://" + l.at(l.port), "--in", "polled.csr",
		"--cacert", l.root, "--cacert", "issuer.pem", "--userpass", estUser + ":" + estPassword}}, "403")
}

// TestESTRecords has strongSwan, which reads header fields and body in one read each,
// fetch bags of two to twelve certificates, twenty times each: how TLS records are cut
// must not depend on luck.
func TestESTRecords(t *testing.T) {
	l := newESTLab(t, estServer)
	for size := 2; ; size += 2 {
		for run := range 20 {
			if files := l.authorities(); len(files) != size {
				t.Fatalf("run %d: strongSwan got %d certificates of %d", run+1, len(files), size)
			}
		}
		if size == 12 {
			break
		}
		l.chancery("", "ca", "rollover", "issuing")
		l.chancery("", "ca", "rollover", "issuing")
	}
}

// oneServerLibest needs Cisco's estclient 3.2.0p, which nobody packages and which builds
// by hand alone: LIBEST_CLIENT names it.
func oneServerLibest(t *testing.T, l *estLab) {
	program := os.Getenv("LIBEST_CLIENT")
	if program == "" {
		t.Skip("LIBEST_CLIENT does not name libest's estclient")
	}
	enrol := func(name string, port int, args ...string) {
		t.Helper()
		out := l.path(name)
		if err := os.Mkdir(out, 0o700); err != nil {
			t.Fatal(err)
		}
		said := l.run(command{name: program, env: []string{"EST_OPENSSL_CACERT=" + l.root},
			args: append([]string{"-s", "localhost", "-p", strconv.Itoa(port), "-o", out}, args...)})
		made, err := filepath.Glob(filepath.Join(out, "cert-0-0.pkcs7"))
		if err != nil || len(made) != 1 {
			t.Fatalf("libest made nothing: %s", said)
		}
		text, err := os.ReadFile(made[0])
		if err != nil {
			t.Fatal(err)
		}
		l.unwrap(string(text), name)
	}
	l.request("device-le")
	user := []string{"-u", estUser, "-h", estPassword, "--common-name", "device-le", "-x", "device-le.key"}
	enrol("le1", l.port, append(user, "-e")...)
	l.sound("le1.pem", "device-le.key")
	enrol("le2", l.v2, append(user, "-e", "-z")...)
	l.sound("le2.pem", "device-le.key")
	enrol("le3", l.port, "-r", "-c", "le1.pem", "-k", "device-le.key", "-x", "device-le.key", "--common-name", "device-le")
	l.sound("le3.pem", "device-le.key")
	if !strings.Contains(l.said.String(), `linking="tls-unique by challengePassword"`) {
		t.Error("libest's tls-unique was not looked at")
	}
}
