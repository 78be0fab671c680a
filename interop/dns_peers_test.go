package interop_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/internal/dnstest"
	"chancery/internal/peertest"
	"chancery/internal/porttest"
	"chancery/internal/resolver"

	"github.com/miekg/dns"
)

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// dnsDaemon runs a server until the test ends, or this process does, however that
// ends: its leash is the shell's standard input.
func dnsDaemon(t *testing.T, program string, arguments ...string) {
	t.Helper()
	const script = `"$@" </dev/null & read -r _; kill $!; wait $!`
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, "sh", program}, arguments...)...)
	log := filepath.Join(t.TempDir(), "log")
	out, err := os.Create(log)
	must(t, err)
	cmd.Stdout, cmd.Stderr = out, out
	leash, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		leash.Close()
		_ = cmd.Wait()
		out.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log)
			t.Logf("%s said:\n%s", filepath.Base(program), text[max(0, len(text)-4000):])
		}
	})
}

// dnsAwait waits until a server has an answer for the name.
func dnsAwait(t *testing.T, r *resolver.Resolver, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		_, err := r.Lookup(ctx, name, dns.TypeSOA)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s does not answer: %v", r.Describe(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// authority starts named for zone files, on loopback over IPv4 and, if this machine
// has it, IPv6.
func authority(t *testing.T, dir string, port int, zones []string) {
	t.Helper()
	six := "none;"
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		l.Close()
		six = "::1;"
	}
	var conf strings.Builder
	fmt.Fprintf(&conf, `options {
	directory %q; pid-file none; session-keyfile none; lock-file none; managed-keys-directory %q;
	listen-on port %d { 127.0.0.1; }; listen-on-v6 port %d { %s };
	recursion no; dnssec-validation no; notify no; minimal-responses yes; max-records-per-type 0;
};
controls { };
`, dir, dir, port, port, six)
	for _, z := range zones {
		fmt.Fprintf(&conf, "zone %q { type primary; file %q; check-integrity no; };\n", z, filepath.Join(dir, z+".zone"))
	}
	dnsDaemon(t, peertest.Need(t, "named"), "-g", "-c", dnsFile(t, dir, "authority.conf", conf.String()))
	r := plainResolver(t, loopback(port))
	for _, z := range zones {
		if _, err := os.Stat(filepath.Join(dir, z+".zone")); err == nil {
			dnsAwait(t, r, z)
		}
	}
	if len(zones) == 0 { // it refuses, and that is an answer
		var e *resolver.Error
		for _, err := r.Lookup(t.Context(), "test", dns.TypeSOA); !errors.As(err, &e) || e.Kind != resolver.Refused; _, err = r.Lookup(t.Context(), "test", dns.TypeSOA) {
			must(t, t.Context().Err())
		}
	}
}

// secured is a validating resolver that also speaks DNS over TLS and HTTPS.
type secured struct {
	plain, tls, web int // ports
	roots           *x509.CertPool
}

// tlsHost is the name in the certificates.
const tlsHost = "resolver.example"

func (s secured) servers() map[string]string {
	return map[string]string{
		"UDP":                 loopback(s.plain),
		"DoT by address":      "tls://" + loopback(s.tls),
		"DoT by name":         "tls://" + loopback(s.tls) + "#" + tlsHost,
		"DoH by address":      fmt.Sprintf("https://127.0.0.1:%d/dns-query", s.web),
		"DoH by name at host": fmt.Sprintf("https://%s:%d/dns-query@127.0.0.1", tlsHost, s.web),
	}
}

func newSecured(t *testing.T, dir string) (s secured, key, certificate string) {
	t.Helper()
	s = secured{plain: porttest.Free(t), tls: porttest.Free(t), web: porttest.Free(t)}
	key, certificate, s.roots = dnsCertificate(t, dir)
	return s, key, certificate
}

