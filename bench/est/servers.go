package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"chancery/internal/porttest"
)

// device is the name in every certificate: all clients are one device that renews.
const device = "device.example"

// server is one that runs.
type server struct {
	base    string // https://HOST:PORT
	metrics string // URL, or ""
	roots   *x509.CertPool
	client  tls.Certificate
	command *exec.Cmd
	ended   chan struct{}
}

// launch starts the server that a task names, with an empty store.
func launch(ctx context.Context, o options, t task) (*server, error) {
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return nil, err
	}
	if t.name != "chancery" {
		return launchFloor(ctx, t)
	}
	return launchChancery(ctx, o, t)
}

func launchFloor(ctx context.Context, t task) (*server, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{command: exec.Command(program)}
	s.command.Env = append(os.Environ(), floorDirectory+"="+t.dir, floorKind+"="+t.name, "GOGC=300") // as chancery sets itself
	if err := s.start(t.dir); err != nil {
		return nil, err
	}
	address, err := s.await(ctx, func() ([]byte, error) {
		text, err := os.ReadFile(filepath.Join(t.dir, "address"))
		if err == nil && len(text) == 0 {
			err = errors.New("it has written no address")
		}
		return text, err
	})
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(string(address))
	if err != nil {
		return nil, err
	}
	s.base = "https://localhost:" + port
	if s.client, err = tls.LoadX509KeyPair(filepath.Join(t.dir, "client.pem"), filepath.Join(t.dir, "client.key")); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(t.dir, "root.pem"))
	s.trust(text)
	return s, err
}

// launchChancery starts it as it comes, but for where it listens, and has it certify a
// device.
func launchChancery(ctx context.Context, o options, t task) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	metrics, err := freePort()
	if err != nil {
		return nil, err
	}
	file, data := filepath.Join(t.dir, "chancery.toml"), filepath.Join(t.dir, "data")
	text := fmt.Sprintf("[listen]\npublic = \"127.0.0.1:%d\"\nmetrics = \"127.0.0.1:%d\"\n[[est.label]]\nrevoke_old = false\n", port, metrics)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s := &server{base: fmt.Sprintf("https://localhost:%d", port), metrics: fmt.Sprintf("http://127.0.0.1:%d/metrics", metrics),
		command: exec.Command(o.binary, "serve", "--config", file, "--data", data)}
	if err := s.start(t.dir); err != nil {
		return nil, err
	}
	roots, err := s.await(ctx, func() ([]byte, error) { return get(fmt.Sprintf("http://localhost:%d/root.pem", port)) })
	if err != nil {
		return nil, err
	}
	s.trust(roots)
	return s, s.certify(ctx, o.binary, t.dir, data)
}

// certify gets the device's first certificate from an administrator.
func (s *server) certify(ctx context.Context, binary, dir, data string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := request(key)
	if err != nil {
		return err
	}
	in, out := filepath.Join(dir, "client.csr"), filepath.Join(dir, "client.pem")
	if err := writePEM(in, "CERTIFICATE REQUEST", der); err != nil {
		return err
	}
	sign := exec.CommandContext(ctx, binary, "cert", "sign", in, "--profile", "device", "--out", out, "--data", data)
	if text, err := sign.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	chain, err := os.ReadFile(out)
	if err != nil {
		return err
	}
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		s.client.Certificate = append(s.client.Certificate, block.Bytes)
	}
	s.client.PrivateKey = key
	return nil
}

// request makes the CSR that every enrolment sends, with a key of its own.
func request(key *ecdsa.PrivateKey) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: device}, DNSNames: []string{device}}, key)
}

func (s *server) trust(text []byte) {
	s.roots = x509.NewCertPool()
	s.roots.AppendCertsFromPEM(text)
}

func (s *server) start(dir string) error {
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.command.Stdout, s.command.Stderr, s.ended = log, log, make(chan struct{})
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.command.Start(); err != nil {
		return err
	}
	go func() {
		s.command.Wait() // how it ended does not matter
		close(s.ended)
	}()
	return nil
}

// await repeats a question until it is answered.
func (s *server) await(ctx context.Context, ask func() ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		answer, err := ask()
		if err == nil {
			return answer, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("it does not start: %w", err)
		case <-s.ended:
			return nil, errors.New("it ended")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *server) stop() {
	s.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		s.command.Process.Kill()
		<-s.ended
	}
}

// cpu is user and system time of the server so far, in steps of 10 ms.
func (s *server) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.command.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// commits are the physical commits so far, 0 where nobody counts them.
func (s *server) commits() (batches, commits float64) {
	if s.metrics == "" {
		return 0, 0
	}
	text, err := get(s.metrics)
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch name {
		case "chancery_db_batches_total":
			batches, _ = strconv.ParseFloat(value, 64)
		case "chancery_db_commits_total":
			commits, _ = strconv.ParseFloat(value, 64)
		}
	}
	return batches, commits
}

func get(url string) ([]byte, error) {
	client := http.Client{Timeout: 5 * time.Second}
	res, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	return body(res)
}

// freePort gives a port that is the caller's until the process ends.
func freePort() (int, error) {
	port, _, err := porttest.Take()
	return port, err
}
