package solve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"chancery/acme"
)

// Sweep takes away what processes that are no more have left, by their journal entries.
// Call it at start, with a set of all that is configured. It ends when the context does;
// what is not taken away by then, or cannot be, stays in the journal and is reported.
func (s *Set) Sweep(ctx context.Context) error {
	if s.journal == nil {
		return nil
	}
	files, err := os.ReadDir(s.journal.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the journal of challenges: %w", err)
	}
	var errs []error
	for _, f := range files {
		if !f.Type().IsRegular() || filepath.Ext(f.Name()) != ".json" {
			continue
		}
		if ctx.Err() != nil {
			errs = append(errs, fmt.Errorf("the answers that earlier runs left are not all taken away; the next run goes on with it: %w", context.Cause(ctx)))
			break
		}
		errs = append(errs, s.sweep(ctx, filepath.Join(s.journal.Dir, f.Name())))
	}
	return errors.Join(errs...)
}

func (s *Set) sweep(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its process has just finished
	}
	if err != nil {
		return fmt.Errorf("the journal of challenges: %w", err)
	}
	e := &entry{f, path}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		e.abandon() // its process lives
		return nil
	}
	var p presentation
	text, err := io.ReadAll(io.LimitReader(f, maxEntry))
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err == nil {
		err = Check(p.Identifier, p.Challenge, p.KeyAuth)
	}
	if err != nil {
		e.abandon()
		return fmt.Errorf("%s cannot be read; look whether the answer in it still stands somewhere, then remove the file: %w", path, err)
	}
	if p.gone() {
		return e.remove()
	}
	by := s.remover(p)
	if by == nil {
		e.abandon()
		by := "nothing is configured that could take it away"
		if p.Provider != "" {
			by = "no [[challenge.dns]] called " + quote(p.Provider) + " is configured, which put it there"
		}
		return fmt.Errorf("%s: the %s answer for %s was left by an earlier run, and %s; remove it and the file", path, p.Challenge.Type, quote(p.Identifier.Value), by)
	}
	ctx, cancel := context.WithTimeout(ctx, cleanUpTime)
	defer cancel()
	return standing{p, e}.takeAway(ctx, by)
}

// gone tells that an answer cannot stand any more: its process served it, or the directory
// that it was in is no more.
func (p presentation) gone() bool {
	if p.Webroot == "" {
		return p.Port
	}
	_, err := os.Stat(p.Webroot)
	return errors.Is(err, fs.ErrNotExist)
}

// remover gives what can take an answer away: what put it there, where the entry says so.
func (s *Set) remover(p presentation) acme.Solver {
	if p.Webroot != "" {
		return &Webroot{Dir: p.Webroot}
	}
	if p.Provider != "" {
		i := slices.IndexFunc(s.choices, func(c Choice) bool { return c.Label == p.Provider })
		if i < 0 {
			return nil
		}
		return s.choices[i].Solver
	}
	return (&Task{choices: s.choices}).solver(p.Identifier, p.Challenge.Type)
}
