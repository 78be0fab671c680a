package device

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"chancery/internal/enroll/install"
)

// What others can aim elsewhere or exchange is refused, for keys, certificates and roots
// alike, and nothing is written where it leads.
func TestPlacesOfOthers(t *testing.T) {
	s := start(t)
	open, secret := filepath.Join(t.TempDir(), "open"), t.TempDir()
	if err := errors.Join(os.Mkdir(open, 0o755), os.Symlink(secret, filepath.Join(open, "way")), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	for name, place := range map[string]func(*Settings, string){
		"cert":    func(s *Settings, path string) { s.Install.Cert = path },
		"key":     func(s *Settings, path string) { s.Install.Key = path },
		"anchors": func(s *Settings, path string) { s.AnchorsOut = path },
	} {
		for _, path := range []string{filepath.Join(open, "x.pem"), filepath.Join(open, "way", "x.pem")} {
			d := s.open(t, t.TempDir(), nil)
			var o *Outcome
			err := locked(t, d, func(s *Settings) error { place(s, path); return plain(s) }, func(state *State) (err error) {
				o, err = d.Enroll(t.Context(), state, Ask{Fingerprint: s.fingerprint()})
				return err
			})
			if err == nil {
				err = o.Deployed
			}
			if _, refused := errors.AsType[*install.TargetError](err); !refused {
				t.Errorf("%s in %s: %v", name, path, err)
			}
			if _, err := os.Lstat(path); err == nil {
				t.Errorf("%s was written to %s", name, path)
			}
		}
	}
}
