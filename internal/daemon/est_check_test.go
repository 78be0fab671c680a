package daemon_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/internal/config"
	"chancery/internal/daemon"
)

// TestPatternProblems: every bad pattern of every label is told at once, each at its line.
func TestPatternProblems(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.toml")
	text := "[[est.label]]\nnames = [\"own\", \"192.0.2.0/99\", \"otherName:*\"]\n\n[[est.label]]\nname = \"line\"\nnames = [\"a*b*c\"]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := config.Load(path, config.Overrides{}, []string{"STATE_DIRECTORY=" + t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	var problems config.Problems
	if !errors.As(daemon.Check(c), &problems) || len(problems) != 3 {
		t.Fatalf("%d problems: %v", len(problems), problems)
	}
	for i, want := range []struct {
		line      int
		key, text string
	}{{2, "est.label[1].names", "192.0.2.0/99"}, {2, "est.label[1].names", "otherName:*"}, {6, "est.label[2].names", "a*b*c"}} {
		p := problems[i]
		if p.Line != want.line || p.Key != want.key || !strings.Contains(p.Text, want.text) || strings.Contains(p.Text, "netip") {
			t.Errorf("%+v", p)
		}
	}
}
