package interop_test

import (
	"bufio"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/internal/peertest"
)

// castle is the EST client of testdata/bouncycastle/Est.java, running.
type castle struct {
	*estLab
	in   io.Writer
	out  *bufio.Scanner
	said *words
}

func (l *estLab) castle(t *testing.T) *castle {
	t.Helper()
	java, classes := peertest.Need(t, "java"), peertest.Jars(t, "bcpkix", "bcprov", "bcutil", "bctls")
	peertest.Need(t, "javac") // a JRE alone does not run sources
	source, err := filepath.Abs(filepath.Join("testdata", "bouncycastle", "Est.java"))
	if err != nil {
		t.Fatal(err)
	}
	c := &castle{estLab: l, said: &words{}}
	cmd := exec.CommandContext(t.Context(), java, "-cp", classes, source)
	cmd.Dir, cmd.Env, cmd.Stderr = l.dir, l.environment(), c.said
	cmd.WaitDelay = 5 * time.Second
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.in, c.out = in, bufio.NewScanner(out)
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(c.said)
		}
	})
	return c
}

// does has the client do one thing and gives what it says of it. The listener is the one
// for all clients unless the line says otherwise.
func (c *castle) does(t *testing.T, line string) string {
	t.Helper()
	for _, usual := range []string{"server=" + c.at(c.port), "root=" + c.root, "tls=TLSv1.3"} {
		if word, _, _ := strings.Cut(usual, "="); !strings.Contains(line, " "+word+"=") {
			line += " " + usual
		}
	}
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		t.Fatalf("%v\n%s", err, c.said)
	}
	if !c.out.Scan() {
		t.Fatalf("Bouncy Castle ended:\n%s", c.said)
	}
	return c.out.Text()
}

// must is does for what must succeed so that the answer begins with these words.
func (c *castle) must(t *testing.T, line, want string) string {
	t.Helper()
	said := c.does(t, line)
	if !strings.HasPrefix(said, want) {
		t.Fatalf("%s: want %q, Bouncy Castle says %s", line, want, said)
	}
	return said
}

const castleUser = " user=" + estUser + " password=correct-horse-battery"
