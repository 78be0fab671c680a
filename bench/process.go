package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a server that runs.
type process struct {
	*prepared
	cmd    *exec.Cmd
	ended  chan struct{} // closed when it has ended
	start  time.Duration // from exec to the first answer
	client *http.Client  // that trusts anybody: for readiness and metrics only
}

const (
	startLimit = 30 * time.Second
	stopLimit  = 10 * time.Second
)

// launch starts the server and waits for its first answer.
func (p *prepared) launch(ctx context.Context) (*process, error) {
	s := &process{prepared: p, cmd: exec.Command(p.args[0], p.args[1:]...), ended: make(chan struct{}), client: anybody()}
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd.Dir, s.cmd.Env = p.dir, append(os.Environ(), p.env...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	// A terminal's Ctrl-C is for us; the server ends when we say so, or with us.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	begin := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		s.cmd.Wait() // how it ended does not matter; that it did is told
		close(s.ended)
	}()
	if err := s.answers(ctx); err != nil {
		s.stop()
		return nil, fmt.Errorf("it does not start: %w\n%s", err, p.logEnd())
	}
	s.start = time.Since(begin)
	return s, nil
}

// answers waits for the first 200.
func (s *process) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		_, err := s.get(ctx, s.directory)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-s.ended:
			return errors.New("it ended")
		case <-time.After(time.Millisecond):
		}
	}
}

// stop lets it end in peace, then without.
func (s *process) stop() {
	s.client.CloseIdleConnections()
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(stopLimit):
		s.kill()
	}
}

func (s *process) kill() {
	s.cmd.Process.Kill()
	<-s.ended
}

func (p *prepared) logEnd() string {
	text, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	return string(text[max(0, len(text)-2000):])
}

// pool has the roots that its certificates must lead to.
func (s *process) pool(ctx context.Context) (*x509.CertPool, error) {
	var text []byte
	var err error
	if strings.HasPrefix(s.roots, "http") {
		text, err = s.get(ctx, s.roots)
	} else {
		text, err = os.ReadFile(s.roots)
	}
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", s.roots)
	}
	return pool, nil
}

// anybody makes a client that checks no certificate.
func anybody() *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

func (s *process) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", url, res.Status)
	}
	return text, err
}
