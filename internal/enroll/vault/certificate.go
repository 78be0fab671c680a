package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"chancery/internal/durable"
	"chancery/internal/enroll/install"
)

const (
	recordFile = "record.json"
	currentDir = "current"
	pendingKey = "pending.key"
)

func (v *Vault) certDir(name string) (string, error) {
	if err := CheckLabel(name); err != nil {
		return "", err
	}
	return v.path("certificates", name), nil
}

// Lineage is the directory with privkey.pem, cert.pem, chain.pem and
// fullchain.pem of the certificate that is current; it is swapped as a whole.
func (v *Vault) Lineage(name string) string { return v.path("certificates", name, currentDir) }

// Paths are the files of a current certificate.
type Paths struct {
	Lineage   string `json:"lineage"` // the directory of the others
	Key       string `json:"key"`
	Cert      string `json:"cert"`
	Chain     string `json:"chain"`
	FullChain string `json:"fullChain"`
}

// Paths gives where the current certificate of that name is, or will be.
func (v *Vault) Paths(name string) Paths {
	at := v.Lineage(name)
	return Paths{
		Lineage: at, Key: filepath.Join(at, install.KeyFile), Cert: filepath.Join(at, install.CertFile),
		Chain: filepath.Join(at, install.ChainFile), FullChain: filepath.Join(at, install.FullChainFile),
	}
}

// Record gives the record of a certificate; ErrNone if there is none.
func (v *Vault) Record(name string) (Record, error) {
	dir, err := v.certDir(name)
	if err != nil {
		return Record{}, err
	}
	r, err := readRecord(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, fmt.Errorf("%w: a certificate named %s", ErrNone, name)
	}
	return r, err
}

func readRecord(dir string) (r Record, err error) {
	path := filepath.Join(dir, recordFile)
	if err := read(path, &r); err != nil {
		return Record{}, err
	}
	return r, r.check(path)
}

// check refuses a record that was moved, or whose generation could lead elsewhere.
func (r Record) check(path string) error {
	switch {
	case strings.Contains(r.Sheet.Name, "/") || !strings.HasSuffix(path, "/"+r.Sheet.Name+"/"+recordFile):
		return &FileError{Path: path, Reason: fmt.Sprintf("this is the record of %.80q: directories of the vault cannot be renamed; give it back its name", r.Sheet.Name)}
	case r.Current != nil && install.GenerationNumber(r.Current.Generation) == 0:
		return &FileError{Path: path, Reason: "this file is damaged: it names no generation; restore it from a backup"}
	}
	return nil
}

// Names lists the certificates with a record, sorted.
func (v *Vault) Names() ([]string, error) {
	entries, err := os.ReadDir(v.path("certificates"))
	if err != nil {
		return nil, durable.Explain(err, v.path("certificates"))
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() || CheckLabel(e.Name()) != nil {
			continue
		}
		if _, err := os.Lstat(v.path("certificates", e.Name(), recordFile)); err == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Records reads one record after the other, by name, and keeps none: 10 000 are
// read in a fraction of a second. One that cannot be read comes with its error
// and its name alone, and the others follow.
func (v *Vault) Records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		entries, err := os.ReadDir(v.path("certificates"))
		if err != nil {
			yield(Record{}, durable.Explain(err, v.path("certificates")))
			return
		}
		for _, e := range entries {
			if !e.IsDir() || CheckLabel(e.Name()) != nil {
				continue
			}
			r, err := readRecord(v.path("certificates", e.Name()))
			if errors.Is(err, fs.ErrNotExist) { // a lock alone
				continue
			}
			if err != nil {
				r = Record{Sheet: Sheet{Name: e.Name()}}
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// UpdateRecord reads a record, or begins one, lets change alter it, and writes it
// back; no other process does the same meanwhile. If change fails nothing is
// written. It is short, and works with and without Lock.
func (v *Vault) UpdateRecord(ctx context.Context, name string, change func(*Record) error) error {
	dir, err := v.certDir(name)
	if err != nil {
		return err
	}
	return inDir(ctx, dir, func() error { return changeRecord(dir, change) })
}

func changeRecord(dir string, change func(*Record) error) error {
	path := filepath.Join(dir, recordFile)
	r, err := readRecord(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var before []byte
	if err == nil {
		if before, err = encode(r); err != nil {
			return err
		}
	}
	if err := change(&r); err != nil {
		return err
	}
	r.Sheet.Name = filepath.Base(dir)
	if err := r.check(path); err != nil {
		return err
	}
	after, err := encode(r)
	if err != nil || bytes.Equal(before, after) {
		return err
	}
	return replace(path, after)
}

// Lock keeps other processes from obtaining or installing the same certificate.
// It waits until ctx is done; the error is then a *BusyError that names the
// process. First it makes good what a crash left half done.
func (v *Vault) Lock(ctx context.Context, name string) (unlock func(), err error) {
	dir, err := v.certDir(name)
	if err != nil {
		return nil, err
	}
	unlock, err = openDir(ctx, dir, func() (func(), error) {
		return durable.Lock(ctx, filepath.Join(dir, "lock"), "the certificate "+name)
	})
	if err != nil {
		return nil, err
	}
	// Holding the lock, what is left is little: it is not called off.
	if err := inDir(context.WithoutCancel(ctx), dir, func() error { return repair(dir) }); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// repair makes the link agree with the record, which is written first.
func repair(dir string) error {
	r, err := readRecord(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && r.Current == nil {
		return nil
	}
	if err != nil {
		return err
	}
	link := filepath.Join(dir, currentDir)
	if target, err := os.Readlink(link); err == nil && target == r.Current.Generation {
		return nil
	}
	if info, err := os.Lstat(link); err == nil && info.Mode().Type() != fs.ModeSymlink {
		return &FileError{Path: link, Reason: "should be a symbolic link to a generation: move it away, and it is made again"}
	}
	if _, err := os.Stat(filepath.Join(dir, r.Current.Generation, install.KeyFile)); err != nil {
		return &FileError{Path: filepath.Join(dir, recordFile), Reason: "names the generation " + r.Current.Generation + ", whose files are gone: restore them from a backup, or remove this certificate and get it anew", Err: err}
	}
	return durable.Symlink(r.Current.Generation, link)
}

// Remove deletes a certificate with its keys and record. Lock it first; what was
// installed elsewhere stays. ErrNone if there is none.
func (v *Vault) Remove(ctx context.Context, name string) error {
	dir, err := v.certDir(name)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: a certificate named %s", ErrNone, name)
	}
	all := filepath.Dir(dir)
	return inDir(ctx, all, func() error {
		gone := filepath.Join(all, "."+name+".chancery-removed")
		if err := os.RemoveAll(gone); err != nil {
			return durable.Explain(err, gone)
		}
		if err := durable.Rename(dir, gone); err != nil {
			return err
		}
		durable.Step("remove", dir)
		return durable.Explain(os.RemoveAll(gone), gone)
	})
}
