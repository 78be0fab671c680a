package vault

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"chancery/internal/durable"
)

// What is kept of CAs that were met and never used: an owner may name others each day.
const (
	strangersKept = 256
	strangersAge  = 32 * 24 * time.Hour // longer than any CA's wish to be left alone counts
)

// stranger is a CA without an account, a key or a certificate.
type stranger struct {
	dir      string
	incident bool
	changed  time.Time
}

// PruneCAs forgets CAs that have neither account nor key, from which no certificate or
// order of the vault is, and of which nothing was noted for 32 days; of the others it
// keeps the newest 256, those with an incident first. A record that cannot be read stays.
// It says how many are gone.
func (v *Vault) PruneCAs(ctx context.Context, now time.Time) (gone int, err error) {
	all, err := v.strangers()
	if err != nil || len(all) == 0 {
		return 0, err
	}
	slices.SortFunc(all, func(a, b stranger) int {
		if a.incident != b.incident {
			if a.incident {
				return -1
			}
			return 1
		}
		return b.changed.Compare(a.changed)
	})
	var used map[string]bool
	for i, s := range all {
		if i < strangersKept && now.Sub(s.changed) < strangersAge {
			continue
		}
		if used == nil {
			used = v.used()
		}
		if used[filepath.Base(s.dir)] {
			continue
		}
		if err := v.dropCA(ctx, s); err != nil {
			return gone, err
		}
		gone++
	}
	return gone, nil
}

func (v *Vault) strangers() ([]stranger, error) {
	entries, err := os.ReadDir(v.path("cas"))
	if err != nil {
		return nil, durable.Explain(err, v.path("cas"))
	}
	var all []stranger
	for _, e := range entries {
		if !e.IsDir() || durable.Temporary(e.Name()) {
			continue
		}
		if s, ok := asStranger(v.path("cas", e.Name())); ok {
			all = append(all, s)
		}
	}
	return all, nil
}

func asStranger(dir string) (stranger, bool) {
	for _, key := range []string{accountKey, nextKey} {
		if _, err := os.Lstat(filepath.Join(dir, key)); !errors.Is(err, fs.ErrNotExist) {
			return stranger{}, false
		}
	}
	ca, err := readCA(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || ca.Account != nil {
		return stranger{}, false
	}
	info, err := os.Stat(dir) // it changes with each file that is replaced
	if err != nil {
		return stranger{}, false
	}
	return stranger{dir: dir, incident: ca.Incident != nil, changed: info.ModTime()}, true
}

// used are the CAs of certificates and orders, by the names of their directories.
func (v *Vault) used() map[string]bool {
	used := map[string]bool{}
	add := func(directory string) {
		if name, err := canonical(directory); err == nil {
			used[fingerprint(name)] = true
		}
	}
	for r := range v.Records() {
		if r.Current != nil {
			add(r.Current.Directory)
		}
		if r.Pending != nil {
			add(r.Pending.Directory)
		}
		for _, p := range r.Kept {
			add(p.Directory)
		}
	}
	return used
}

// dropCA removes one, unless somebody came to use it meanwhile.
func (v *Vault) dropCA(ctx context.Context, s stranger) error {
	all := filepath.Dir(s.dir)
	return inDir(ctx, all, func() error {
		unlock, err := durable.LockDir(ctx, s.dir)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		defer unlock()
		if again, ok := asStranger(s.dir); !ok || !again.changed.Equal(s.changed) {
			return nil
		}
		gone := filepath.Join(all, "."+filepath.Base(s.dir)+".chancery-removed")
		if err := os.RemoveAll(gone); err != nil {
			return durable.Explain(err, gone)
		}
		if err := durable.Rename(s.dir, gone); err != nil {
			return err
		}
		durable.Step("remove", s.dir)
		return durable.Explain(os.RemoveAll(gone), gone)
	})
}
