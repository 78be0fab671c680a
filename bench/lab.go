package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"chancery/internal/dnstest"
	"chancery/internal/porttest"
)

// lab is what all measurements share: the DNS and the web server that answer
// validations, the programs, and the directory for data.
type lab struct {
	options
	dir      string
	dns      *dnstest.Server
	web      *http.Server
	webPort  int
	answers  sync.Map // token: key authorisation
	bench    *authority
	postgres *postgres            // nil until wanted
	homes    map[string]*prepared // by server: a stopped one with data in it, for timing starts
}

func newLab(ctx context.Context, o options) (_ *lab, err error) {
	l := &lab{options: o, homes: map[string]*prepared{}}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.dir, err = os.MkdirTemp(o.dir, "chancery-bench-"); err != nil {
		return nil, err
	}
	if err = os.Chmod(l.dir, 0o711); err != nil { // PostgreSQL's user must pass
		return nil, err
	}
	if l.dns, err = dnstest.Start("127.0.0.1:0"); err != nil {
		return nil, err
	}
	l.dns.Default(netip.MustParseAddr("127.0.0.1"))
	if err = l.serveAnswers(); err != nil {
		return nil, err
	}
	if l.bench, err = newAuthority(); err != nil {
		return nil, err
	}
	return l, l.needPrograms(ctx)
}

func (l *lab) close() {
	if l.web != nil {
		l.web.Close()
	}
	if l.dns != nil {
		l.dns.Close()
	}
	if l.postgres != nil {
		l.postgres.stop()
	}
	if l.dir != "" {
		os.RemoveAll(l.dir)
	}
}

// serveAnswers is the web server of every name (RFC 8555 §8.3).
func (l *lab) serveAnswers() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	l.webPort = listener.Addr().(*net.TCPAddr).Port
	l.web = &http.Server{ReadTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.URL.Path, "/.well-known/acme-challenge/")
		answer, ok := l.answers.Load(token)
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		fmt.Fprint(w, answer)
	})}
	go l.web.Serve(listener) // ends with close
	return nil
}

// peers are the modules that peers are built from.
var peers = map[string]string{
	"pebble":  "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1",
	"step-ca": "github.com/smallstep/certificates/cmd/step-ca@v0.30.2",
}

// needPrograms builds what is needed and not named.
func (l *lab) needPrograms(ctx context.Context) error {
	for _, server := range l.servers {
		program, _, _ := strings.Cut(server, "-postgres")
		if l.binaries[program] != "" {
			continue
		}
		path, err := l.build(ctx, program)
		if err != nil {
			return err
		}
		l.binaries[program] = path
	}
	return nil
}

func (l *lab) build(ctx context.Context, program string) (string, error) {
	cmd := exec.CommandContext(ctx, "go")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	place := filepath.Join(l.cache, peers[program])
	path := filepath.Join(place, program)
	if module, ok := peers[program]; ok {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		fmt.Fprintln(messages, "building", module)
		cmd.Env = append(cmd.Env, "GOBIN="+place)
		cmd.Args = append(cmd.Args, "install", "-trimpath", module)
	} else {
		root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "chancery").Output()
		if err != nil {
			return "", fmt.Errorf("finding chancery's source: %w; run this in its bench directory", err)
		}
		path = filepath.Join(l.dir, "chancery") // never an old one
		cmd.Dir = strings.TrimSpace(string(root))
		cmd.Args = append(cmd.Args, "build", "-trimpath", "-o", path, "./cmd/chancery")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", program, err, out)
	}
	return path, nil
}

// freePort gives a port that is the caller's until the process ends.
func freePort() (int, error) {
	port, _, err := porttest.Take()
	return port, err
}
