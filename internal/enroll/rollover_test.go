package enroll_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"chancery/internal/durable"
	"chancery/internal/enroll"
	"chancery/internal/enroll/solve"
	"chancery/internal/enroll/vault"
	"chancery/internal/resolver"
	"chancery/testca"
)

// The test binary runs itself as another process, which changes an account's key, or goes
// on an errand, and is killed before the change of the file system whose number
// CHANCERY_TEST_CRASH gives.
func TestMain(m *testing.M) {
	dir, errand := os.Getenv("CHANCERY_TEST_ROLLOVER"), os.Getenv("CHANCERY_TEST_ERRAND")
	if dir == "" && errand == "" {
		os.Exit(m.Run())
	}
	at, _ := strconv.Atoi(os.Getenv("CHANCERY_TEST_CRASH"))
	count := 0
	durable.Trace = func(string) {
		if count++; count == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	if errand != "" {
		if err := crashed(errand); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if err := rollover(dir, os.Getenv("CHANCERY_TEST_DIRECTORY"), os.Getenv("CHANCERY_TEST_ROOTS")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func rollover(dir, directory, roots string) error {
	text, err := os.ReadFile(roots)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	e, err := plainEngine(dir, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}})
	if err != nil {
		return err
	}
	at, err := e.Place(context.Background(), directory)
	if err != nil {
		return err
	}
	_, err = e.Rollover(context.Background(), at, "")
	return err
}

// plainEngine can do with accounts what is done by hand, and nothing else.
func plainEngine(dir string, way *http.Client) (*enroll.Engine, error) {
	v, err := vault.Open(dir)
	if err != nil {
		return nil, err
	}
	dns, err := resolver.New(resolver.Config{Servers: []string{"127.0.0.1:9"}})
	if err != nil {
		return nil, err
	}
	return enroll.New(enroll.Config{Resolver: dns, Vault: v, HTTP: func(*enroll.CA) *http.Client { return way },
		Solver: func(vault.Sheet) (*solve.Set, error) { return solve.NewSet(nil), nil }})
}

// Whenever the process is killed while a key is changed, the account is not lost.
func TestRolloverKilled(t *testing.T) {
	ca := testca.Start(t)
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Root.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	unfinished := 0
	for n := 1; ; n++ {
		dir := filepath.Join(t.TempDir(), "vault")
		e, err := plainEngine(dir, ca.HTTP())
		if err != nil {
			t.Fatal(err)
		}
		at, err := e.Place(t.Context(), ca.Directory)
		if err != nil {
			t.Fatal(err)
		}
		made, _, err := e.Register(t.Context(), at, enroll.NewAccount{AgreeTerms: true})
		if err != nil {
			t.Fatal(err)
		}
		child := exec.CommandContext(t.Context(), self)
		child.Env = append(os.Environ(), "CHANCERY_TEST_ROLLOVER="+dir, "CHANCERY_TEST_DIRECTORY="+ca.Directory, "CHANCERY_TEST_ROOTS="+roots, "CHANCERY_TEST_CRASH="+strconv.Itoa(n))
		child.Stderr = os.Stderr
		err = child.Run()
		if ended, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL) {
			t.Fatalf("step %d: %v", n, err)
		}
		rep, e2 := e.Account(t.Context(), at)
		if e2 != nil {
			t.Fatalf("step %d: %v", n, e2)
		}
		if rep.Unfinished {
			unfinished++
		}
		for _, contacts := range [][]string{nil, {"mailto:a@shop.example"}} { // the second needs no recovery
			after, err := e.Update(t.Context(), at, contacts)
			if err != nil || after.Account.URL != made.Account.URL {
				t.Fatalf("step %d: the account is %+v, %v", n, after.Account, err)
			}
		}
		if rep, err := e.Account(t.Context(), at); err != nil || rep.Unfinished {
			t.Errorf("step %d: %+v, %v", n, rep, err)
		}
		if err == nil { // it came to its end
			if n < 8 || unfinished < 3 {
				t.Errorf("only %d steps, and %d left the change unfinished", n-1, unfinished)
			}
			return
		}
	}
}
