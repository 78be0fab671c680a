package solve_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"chancery/acme"
	"chancery/internal/enroll/solve"
	"chancery/internal/porttest"
	"chancery/testca"
)

func TestStandaloneIssues(t *testing.T) {
	ca := testca.Start(t)
	set := solve.NewSet(nil, solve.Choice{Solver: &solve.Standalone{Address: loopback(ca.HTTPPort)}})
	job := solve.Job{Identifiers: []acme.Identifier{name("shop.example"), name("www.shop.example"), address("127.0.0.1")}}
	must(t, obtain(t.Context(), register(t, ca), set, job))
	if err := free(loopback(ca.HTTPPort)); err != nil {
		t.Errorf("the port is not free again: %v", err)
	}
}

// Orders of several clients and sets run at once and never open the port twice.
func TestStandaloneIsShared(t *testing.T) {
	ca := testca.Start(t)
	errs := make(chan error)
	const orders = 6
	for i := range orders {
		client := register(t, ca)
		go func() {
			set := solve.NewSet(nil, solve.Choice{Solver: &solve.Standalone{Address: loopback(ca.HTTPPort)}},
				solve.Choice{Solver: &solve.TLSALPN{Address: loopback(ca.TLSPort)}})
			job := solve.Job{Identifiers: []acme.Identifier{name(fmt.Sprintf("a%d.example", i)), name("shared.example")}}
			if i%2 == 0 { // so that the other port is shared, too
				job.Methods = map[string][]string{job.Identifiers[0].Value: {"tls-alpn-01"}}
			}
			errs <- obtain(t.Context(), client, set, job)
		}()
	}
	for range orders {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for _, port := range []int{ca.HTTPPort, ca.TLSPort} {
		if err := free(loopback(port)); err != nil {
			t.Errorf("the port is not free again: %v", err)
		}
	}
}

func get(t *testing.T, client *http.Client, method, url string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	must(t, err)
	response, err := client.Do(request)
	must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, string(text)
}

func TestStandaloneServesTheAnswerAlone(t *testing.T) {
	at := porttest.Address(t)
	s := &solve.Standalone{Address: at}
	ctx := t.Context()
	ch := challenge(acme.ChallengeHTTP01, token)
	must(t, s.Present(ctx, name("a.example"), ch, keyAuth))
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	base := "http://" + at
	for _, test := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", acme.HTTP01Path(token), 200, keyAuth},
		{"GET", acme.HTTP01Path(token) + "?x=y", 200, keyAuth},
		{"HEAD", acme.HTTP01Path(token), 200, ""},
		{"POST", acme.HTTP01Path(token), 404, "404 nothing here\n"},
		{"GET", acme.HTTP01Path(token) + "/", 404, "404 nothing here\n"},
		{"GET", acme.HTTP01Path(token[1:]), 404, "404 nothing here\n"},
		{"GET", acme.HTTP01Path(""), 404, "404 nothing here\n"},
		{"GET", "/.well-known//acme-challenge/" + token, 404, "404 nothing here\n"},
		{"GET", "/.well-known/acme-challenge/%65" + token[1:], 404, "404 nothing here\n"},
		{"GET", "/", 404, "404 nothing here\n"},
		{"OPTIONS", "/", 404, "404 nothing here\n"},
	} {
		status, body := get(t, client, test.method, base+test.path)
		if status != test.status || body != test.body {
			t.Errorf("%s %s: %d %q", test.method, test.path, status, body)
		}
	}
	must(t, s.CleanUp(ctx, name("a.example"), ch, keyAuth))
	must(t, s.CleanUp(ctx, name("a.example"), ch, keyAuth)) // once more does nothing
	if err := free(at); err != nil {
		t.Error(err)
	}
}

// Whoever says nothing cannot keep the port open, and too much is not read.
func TestStandaloneLimits(t *testing.T) {
	at := porttest.Address(t)
	s := &solve.Standalone{Address: at}
	ch := challenge(acme.ChallengeHTTP01, token)
	must(t, s.Present(t.Context(), name("a.example"), ch, keyAuth))
	silent, err := net.Dial("tcp", at)
	must(t, err)
	defer silent.Close()
	big, err := net.Dial("tcp", at)
	must(t, err)
	defer big.Close()
	go fmt.Fprintf(big, "GET / HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", strings.Repeat("x", 1<<20))
	line, err := bufio.NewReader(big).ReadString('\n')
	if err == nil && !strings.Contains(line, " 431 ") {
		t.Errorf("a header of 1 MiB was answered %q", line)
	}
	must(t, s.CleanUp(t.Context(), name("a.example"), ch, keyAuth))
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("the silent connection was answered")
	}
	if err := free(at); err != nil {
		t.Error(err)
	}
}

// Both families are served where no address is named.
func TestStandaloneBothFamilies(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	l.Close()
	port := strconv.Itoa(porttest.Free(t))
	s := &solve.Standalone{Address: ":" + port}
	ch := challenge(acme.ChallengeHTTP01, token)
	must(t, s.Present(t.Context(), name("a.example"), ch, keyAuth))
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		if status, body := get(t, http.DefaultClient, "GET", "http://"+host+":"+port+acme.HTTP01Path(token)); status != 200 || body != keyAuth {
			t.Errorf("%s: %d %q", host, status, body)
		}
	}
	must(t, s.CleanUp(t.Context(), name("a.example"), ch, keyAuth))
}

