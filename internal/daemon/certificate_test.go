package daemon_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/internal/ca"
	"chancery/internal/config"
	"chancery/internal/daemon"
	"chancery/internal/desk"
	"chancery/internal/peertest"
)

// TestStartWithoutTheNewKey restarts a replica that has not the new issuer's
// key: it serves the status side, and HTTPS as soon as it has the key.
func TestStartWithoutTheNewKey(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	a := start(t, plan(t, web, peertest.Postgres(t)))
	p := second(t, web, a.setup)
	p.Metrics = freeAddress(t)
	must[desk.RolledOver](t)(ask[desk.Line, desk.RolledOver](a, "ca.rollover", desk.Line{Name: ca.DefaultLine}))
	b := start(t, p)
	if code, text := fetch(t, b.http(), statusURL+"/roots.pem"); code != http.StatusOK {
		t.Errorf("the status side: %d %s", code, text)
	}
	if res, err := b.http().Get(baseURL + "/healthz"); err == nil {
		res.Body.Close()
		t.Error("HTTPS is served without a certificate")
	}
	ready := func() bool {
		code, _ := fetch(t, http.DefaultClient, "http://"+p.Metrics+"/readyz")
		return code == http.StatusOK
	}
	if ready() {
		t.Error("the replica says that it is ready")
	}
	if code, _ := fetch(t, http.DefaultClient, "http://"+p.Metrics+"/healthz"); code != http.StatusOK {
		t.Errorf("the process lives, and /healthz says %d", code)
	}
	copyKeys(t, a.setup, b.setup)
	until(t, "the replica has the key", ready)
	b.client()
}

// refusesToStart gives the error of a start, and checks that it left no keys.
func refusesToStart(t *testing.T, c *config.Config) error {
	t.Helper()
	d, err := daemon.Start(context.Background(), daemon.Options{Config: c, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		d.Close(within(t, long))
		t.Fatal("it starts")
	}
	made, err2 := filepath.Glob(filepath.Join(c.Data, "keys", "root-*"))
	if err2 != nil || len(made) != 0 {
		t.Errorf("there is a root's key: %v, %v", made, err2)
	}
	return err
}

// TestFoundingSeesFirst: no hierarchy is made that could not certify the server.
func TestFoundingSeesFirst(t *testing.T) {
	t.Parallel()
	p := plan(t, newSite(t), "")
	c := p.config()
	c.Hierarchy.Domains = []string{"corp.example"}
	c.URL.Base = "https://ca.elsewhere.example"
	var problems config.Problems
	if err := refusesToStart(t, c); !errors.As(err, &problems) || problems[0].Key != "hierarchy.domains" {
		t.Errorf("start: %v", err)
	}
	if _, err := daemon.Init(context.Background(), daemon.Options{Config: c, Logger: slog.New(slog.DiscardHandler)}); !errors.As(err, &problems) {
		t.Errorf("init: %v", err)
	}
	c.URL.Base = "https://ca.corp.example"
	d, err := daemon.Start(context.Background(), daemon.Options{Config: c, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal("the same directory after the mistake is mended:", err)
	}
	d.Close(within(t, long))
}

// TestOwnCertificateIsNotADeployments: whatever the profile tls-server was made
// into, the server has its certificate; and its own profile stays as it is.
func TestOwnCertificateIsNotADeployments(t *testing.T) {
	t.Parallel()
	p := plan(t, newSite(t), "")
	profiles := filepath.Join(p.Data, "profiles")
	c := p.config()
	c.Profiles = profiles
	text := strings.ReplaceAll(string(ca.ShippedText("tls-server")), `["dns", "ip"]`, `["ip"]`)
	if err := os.MkdirAll(profiles, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(profiles, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("own-service.toml", text)
	if err := refusesToStart(t, c); !strings.Contains(err.Error(), filepath.Join(profiles, "own-service.toml")) {
		t.Errorf("the error does not name the file: %v", err)
	}
	if err := os.Remove(filepath.Join(profiles, "own-service.toml")); err != nil {
		t.Fatal(err)
	}
	write("tls-server.toml", text)
	d, err := daemon.Start(context.Background(), daemon.Options{Config: c, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	d.Close(within(t, long))
	if shipped := ca.Shipped()["tls-server"]; shipped.Serves("core") {
		t.Error("tls-server is for the core still")
	}
}
