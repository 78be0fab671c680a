package peertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// modules are the programs that no Debian package has in the version that is tested
// against: the package to build, and the variable that names a binary that exists.
var modules = map[string]struct{ variable, at string }{
	"pebble":  {"PEBBLE", "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1"},
	"step-ca": {"STEP_CA", "github.com/smallstep/certificates/cmd/step-ca@v0.30.2"},
}

// Built returns the path of a program that is built from its module: the one that its
// variable (PEBBLE, STEP_CA) names, else the one in the user's cache directory, which is
// built if it is not there. That needs the module proxy once and some minutes; without it
// the test is skipped, or fails if CHANCERY_PEERS=required. Nothing of the program gets
// into the module that is tested.
func Built(t testing.TB, program string) string {
	t.Helper()
	m, ok := modules[program]
	if !ok {
		t.Fatalf("peertest: no module is known for %s", program)
	}
	if path := os.Getenv(m.variable); path != "" {
		return path
	}
	building.Lock()
	defer building.Unlock()
	cache, err := os.UserCacheDir()
	if err != nil {
		Missing(t, program+" has nowhere to be built: "+err.Error())
	}
	place := filepath.Join(cache, "chancery-bench", m.at) // the benchmark's own place
	path := filepath.Join(place, program)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.Command("go", "install", "-trimpath", m.at)
	cmd.Dir = os.TempDir() // outside of any module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOBIN="+place)
	if out, err := cmd.CombinedOutput(); err != nil {
		Missing(t, "go install "+m.at+": "+err.Error()+"\n"+string(out))
	}
	return path
}

// building keeps two tests from building the same.
var building sync.Mutex