func TestPortBusy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	at := l.Addr().String()
	for _, test := range []struct {
		solver acme.Solver
		typ    acme.ChallengeType
	}{{&solve.Standalone{Address: at}, acme.ChallengeHTTP01}, {&solve.TLSALPN{Address: at}, acme.ChallengeTLSALPN01}} {
		set := solve.NewSet(nil, solve.Choice{Solver: test.solver})
		task, err := set.Begin(t.Context(), solve.Job{Identifiers: []acme.Identifier{name("a.example")}})
		must(t, err)
		err = task.Present(t.Context(), name("a.example"), challenge(test.typ, token), keyAuth)
		var port *solve.PortError
		var own *solve.Error
		if !errors.As(err, &port) || !errors.As(err, &own) || !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("%s: %v", test.typ, err)
		}
		for _, word := range []string{"another program", "webroot", "proxy", at} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%v does not say %q", err, word)
			}
		}
	}
	denied := &solve.PortError{Address: ":80", Err: os.NewSyscallError("bind", syscall.EACCES)}
	for _, word := range []string{"setcap", "webroot", "proxy"} {
		if !strings.Contains(denied.Error(), word) {
			t.Errorf("%v does not say %q", denied, word)
		}
	}
}

// site serves a directory where the CA looks.
func site(t *testing.T, dir string, port int) {
	t.Helper()
	l, err := net.Listen("tcp", loopback(port))
	must(t, err)
	server := &http.Server{Handler: http.FileServerFS(os.DirFS(dir))}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
}

func TestWebrootIssues(t *testing.T) {
	ca := testca.Start(t)
	dir := t.TempDir()
	site(t, dir, ca.HTTPPort)
	set := solve.NewSet(nil, solve.Choice{Solver: &solve.Webroot{Dir: dir}})
	var group sync.WaitGroup
	for i := range 3 {
		client := register(t, ca)
		group.Go(func() {
			job := solve.Job{Identifiers: []acme.Identifier{name(fmt.Sprintf("w%d.example", i)), name("shop.example")}}
			if err := obtain(t.Context(), client, set, job); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWebrootFiles(t *testing.T) {
	old := syscall.Umask(0o077) // the web server must be able to read all the same
	defer syscall.Umask(old)
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, ".well-known"), 0o755)) // the user's own: it stays
	w := &solve.Webroot{Dir: dir}
	ch := challenge(acme.ChallengeHTTP01, token)
	file := filepath.Join(dir, acme.HTTP01Path(token))
	for range 2 { // the second finds the first's file, as after a crash
		must(t, w.Present(t.Context(), name("a.example"), ch, keyAuth))
	}
	text, err := os.ReadFile(file)
	info, statErr := os.Stat(file)
	if err != nil || statErr != nil || string(text) != keyAuth || info.Mode().Perm() != 0o644 {
		t.Fatalf("%q, mode %v: %v, %v", text, info, err, statErr)
	}
	if info, err := os.Stat(filepath.Dir(file)); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the directory: %v, %v", info, err)
	}
	other := filepath.Join(filepath.Dir(file), "mine")
	must(t, os.WriteFile(other, nil, 0o600))
	must(t, w.CleanUp(t.Context(), name("a.example"), ch, keyAuth))
	if _, err := os.Stat(other); err != nil {
		t.Errorf("another's file is gone: %v", err)
	}
	must(t, os.Remove(other))
	must(t, w.CleanUp(t.Context(), name("a.example"), ch, keyAuth))
	left, err := filepath.Glob(filepath.Join(dir, ".well-known", "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".well-known")); err != nil {
		t.Errorf("the user's directory is gone: %v", err)
	}
}

// Whoever can write below the webroot cannot make us write elsewhere.
func TestWebrootLinks(t *testing.T) {
	outside := t.TempDir()
	victim := filepath.Join(outside, token)
	must(t, os.WriteFile(victim, []byte("precious"), 0o600))
	ch := challenge(acme.ChallengeHTTP01, token)
	t.Run("directory", func(t *testing.T) {
		dir := t.TempDir()
		must(t, os.Mkdir(filepath.Join(dir, ".well-known"), 0o755))
		must(t, os.Symlink(outside, filepath.Join(dir, ".well-known", "acme-challenge")))
		w := &solve.Webroot{Dir: dir}
		if err := w.Present(t.Context(), name("a.example"), ch, keyAuth); err == nil {
			t.Error("it was written")
		}
		if err := w.CleanUp(t.Context(), name("a.example"), ch, keyAuth); err == nil {
			t.Error("it was cleaned up")
		}
	})
	t.Run("file", func(t *testing.T) {
		dir := t.TempDir()
		must(t, os.MkdirAll(filepath.Join(dir, ".well-known/acme-challenge"), 0o755))
		must(t, os.Symlink(victim, filepath.Join(dir, acme.HTTP01Path(token))))
		w := &solve.Webroot{Dir: dir}
		must(t, w.Present(t.Context(), name("a.example"), ch, keyAuth)) // in the link's place
		must(t, w.CleanUp(t.Context(), name("a.example"), ch, keyAuth))
	})
	if text, err := os.ReadFile(victim); err != nil || string(text) != "precious" {
		t.Errorf("outside: %q, %v", text, err)
	}
	if err := (&solve.Webroot{Dir: filepath.Join(outside, "none")}).Present(t.Context(), name("a.example"), ch, keyAuth); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such directory: %v", err)
	}
}

func TestCancelledBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	at := porttest.Address(t)
	dir := t.TempDir()
	for _, s := range []acme.Solver{&solve.Standalone{Address: at}, &solve.TLSALPN{Address: at}, &solve.Webroot{Dir: dir}} {
		typ := s.Types(name("a.example"))[0]
		if err := s.Present(ctx, name("a.example"), challenge(typ, token), keyAuth); !errors.Is(err, context.Canceled) {
			t.Errorf("%T: %v", s, err)
		}
	}
	if err := free(at); err != nil {
		t.Error(err)
	}
}
