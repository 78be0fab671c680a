package peertest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// SoftHSM is a PKCS#11 library with tokens of its own, in files that end with the test.
type SoftHSM struct {
	Module string // path of the library
	Dir    string // where the tokens are: each object is a file of its own there
}

// Tokens gives a SoftHSM with no token yet. It sets SOFTHSM2_CONF for this process.
func Tokens(t testing.TB) *SoftHSM {
	t.Helper()
	Need(t, "softhsm2-util")
	places, _ := filepath.Glob("/usr/lib/*/softhsm/libsofthsm2.so")
	for _, path := range append([]string{"/usr/lib/softhsm/libsofthsm2.so"}, places...) {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		dir := t.TempDir()
		conf := filepath.Join(dir, "softhsm2.conf")
		if err := os.WriteFile(conf, []byte("directories.tokendir = "+dir+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("SOFTHSM2_CONF", conf)
		return &SoftHSM{Module: path, Dir: dir}
	}
	Missing(t, "SoftHSM's library is not installed: apt-get install "+Package("softhsm2-util"))
	return nil
}

// Init makes a token with this label and user PIN.
func (*SoftHSM) Init(t testing.TB, label, pin string) {
	t.Helper()
	out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "12345678").CombinedOutput()
	if err != nil {
		t.Fatalf("softhsm2-util: %v\n%s", err, out)
	}
}

// TPM starts a TPM 2.0 (swtpm) that ends with the test, and gives its Unix socket. It forgets
// nothing between connections.
func TPM(t testing.TB) (socket string) {
	t.Helper()
	program := Need(t, "swtpm")
	state := t.TempDir()
	short, err := os.MkdirTemp("", "tpm") // the path of a socket has at most 107 octets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	socket = filepath.Join(short, "s")
	cmd := exec.Command(program, "socket", "--tpm2", "--tpmstate", "dir="+state, "--server", "type=unixio,path="+socket, "--flags", "not-need-init,startup-clear")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		connection, err := net.Dial("unix", socket)
		if err == nil {
			connection.Close()
			return socket
		}
		if time.Now().After(end) {
			t.Fatalf("swtpm does not answer: %v", err)
		}
	}
}
