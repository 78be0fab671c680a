package client

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"chancery/internal/enroll/settings"
	"chancery/internal/owned"
)

// Roots that others could change are trusted by nobody.
func TestRootsOfOthers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(name, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o666); err != nil {
		t.Fatal(err)
	}
	for what, s := range map[string]*settings.Settings{
		"discovery": {Discovery: settings.Discovery{Roots: name}}, "ca": {CAs: []settings.CA{{Label: "one", Roots: name}}},
	} {
		_, err := engineSettings(s)
		if refusal, ok := errors.AsType[*owned.Refusal](err); !ok || refusal.Path != name {
			t.Errorf("%s: %v", what, err)
		}
	}
}
