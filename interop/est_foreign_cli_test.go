package interop_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"chancery/est"
)

// TestESTOurCommandsElsewhere has our commands enrol, renew and refresh a device at
// somebody else's server: GlobalSign's.
func TestESTOurCommandsElsewhere(t *testing.T) {
	t.Parallel()
	w, root := &world{t: t, dir: t.TempDir()}, newSealer(t, "Elsewhere")
	address := foreignEST(t, w, root)
	program, err := chancery()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(w.dir, "device")
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, append([]string{"est"}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+w.dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("est %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	current := func() *x509.Certificate {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, "current", "cert.pem"))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if c.VerifyHostname("device.example") != nil || c.CheckSignatureFrom(root.cert) != nil {
			t.Errorf("it is for %v, by %s", c.DNSNames, c.Issuer)
		}
		return c
	}
	print := est.Fingerprint(root.cert.Raw, "sha256")
	if out := run("cacerts", "--server", address, "--fingerprint", print); !strings.Contains(out, "Elsewhere") {
		t.Errorf("%s", out)
	}
	out := run("enroll", "--server", "https://"+address, "--fingerprint", print, "--name", "device.example", "--dir", dir)
	if !strings.Contains(out, "Ready: a certificate for device.example") {
		t.Errorf("%s", out)
	}
	first := current()
	run("reenroll", "--dir", dir)
	if second := current(); second.Equal(first) || bytes.Equal(second.RawSubjectPublicKeyInfo, first.RawSubjectPublicKeyInfo) {
		t.Error("it is not renewed with a new key")
	}
	if out := run("cacerts", "--dir", dir); !strings.Contains(out, "trusted root") {
		t.Errorf("%s", out)
	}
}
