package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"chancery/internal/desk"
)

// Root who stands in a directory where another user runs a server does not come to trust
// that user's root, and hears whose server it is.
func TestServerOfAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be another user")
	}
	const uid = 54321
	data, err := os.MkdirTemp("", "own")
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(data) })
	socket := filepath.Join(data, "admin", "socket")
	check(t, errors.Join(os.Chmod(data, 0o755), os.Mkdir(filepath.Dir(socket), 0o755), os.Chown(filepath.Dir(socket), uid, uid)))
	der := rootOfAnother(t)
	answer, err := json.Marshal(desk.Roots{Roots: []desk.Root{{PEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}}})
	check(t, err)
	serveAs(t, uid, socket, answer)
	system := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(system, "usr/local/share/ca-certificates"), 0o755))
	t.Setenv("SUDO_UID", "")
	for _, test := range []struct {
		verb, fingerprint, sudo string
		done                    bool
	}{
		{"install", "", "", false},
		{"uninstall", "", "", false},
		{"install", "", "54322", false},
		{"install", "", "54321", true},
		{"install", desk.Fingerprint(der), "", true},
	} {
		t.Setenv("SUDO_UID", test.sudo)
		args := []string{"trust", test.verb, "--data", data, "--root", system, "--dry-run"}
		if test.fingerprint != "" {
			args = append(args, "--fingerprint", test.fingerprint)
		}
		var out, told bytes.Buffer
		code := run(args, streams{in: strings.NewReader(""), out: &out, err: &told})
		if (code == 0) != test.done || !test.done && !strings.Contains(told.String(), "--fingerprint") {
			t.Errorf("%v: %d, %s%s", test, code, &out, &told)
		}
		if test.sudo != "54321" && !strings.Contains(told.String(), "run by uid:54321") {
			t.Errorf("%v: the owner is not named: %s", test, &told)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func rootOfAnother(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "His root"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	check(t, err)
	return der
}

// serveAs answers everything with the same, on a socket that the user listens on.
func serveAs(t *testing.T, uid int, path string, answer []byte) {
	t.Helper()
	listeners, failed := make(chan net.Listener, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with its goroutine
		same := ^uintptr(0)
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, same, uintptr(uid), same); errno != 0 {
			failed <- errno
			return
		}
		l, err := net.Listen("unix", path)
		if err != nil {
			failed <- err
			return
		}
		listeners <- l
	}()
	select {
	case l := <-listeners:
		h := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) })}
		go func() { _ = h.Serve(l) }()
		t.Cleanup(func() { _ = h.Close() })
	case err := <-failed:
		t.Fatal(err)
	}
}
