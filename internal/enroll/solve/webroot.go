package solve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"chancery/acme"
)

// Webroot meets http-01 (RFC 8555 §8.3) by a file below the directory that a web server
// serves as the root of the names. The names of several servers with directories of their
// own take several Choices.
type Webroot struct {
	// Dir must exist. Symbolic links inside of it are followed as long as they do not lead
	// out of it; those on the way to it are the administrator's affair, as nothing but
	// .well-known/acme-challenge with public files is made there and nothing else touched.
	Dir string
}

// sites remembers which directories were made below which root by this process, so that
// the last answer's clean-up takes them away, whoever made them.
var sites = struct {
	sync.Mutex
	made map[string]bool
}{made: map[string]bool{}}

// challengeDir is where the files go, from the root: first, then the whole.
var challengeDirs = []string{".well-known", path.Dir(strings.TrimPrefix(acme.HTTP01Path("x"), "/"))}

// Types gives http-01, as Standalone does.
func (w *Webroot) Types(identifier acme.Identifier) []acme.ChallengeType {
	if w.Dir == "" || !served(identifier) {
		return nil
	}
	return []acme.ChallengeType{acme.ChallengeHTTP01}
}

// Present writes the file, readable to everybody.
func (w *Webroot) Present(ctx context.Context, identifier acme.Identifier, challenge acme.Challenge, keyAuth string) error {
	if err := Check(identifier, challenge, keyAuth); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	sites.Lock()
	defer sites.Unlock()
	root, err := os.OpenRoot(w.Dir)
	if err != nil {
		return fmt.Errorf("the webroot cannot be opened: %w", err)
	}
	defer root.Close()
	name := challengeFile(challenge.Token)
	// Another process may take the empty directories away between our two steps.
	for range 5 {
		if err = w.directories(root); err == nil {
			err = writeNew(root, name, keyAuth)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		w.tidy(root, name)
		return fmt.Errorf("writing the answer below the webroot %s (may this user write there?): %w", w.Dir, err)
	}
	return nil
}

// CleanUp removes the file, and the directories that were made for it if they are empty.
func (w *Webroot) CleanUp(_ context.Context, identifier acme.Identifier, challenge acme.Challenge, keyAuth string) error {
	if err := Check(identifier, challenge, keyAuth); err != nil {
		return err
	}
	sites.Lock()
	defer sites.Unlock()
	root, err := os.OpenRoot(w.Dir)
	if err != nil {
		return fmt.Errorf("the webroot cannot be opened: %w", err)
	}
	defer root.Close()
	return w.tidy(root, challengeFile(challenge.Token))
}

func challengeFile(token string) string { return path.Join(challengeDirs[1], token) }

// directories makes those that are missing. sites is locked.
func (w *Webroot) directories(root *os.Root) error {
	for _, dir := range challengeDirs {
		err := root.Mkdir(dir, 0o755)
		switch {
		case err == nil:
			sites.made[w.key(dir)] = true
			// The web server runs as another user, and the umask may be strict.
			if err := root.Chmod(dir, 0o755); err != nil {
				return err
			}
		case !errors.Is(err, fs.ErrExist):
			return err
		}
	}
	return nil
}

func (w *Webroot) key(dir string) string {
	root, err := filepath.Abs(w.Dir)
	if err != nil {
		root = w.Dir
	}
	return filepath.Join(root, dir)
}

// writeNew makes a file that was not there, so that nothing is written through a link. A
// file of that name is one that an earlier run left.
func writeNew(root *os.Root, name, content string) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return errors.Join(err, f.Chmod(0o644), f.Close())
}

// tidy removes a file and, if they are empty, the directories made. sites is locked.
func (w *Webroot) tidy(root *os.Root, name string) error {
	err := root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, dir := range []string{challengeDirs[1], challengeDirs[0]} {
		// A directory that is not empty stays, for whoever comes last.
		if sites.made[w.key(dir)] && root.Remove(dir) == nil {
			delete(sites.made, w.key(dir))
		}
	}
	return err
}
