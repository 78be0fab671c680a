package estserver_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/estserver"
	"chancery/internal/peertest"
)

// TestCurl enrols with curl in each of the ways that it knows: Basic, Digest with
// either algorithm as the server offers them, without a user name, with a certificate.
func TestCurl(t *testing.T) {
	curl := peertest.Need(t, "curl")
	for digest, login := range map[string]string{estserver.DigestOff: "--basic", estserver.DigestMD5: "--digest", estserver.DigestSHA256: "--digest"} {
		w := newWorld(t, func(c *estserver.Config) { c.Digest = digest }, plainLabel())
		w.standing("alice", "p", "*")
		w.standing("", "alone", "*")
		device := w.certify("device", ca.Subject{CommonName: "dev1"})
		dir := t.TempDir()
		write := func(name, kind string, der []byte) string {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		key, err := x509.MarshalPKCS8PrivateKey(device.key)
		if err != nil {
			t.Fatal(err)
		}
		roots := write("roots.pem", "CERTIFICATE", w.front.Certificate().Raw)
		certificate := []string{"--cert", write("cert.pem", "CERTIFICATE", device.cert.Raw), "--key", write("key.pem", "PRIVATE KEY", key)}
		_, port, _ := net.SplitHostPort(w.front.Listener.Addr().String())
		for name, how := range map[string][]string{
			"user": {login, "-u", "alice:p"}, "any way": {"--anyauth", "-u", "alice:p"}, "no user name": {login, "-u", ":alone"}, "certificate": certificate,
			"HTTP/1.1": {"--http1.1", login, "-u", "alice:p", "-H", "Expect: 100-continue"}, "TLS 1.2": {"--tls-max", "1.2", login, "-u", "alice:p"},
		} {
			content := filepath.Join(dir, "body")
			if err := os.WriteFile(content, est.Encode(asking("dev1").der(t), est.Wrapped), 0o600); err != nil {
				t.Fatal(err)
			}
			args := append([]string{"-sS", "--fail-with-body", "--cacert", roots, "--resolve", "example.com:" + port + ":127.0.0.1",
				"-H", "Content-Type: application/pkcs10", "--data-binary", "@" + content}, how...)
			cmd := exec.CommandContext(t.Context(), curl, append(args, "https://example.com:"+port+root+"simpleenroll")...)
			var words bytes.Buffer
			cmd.Stderr = &words
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("digest %q, %s: %v: %s%s", digest, name, err, words.String(), out)
				continue
			}
			cert := granted(t, &reply{Response: &http.Response{StatusCode: http.StatusOK}, body: out})
			if via := w.detail(cert)["via"]; strings.HasPrefix(login, "--digest") && name != "certificate" && via != "digest" {
				t.Errorf("digest %q, %s: it came by %q", digest, name, via)
			}
		}
	}
}
