package status_test

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"chancery/internal/ca"
	"chancery/internal/peertest"
)

// shell runs openssl in a directory with the bench's certificates as files.
type shell struct {
	program, dir, url string
}

func newShell(t *testing.T, b *bench) *shell {
	t.Helper()
	s := &shell{program: peertest.Need(t, "openssl"), dir: t.TempDir()}
	server := httptest.NewServer(b.handler)
	t.Cleanup(server.Close)
	s.url = server.URL
	s.write(t, "root.pem", b.Issuers().Roots()[0].Raw)
	s.write(t, "issuer.pem", b.issuing().Certificate().Raw)
	return s
}

func (s *shell) write(t *testing.T, name string, der []byte) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(filepath.Join(s.dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// run gives what openssl printed, both ways; it must succeed.
func (s *shell) run(t *testing.T, words string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.program, strings.Fields(words)...)
	cmd.Dir = s.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", words, err, out)
	}
	return string(out)
}

func TestOpenSSLAsks(t *testing.T) {
	b := newBench(t)
	s := newShell(t, b)
	good, bad := b.leaf(t, "good.example"), b.leaf(t, "bad.example")
	b.revoke(t, bad, ca.KeyCompromise)
	s.write(t, "good.pem", good.Raw)
	s.write(t, "bad.pem", bad.Raw)
	// The responder's certificate is enclosed and the issuer's is given by
	// -issuer and -verify_other, as clients have it from the handshake.
	base := "ocsp -url " + s.url + "/ocsp -CAfile root.pem -verify_other issuer.pem -issuer issuer.pem "
	for name, c := range map[string]struct {
		words string
		want  []string
	}{
		"nonce":              {"-nonce -cert good.pem", []string{"good.pem: good"}},
		"no nonce":           {"-no_nonce -cert good.pem", []string{"good.pem: good"}},
		"revoked":            {"-nonce -cert bad.pem", []string{"bad.pem: revoked", "Reason: keyCompromise"}},
		"SHA-256":            {"-no_nonce -sha256 -cert bad.pem", []string{"bad.pem: revoked"}},
		"several":            {"-nonce -cert good.pem -cert bad.pem -serial 0x4711", []string{"good.pem: good", "bad.pem: revoked", "0x4711: unknown"}},
		"several, no nonces": {"-no_nonce -cert bad.pem -sha256 -cert good.pem", []string{"good.pem: good", "bad.pem: revoked"}},
	} {
		out := s.run(t, base+c.words)
		for _, want := range append(c.want, "Response verify OK") {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", name, want, out)
			}
		}
		if strings.Contains(out, "WARNING") { // "no nonce in response", times out of range
			t.Errorf("%s:\n%s", name, out)
		}
	}
}

// TestOpenSSLReadsGet: openssl has no GET of its own, so it makes the request
// and reads the response.
func TestOpenSSLReadsGet(t *testing.T) {
	b := newBench(t)
	s := newShell(t, b)
	s.write(t, "leaf.pem", b.leaf(t, "leaf.example").Raw)
	for _, nonce := range []string{"-no_nonce", "-nonce"} {
		s.run(t, "ocsp -issuer issuer.pem -cert leaf.pem -reqout ask.der "+nonce)
		ask, err := os.ReadFile(filepath.Join(s.dir, "ask.der"))
		if err != nil {
			t.Fatal(err)
		}
		text := base64.StdEncoding.EncodeToString(ask)
		for _, path := range []string{url.PathEscape(text), url.QueryEscape(text), text} {
			s.fetch(t, "/ocsp/"+path, "answer.der")
			out := s.run(t, "ocsp -respin answer.der -CAfile root.pem -verify_other issuer.pem -reqin ask.der -resp_text -no_nonce") // no second nonce
			if !strings.Contains(out, "Cert Status: good") || !strings.Contains(out, "Response verify OK") {
				t.Errorf("%s:\n%s", nonce, out)
			}
		}
	}
}

func TestOpenSSLReadsCRL(t *testing.T) {
	b := newBench(t)
	s := newShell(t, b)
	bad := b.leaf(t, "bad.example")
	b.revoke(t, bad, ca.Superseded)
	if _, err := b.RefreshCRLs(t.Context()); err != nil {
		t.Fatal(err)
	}
	shard := b.issuing().ShardOf(ca.SerialOf(bad.SerialNumber))
	s.fetch(t, fmt.Sprintf("/crl/%s/%d.crl", b.issuing().ID, shard), "list.der")
	out := s.run(t, "crl -inform DER -in list.der -CAfile issuer.pem -verify -text -noout")
	for _, want := range []string{"verify OK", strings.ToUpper(string(ca.SerialOf(bad.SerialNumber))), "Superseded"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// fetch stores what the server gives.
func (s *shell) fetch(t *testing.T, path, name string) {
	t.Helper()
	resp, err := http.Get(s.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: HTTP %d, %v", path, resp.StatusCode, err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, name), body, 0o600); err != nil {
		t.Fatal(err)
	}
}
