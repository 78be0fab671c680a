package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// known are the servers that can be measured, as -servers names them.
var known = []string{"chancery", "chancery-postgres", "pebble", "step-ca"}

// prepared is a server that is ready to be started, as often as wanted.
type prepared struct {
	name      string
	dir       string
	args      []string // the program first
	env       []string
	directory string // the ACME directory's URL
	roots     string // where its roots are to be had, as a URL; or a file
	metrics   string // Prometheus metrics, or ""
	socket    string // with /debug/pprof/, or ""
	database  bool   // PostgreSQL works for it
}

// prepare makes a fresh server in a directory of its own.
func (l *lab) prepare(ctx context.Context, name string) (*prepared, error) {
	dir, err := os.MkdirTemp(l.dir, name+"-")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	second, err := freePort()
	if err != nil {
		return nil, err
	}
	p := &prepared{name: name, dir: dir}
	switch name {
	case "pebble":
		return p, l.preparePebble(p, port, second)
	case "step-ca":
		return p, l.prepareStepCA(p, port)
	}
	database := ""
	if name == "chancery-postgres" {
		p.database = true
		if database, err = l.newDatabase(ctx); err != nil {
			return nil, err
		}
	}
	return p, l.prepareChancery(p, chancerySetup{port, second, database})
}

type chancerySetup struct {
	port, metrics int
	database      string // URL, or "" = SQLite
}

// prepareChancery leaves everything as it is from the start but for where to
// look and listen, and has no rate limits.
func (l *lab) prepareChancery(p *prepared, s chancerySetup) error {
	text := fmt.Sprintf(`[listen]
public = "127.0.0.1:%d"
metrics = "127.0.0.1:%d"
[database]
url = %q
[acme]
http01_port = %d
[validation]
resolvers = [%q]
[limits]
accounts_per_address = "0"
orders_per_account = "0"
`, s.port, s.metrics, s.database, l.webPort, l.dns.Addr())
	file, data := filepath.Join(p.dir, "chancery.toml"), filepath.Join(p.dir, "data")
	p.args = []string{l.binaries["chancery"], "serve", "--config", file, "--data", data}
	p.directory = fmt.Sprintf("https://localhost:%d/acme/directory", s.port)
	p.roots = fmt.Sprintf("http://localhost:%d/root.pem", s.port)
	p.metrics = fmt.Sprintf("http://127.0.0.1:%d/metrics", s.metrics)
	p.socket = filepath.Join(data, "admin", "socket")
	return os.WriteFile(file, []byte(text), 0o600)
}

// preparePebble turns its deliberate trouble off: sleeps, refused nonces,
// reused authorisations.
func (l *lab) preparePebble(p *prepared, port, management int) error {
	if err := l.bench.server(p.dir); err != nil {
		return err
	}
	root, file := filepath.Join(p.dir, "root.pem"), filepath.Join(p.dir, "pebble.json")
	if err := writeCertificate(root, l.bench.root); err != nil {
		return err
	}
	p.args = []string{l.binaries["pebble"], "-config", file, "-dnsserver", l.dns.Addr()}
	p.env = []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0"}
	p.directory = fmt.Sprintf("https://localhost:%d/dir", port)
	p.roots = fmt.Sprintf("https://localhost:%d/roots/0", management)
	return writeJSON(file, map[string]any{"pebble": map[string]any{
		"listenAddress":           "127.0.0.1:" + strconv.Itoa(port),
		"managementListenAddress": "127.0.0.1:" + strconv.Itoa(management),
		"certificate":             filepath.Join(p.dir, "cert.pem"), "privateKey": filepath.Join(p.dir, "key.pem"),
		"httpPort": l.webPort, "tlsPort": l.webPort, "ocspResponderURL": "",
		"keyAlgorithm": "ecdsa",
		"profiles":     map[string]any{"default": map[string]any{"description": "default", "validityPeriod": 7776000}},
	}})
}

// prepareStepCA writes what "step ca init" and "step ca provisioner add acme
// --type ACME" would, with the key in the clear: no password to wait for.
func (l *lab) prepareStepCA(p *prepared, port int) error {
	root, intermediate := filepath.Join(p.dir, "root.pem"), filepath.Join(p.dir, "intermediate.pem")
	if err := writeCertificate(root, l.bench.root); err != nil {
		return err
	}
	if err := writeCertificate(intermediate, l.bench.intermediate); err != nil {
		return err
	}
	key, file := filepath.Join(p.dir, "intermediate.key"), filepath.Join(p.dir, "ca.json")
	if err := writeKey(key, l.bench.intermediateKey); err != nil {
		return err
	}
	p.args = []string{l.binaries["step-ca"], file, "--resolver", l.dns.Addr(), "--insecure", "--acme-http-port", strconv.Itoa(l.webPort)}
	p.env = []string{"STEPPATH=" + p.dir}
	p.directory = fmt.Sprintf("https://localhost:%d/acme/acme/directory", port)
	p.roots = root
	return writeJSON(file, map[string]any{
		"root": root, "crt": intermediate, "key": key,
		"address": "127.0.0.1:" + strconv.Itoa(port), "dnsNames": []string{"localhost"},
		"logger":    map[string]any{"format": "text"},
		"db":        map[string]any{"type": "badgerv2", "dataSource": filepath.Join(p.dir, "db")},
		"authority": map[string]any{"provisioners": []any{map[string]any{"type": "ACME", "name": "acme"}}},
	})
}

func writeJSON(path string, value any) error {
	text, err := json.MarshalIndent(value, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