// unbound starts a validating resolver that knows the zones' servers. With explain
// it says why something is bogus (RFC 8914), which Debian's does not by default.
func unbound(t *testing.T, w *dnsWorld, explain bool) secured {
	t.Helper()
	dir := t.TempDir()
	s, key, certificate := newSecured(t, dir)
	var conf strings.Builder
	fmt.Fprintf(&conf, `server:
	directory: %q
	chroot: ""
	username: ""
	pidfile: ""
	do-daemonize: no
	use-syslog: no
	logfile: ""
	num-threads: 1
	interface: 127.0.0.1@%d
	interface: 127.0.0.1@%d
	interface: 127.0.0.1@%d
	tls-port: %d
	https-port: %d
	tls-service-key: %q
	tls-service-pem: %q
	do-not-query-localhost: no
	module-config: "validator iterator"
	trust-anchor-file: %q
	local-zone: "test." nodefault
`, dir, s.plain, s.tls, s.web, s.tls, s.web, key, certificate, w.anchor)
	if explain {
		conf.WriteString("\tede: yes\n")
	}
	conf.WriteString("remote-control:\n\tcontrol-enable: no\n")
	for _, z := range w.all {
		fmt.Fprintf(&conf, "stub-zone:\n\tname: %q\n\tstub-addr: %s\n", z, w.where(z))
	}
	dnsDaemon(t, peertest.Need(t, "unbound"), "-d", "-c", dnsFile(t, dir, "unbound.conf", conf.String()))
	dnsAwait(t, plainResolver(t, loopback(s.plain)), "test")
	return s
}

// forwarder starts named as a validating resolver.
func forwarder(t *testing.T, w *dnsWorld) secured {
	t.Helper()
	dir := t.TempDir()
	s, key, certificate := newSecured(t, dir)
	conf := fmt.Sprintf(`tls own { key-file %q; cert-file %q; };
http doh { endpoints { "/dns-query"; }; };
options {
	directory %q; pid-file none; session-keyfile none; lock-file none; managed-keys-directory %q;
	listen-on port %d { 127.0.0.1; };
	listen-on port %d tls own { 127.0.0.1; };
	listen-on port %d tls own http doh { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion yes; dnssec-validation yes; max-records-per-type 0; empty-zones-enable no;
};
controls { };
trust-anchors { %s };
zone "test" { type forward; forward only; forwarders { 127.0.0.1 port %d; }; };
`, key, certificate, dir, dir, s.plain, s.tls, s.web, w.staticDS, w.port)
	dnsDaemon(t, peertest.Need(t, "named"), "-g", "-c", dnsFile(t, dir, "forwarder.conf", conf))
	dnsAwait(t, plainResolver(t, loopback(s.plain)), "test")
	return s
}

func plainResolver(t *testing.T, servers ...string) *resolver.Resolver {
	t.Helper()
	return dnsResolver(t, resolver.Config{Servers: servers, MixCase: true, Timeout: 10 * time.Second, Attempts: 1})
}

func dnsResolver(t *testing.T, c resolver.Config) *resolver.Resolver {
	t.Helper()
	r, err := resolver.New(c)
	must(t, err)
	return r
}

// dnsCertificate writes a key and a certificate for loopback and tlsHost.
func dnsCertificate(t *testing.T, dir string) (keyFile, certificateFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{tlsHost}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(text))
	keyFile = dnsFile(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
	return keyFile, dnsFile(t, dir, "cert.pem", text), roots
}

func dnsFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// tool runs a program to its end and gives what it wrote.
func tool(t *testing.T, dir, program string, arguments ...string) string {
	t.Helper()
	cmd := exec.Command(peertest.Need(t, program), arguments...)
	cmd.Dir = dir
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s%s", program, arguments, err, out, &problems)
	}
	return string(out)
}

// blackHole takes questions and connections, and never answers.
func blackHole(t *testing.T) int {
	t.Helper()
	l, p, err := dnstest.Listen("127.0.0.1:0")
	must(t, err)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c); c.Close() }()
		}
	}()
	t.Cleanup(func() { p.Close(); l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
