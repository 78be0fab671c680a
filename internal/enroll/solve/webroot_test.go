package solve_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/acme"
	"chancery/internal/enroll/solve"
)

const thumb = ".LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ" // as of a key (RFC 8555 §8.1)

// Whatever a CA sends as token: a file directly in the directory for answers, or nothing;
// and after cleaning up nothing is left.
func FuzzWebrootToken(f *testing.F) {
	for _, seed := range []string{"evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA", "..", "../../x", "a/b", "/etc/passwd", "", ".", "a\x00b", "-", "a.b", strings.Repeat("a", 300), "\u202e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		base := t.TempDir()
		dir := filepath.Join(base, "root")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		w := &solve.Webroot{Dir: dir}
		id := acme.Identifier{Type: acme.IdentifierDNS, Value: "a.example"}
		challenge := acme.Challenge{Type: acme.ChallengeHTTP01, Token: token}
		presented := w.Present(t.Context(), id, challenge, token+thumb)
		var files []string
		if err := filepath.WalkDir(base, func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				files = append(files, path)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		want := filepath.Join(dir, ".well-known", "acme-challenge", token)
		switch {
		case presented != nil && acme.ValidToken(token) && len(token) < 200:
			t.Errorf("%q: %v", token, presented)
		case presented != nil && len(files) > 0:
			t.Errorf("%q: %v, and %v is there", token, presented, files)
		case presented == nil && (len(files) != 1 || files[0] != want || filepath.Dir(want) != filepath.Join(dir, ".well-known", "acme-challenge")):
			t.Errorf("%q made %v", token, files)
		}
		_ = w.CleanUp(t.Context(), id, challenge, token+thumb)
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%q leaves %v, %v", token, left, err)
		}
	})
}
