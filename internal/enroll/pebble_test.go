package enroll_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"
	"chancery/internal/peertest"
	"chancery/internal/porttest"
)

// What is done by hand to an account is done at a server that others wrote.
func TestAccountAtPebble(t *testing.T) {
	key := slices.Repeat([]byte("k"), 32)
	directory, way := startPebble(t, peertest.Built(t, "pebble"), key)
	e, err := plainEngine(filepath.Join(t.TempDir(), "vault"), way)
	if err != nil {
		t.Fatal(err)
	}
	at, err := e.Place(t.Context(), directory)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Register(t.Context(), at, enroll.NewAccount{AgreeTerms: true}); err == nil {
		t.Error("an account was made without a binding")
	}
	v, err := vault.Open(filepath.Join(t.TempDir(), "other"))
	if err != nil {
		t.Fatal(err)
	}
	if e, err = plainEngine(v.Dir(), way); err != nil {
		t.Fatal(err)
	}
	if err := v.SetEAB(t.Context(), directory, acme.ExternalAccount{KeyID: "kid-1", Key: key}); err != nil {
		t.Fatal(err)
	}
	ca, made, err := e.Register(t.Context(), at, enroll.NewAccount{AgreeTerms: true, Contacts: []string{"mailto:a@letsencrypt.org"}})
	if err != nil || !made || ca.Account.EABKeyID != "kid-1" || len(ca.Terms) != 1 {
		t.Fatalf("%+v, %t, %v", ca, made, err)
	}
	url := ca.Account.URL
	if ca, err = e.Rollover(t.Context(), at, "ecdsa-p384"); err != nil || ca.Account.URL != url {
		t.Fatalf("%+v, %v", ca.Account, err)
	}
	if ca, err = e.Update(t.Context(), at, []string{"mailto:b@letsencrypt.org"}); err != nil || !slices.Equal(ca.Account.Contacts, []string{"mailto:b@letsencrypt.org"}) {
		t.Errorf("%+v, %v", ca.Account, err)
	}
	held, err := v.AccountKey(directory)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Forget(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if ca, err = e.Import(t.Context(), at, held); err != nil || ca.Account.URL != url {
		t.Fatalf("%+v, %v", ca.Account, err)
	}
	if ca, err = e.Deactivate(t.Context(), at); err != nil || ca.Account != nil {
		t.Errorf("%+v, %v", ca.Account, err)
	}
	if _, err := e.Import(t.Context(), at, held); err == nil {
		t.Error("a deactivated account was taken over")
	}
}

// startPebble gives the directory of a Pebble that wants a binding, and the way to it.
func startPebble(t *testing.T, binary string, mac []byte) (directory string, way *http.Client) {
	t.Helper()
	tr := newTrust(t)
	cert := tr.server(t, "localhost")
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir, addr := t.TempDir(), porttest.Address(t)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": addr, "managementListenAddress": porttest.Address(t), "certificate": filepath.Join(dir, "cert.pem"), "privateKey": filepath.Join(dir, "key.pem"),
		"httpPort": 5002, "tlsPort": 5001, "externalAccountBindingRequired": true,
		"externalAccountMACKeys": map[string]string{"kid-1": base64.RawURLEncoding.EncodeToString(mac)},
		"profiles":               map[string]any{"default": map[string]any{"description": "the only one", "validityPeriod": 7776000}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), "config.json": config,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), binary, "-config", filepath.Join(dir, "config.json"), "-strict")
	cmd.Env = append(os.Environ(), "PEBBLE_WFE_NONCEREJECT=10", "PEBBLE_AUTHZREUSE=0")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for { // until it listens; go test's own time limit ends this
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			break
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("pebble ended: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return "https://" + addr + "/dir", &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: tr.pool}}}
}
