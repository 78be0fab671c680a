package interop_test

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chancery/internal/peertest"
	"chancery/internal/porttest"
)

// eabSecret is the MAC key of the bindings that Pebble gives out, kid-1.
var eabSecret = []byte("a key of thirty-two octets, just")

// pebbleSetup is how a Pebble differs from a friendly one.
type pebbleSetup struct {
	binding bool   // it requires external account bindings
	nonces  string // percent of good nonces that it refuses
	// profiles beside "default", with their lives; Pebble takes any of them for an order
	// that names none.
	profiles map[string]time.Duration
}

// pebble starts one and gives its directory. The lab's clients trust its root.
func (l *lab) pebble(o pebbleSetup) string {
	l.t.Helper()
	binary := peertest.Built(l.t, "pebble")
	dir := l.t.TempDir()
	cert, key := l.serverFiles(dir)
	port, management := porttest.Free(l.t), porttest.Free(l.t)
	config := map[string]any{
		"listenAddress": fmt.Sprintf("127.0.0.1:%d", port), "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", management),
		"certificate": cert, "privateKey": key, "httpPort": l.http, "tlsPort": l.tls, "ocspResponderURL": "",
		"keyAlgorithm": "ecdsa", "externalAccountBindingRequired": o.binding,
		"externalAccountMACKeys": map[string]string{"kid-1": base64.RawURLEncoding.EncodeToString(eabSecret)},
	}
	profiles := map[string]any{"default": map[string]any{"description": "the usual", "validityPeriod": 90 * 24 * 3600}}
	for name, life := range o.profiles {
		profiles[name] = map[string]any{"description": name, "validityPeriod": int(life.Seconds())}
	}
	config["profiles"] = profiles
	file := filepath.Join(dir, "pebble.json")
	writeJSON(l.t, file, map[string]any{"pebble": config})
	cmd := exec.Command(binary, "-config", file, "-dnsserver", l.dns.Addr())
	if o.nonces == "" {
		o.nonces = "0"
	}
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0", "PEBBLE_WFE_NONCEREJECT="+o.nonces)
	l.run(cmd, port)
	l.anchor(l.pebbleRoot(management))
	return fmt.Sprintf("https://localhost:%d/dir", port)
}

// pebbleRoot asks for the root that this process made.
func (l *lab) pebbleRoot(management int) *x509.Certificate {
	l.t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(l.web.cert)
	hc := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	l.awaitPort(management)
	res, err := hc.Get(fmt.Sprintf("https://localhost:%d/roots/0", management))
	if err != nil {
		l.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return certificates(l.t, text)[0]
}

// stepSetup is what a step-ca says of itself.
type stepSetup struct {
	identities []string
	terms      string
}

// stepCA starts one, as "step ca init" and "step ca provisioner add acme --type ACME"
// leave it, and gives its directory.
func (l *lab) stepCA(o stepSetup) string {
	l.t.Helper()
	binary := peertest.Built(l.t, "step-ca")
	dir := l.t.TempDir()
	root := newSealer(l.t, "Step Root")
	between := &sealer{key: ecKey(l.t).(*ecdsa.PrivateKey)}
	between.cert = root.sign(l.t, &x509.Certificate{Subject: root.cert.Subject, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}, between.key.Public())
	keyDER, err := x509.MarshalECPrivateKey(between.key)
	if err != nil {
		l.t.Fatal(err)
	}
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			l.t.Fatal(err)
		}
		return path
	}
	provisioner := map[string]any{"type": "ACME", "name": "acme"}
	if o.identities != nil {
		provisioner["caaIdentities"] = o.identities
	}
	if o.terms != "" {
		provisioner["termsOfService"] = o.terms
	}
	port := porttest.Free(l.t)
	config := filepath.Join(dir, "ca.json")
	writeJSON(l.t, config, map[string]any{
		"root": file("root.pem", encodePEM(root.cert)), "crt": file("intermediate.pem", encodePEM(between.cert)),
		"key":     file("intermediate.key", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))),
		"address": fmt.Sprintf("127.0.0.1:%d", port), "dnsNames": []string{"localhost", "127.0.0.1", "ca1.test", "ca2.test", "ca3.test"},
		"logger": map[string]any{"format": "text"}, "db": map[string]any{"type": "badgerv2", "dataSource": filepath.Join(dir, "db")},
		"authority": map[string]any{"provisioners": []any{provisioner}},
	})
	cmd := exec.Command(binary, config, "--resolver", l.dns.Addr(), "--insecure",
		"--acme-http-port", fmt.Sprint(l.http), "--acme-tls-port", fmt.Sprint(l.tls))
	cmd.Env = append(os.Environ(), "STEPPATH="+dir)
	l.run(cmd, port)
	l.anchor(root.cert)
	return fmt.Sprintf("https://localhost:%d/acme/acme/directory", port)
}

// serverFiles writes a certificate for loopback and its key.
func (l *lab) serverFiles(dir string) (cert, key string) {
	l.t.Helper()
	pair := l.web.server(l.t, "localhost")
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		l.t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
	return cert, key
}

func writeJSON(t *testing.T, path string, value any) {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// run starts a server, which ends with the test, and waits until it listens.
func (l *lab) run(cmd *exec.Cmd, port int) {
	l.t.Helper()
	var out quiet
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if l.t.Failed() {
			l.t.Logf("%s:\n%s", filepath.Base(cmd.Path), out.tail())
		}
	})
	l.awaitPort(port)
}

func (l *lab) awaitPort(port int) {
	l.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("nobody listens on port %d", port)
		}
	}
}

// quiet keeps what a server says.
type quiet struct {
	mu   sync.Mutex
	text strings.Builder
}

func (q *quiet) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.text.Write(p)
}

func (q *quiet) tail() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	text := q.text.String()
	return text[max(0, len(text)-4000):]
}
