package peertest_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"chancery/internal/peertest"

	"github.com/jackc/pgx/v5"
)

func TestNeedFinds(t *testing.T) {
	if path := peertest.Need(t, "sh"); !strings.HasSuffix(path, "/sh") {
		t.Errorf("sh found at %q", path)
	}
	if p := peertest.Package("certtool"); p != "gnutls-bin" {
		t.Errorf("certtool is said to be in %q", p)
	}
}

// TestNeedMissing runs itself in a child, since a skip or failure ends a test.
func TestNeedMissing(t *testing.T) {
	if os.Getenv("PEERTEST_CHILD") != "" {
		peertest.Need(t, "no-such-program")
		t.Fatal("went on without the program")
	}
	for _, c := range []struct {
		peers, want string
		fails       bool
	}{{"", "--- SKIP", false}, {"required", "--- FAIL", true}} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestNeedMissing$", "-test.v")
		cmd.Env = append(os.Environ(), "PEERTEST_CHILD=1", "CHANCERY_PEERS="+c.peers)
		out, err := cmd.CombinedOutput()
		if (err != nil) != c.fails || !strings.Contains(string(out), c.want) ||
			!strings.Contains(string(out), "apt-get install no-such-program") {
			t.Errorf("CHANCERY_PEERS=%q: %v\n%s", c.peers, err, out)
		}
	}
}

func TestPostgresGivesSeparateEmptyDatabases(t *testing.T) {
	ctx := context.Background()
	for range 2 {
		conn, err := pgx.Connect(ctx, peertest.Postgres(t))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, "CREATE TABLE mine (a BIGINT)"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPostgresEndsWithTheProcess kills a child that has started a server and
// waits until the server's directory is gone.
func TestPostgresEndsWithTheProcess(t *testing.T) {
	if os.Getenv("PEERTEST_CHILD") != "" {
		os.Stdout.WriteString("URL " + peertest.Postgres(t) + "\n")
		select {}
	}
	peertest.Need(t, "initdb")
	cmd := exec.Command(os.Args[0], "-test.run=^TestPostgresEndsWithTheProcess$")
	cmd.Env = append(os.Environ(), "PEERTEST_CHILD=1", "CHANCERY_TEST_POSTGRES=")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 4096)
	n, err := stdout.Read(buffer)
	cmd.Process.Kill()
	cmd.Wait()
	line := string(buffer[:n])
	if err != nil || !strings.HasPrefix(line, "URL ") {
		t.Fatalf("child said %q, %v", line, err)
	}
	config, err := pgx.ParseConfig(strings.TrimSpace(strings.TrimPrefix(line, "URL ")))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(config.Host); os.IsNotExist(err) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", config.Host)
		}
	}
}
