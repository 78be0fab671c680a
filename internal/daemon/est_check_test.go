package daemon_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// TestOpenCommonName: "CN=*" in certificates for servers is warned of, with its place, but
// not where a person looks or the profile is for clients alone.
func TestOpenCommonName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.toml")
	for text, want := range map[string]string{
		"names = ['own', 'CN=*']":                        "est.label[1].names",
		"names = ['CN=*']\nmanual = true":                "",
		"names = ['CN=*']\nprofile = 'ldevid'":           "",
		"names = ['CN=pump-*', '*.iot.example', 'SN=*']": "",
	} {
		if err := os.WriteFile(path, []byte("[[est.label]]\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, _, err := config.Load(path, config.Overrides{}, []string{"STATE_DIRECTORY=" + t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		got := daemon.Warnings(c, time.Now())
		if want == "" && len(got) != 0 || want != "" && (len(got) != 1 || got[0].Key != want || !strings.Contains(got[0].Text, "server-auth")) {
			t.Errorf("%q: %v", text, got)
		}
	}
}
