package tpm_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"chancery/internal/peertest"
	"chancery/internal/token"
	"chancery/internal/token/tpm"
)

// provider runs openssl with its TPM provider at this TPM.
func provider(t *testing.T, socket string) func(args ...string) []byte {
	t.Helper()
	openssl := peertest.Need(t, "openssl")
	peertest.Need(t, "socat")
	for _, pattern := range []string{"/usr/lib/*/ossl-modules/tpm2.so", "/usr/lib/*/libtss2-tcti-cmd.so.0"} {
		if found, _ := filepath.Glob(pattern); len(found) == 0 {
			peertest.Missing(t, pattern+" is not installed: apt-get install tpm2-openssl libtss2-tcti-cmd0")
		}
	}
	return func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command(openssl, append([]string{args[0], "-provider", "tpm2", "-provider", "default", "-propquery", "?provider=tpm2"}, args[1:]...)...)
		cmd.Env = append(os.Environ(), "TPM2OPENSSL_TCTI=cmd:socat - UNIX-CONNECT:"+socket, "TSS2_LOG=all+NONE")
		out, err := cmd.Output()
		if err != nil {
			said := ""
			if ended, ok := err.(*exec.ExitError); ok {
				said = string(ended.Stderr)
			}
			t.Fatalf("openssl %q: %v\n%s", args, err, said)
		}
		return out
	}
}

// OpenSSL's provider uses the keys that are made here, from the files that a device has, and
// the other way round.
func TestOpenSSLProvider(t *testing.T) {
	socket := peertest.TPM(t)
	openssl := provider(t, socket)
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("text"))
	verify := func(public crypto.PublicKey, signature []byte) bool {
		if public, is := public.(*rsa.PublicKey); is {
			return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature) == nil
		}
		return ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), digest[:], signature)
	}
	tokens := token.New(token.Options{})
	for kind, args := range map[string][]string{
		"ecdsa-p256": {"-algorithm", "EC", "-pkeyopt", "group:P-256"}, "rsa-2048": {"-algorithm", "RSA", "-pkeyopt", "bits:2048"},
	} {
		made, err := tokens.Make(t.Context(), token.Ref{TPM: &tpm.Address{Device: socket}}, kind)
		if err != nil {
			t.Fatal(err)
		}
		ours := filepath.Join(dir, kind+".ours")
		if err := os.WriteFile(ours, made.EncodeKey(), 0o600); err != nil {
			t.Fatal(err)
		}
		signature := filepath.Join(dir, kind+".sig")
		openssl("dgst", "-sha256", "-sign", ours, "-out", signature, text)
		if got, err := os.ReadFile(signature); err != nil || !verify(made.Public(), got) {
			t.Errorf("%s: OpenSSL's signature with our key is not one: %v", kind, err)
		}

		theirs := filepath.Join(dir, kind+".theirs")
		openssl(append([]string{"genpkey", "-out", theirs}, args...)...)
		found, err := os.ReadFile(theirs)
		if err != nil {
			t.Fatal(err)
		}
		ref, named, err := token.ParseFile(found)
		if err != nil || !named {
			t.Fatalf("%s: OpenSSL's file is not read: %v\n%s", kind, err, found)
		}
		ref.TPM.Device = socket
		opened, err := tokens.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(openssl("pkey", "-in", theirs, "-pubout"))
		if block == nil {
			t.Fatal("no public key")
		}
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		got, err := opened.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil || !verify(public, got) {
			t.Errorf("%s: our signature with OpenSSL's key is not one: %v", kind, err)
		}
	}
}
