package main

import (
	"os"
	"path/filepath"
	"testing"

	"chancery/internal/peertest"
	"chancery/internal/token/loader"
	"chancery/internal/token/pkcs11"

	"github.com/rogpeppe/go-internal/testscript"
)

// The test's program is the PKCS#11 helper, too, by the name under which it is started.
func init() {
	if filepath.Base(os.Args[0]) == pkcs11.Program {
		os.Exit(loader.Main())
	}
}

// TestTokenScripts plays the stories of devices whose keys are in a PKCS#11 token (SoftHSM)
// and in a TPM (swtpm).
func TestTokenScripts(t *testing.T) {
	if !loader.Able {
		peertest.Missing(t, "these tests were built without cgo")
	}
	module, socket := peertest.Tokens(t).Module, peertest.TPM(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/token", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("MODULE", module)
			e.Setenv("TPM", socket)
			e.Setenv("SOFTHSM2_CONF", filepath.Join(e.WorkDir, "softhsm2.conf"))
			helpers := filepath.Join(e.WorkDir, "helpers")
			e.Setenv("PATH", helpers+string(os.PathListSeparator)+e.Getenv("PATH"))
			if err := os.MkdirAll(filepath.Join(e.WorkDir, "tokens"), 0o700); err != nil {
				return err
			}
			if err := os.Mkdir(helpers, 0o755); err != nil {
				return err
			}
			conf := "directories.tokendir = " + filepath.Join(e.WorkDir, "tokens") + "\nobjectstore.backend = file\nlog.level = ERROR\n"
			if err := os.WriteFile(e.Getenv("SOFTHSM2_CONF"), []byte(conf), 0o600); err != nil {
				return err
			}
			return os.Symlink(self, filepath.Join(helpers, pkcs11.Program))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": awaitServer, "fails": fails, "freeport": portFree, "capture": capture, "verify": verifyFile, "awaitout": awaitOutput,
		},
	})
}
