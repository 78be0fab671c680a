package install

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"chancery/internal/durable"
)

// Install puts the bundle where the target says. All files are written beside
// their places first; only then are they renamed into them, one by one, and all
// put back if one cannot be. What a crash left is cleared away by the next Install,
// which may be of the same bundle: it does everything anew. Directories that are
// missing are made, for their owner to write and everybody to enter. Others that
// install into the same directories wait, though not for long: whoever may read a
// directory can hold its lock. The error is a *TargetError where the target is at
// fault.
func (t Target) Install(ctx context.Context, b Bundle) error {
	if err := t.Validate(); err != nil {
		return err
	}
	if err := b.Check(); err != nil {
		return err
	}
	owner, err := t.owner()
	if err != nil {
		return err
	}
	w := newWalker(owner)
	defer w.close()
	files, err := t.files(b, w, owner)
	if err != nil {
		return err
	}
	return put(ctx, files)
}

// Put writes one file that others may read where path, which is absolute, says, by the
// rules of [Target.Install]: for what goes beside a certificate, as the CA's roots.
func Put(ctx context.Context, path string, data []byte) error {
	w := newWalker(durable.Nobody)
	defer w.close()
	dir, path, err := w.settle(path)
	if err != nil {
		return err
	}
	return put(ctx, []placed{{durable.File{Path: path, Data: data, Mode: 0o644, Owner: durable.Nobody}, dir}})
}

// put replaces files of which the ways are judged.
func put(ctx context.Context, files []placed) error {
	unlock, err := lockDirs(ctx, files)
	if err != nil && (!isBusy(err) || ctx.Err() != nil) {
		return err
	}
	if err == nil { // else what a crash left stays for another time
		defer unlock()
		if err := sweep(files); err != nil {
			return err
		}
	}
	return replace(files)
}

// placed is a file with the open directory that it goes to.
type placed struct {
	durable.File
	dir *os.Root
}

// base is the file's name in its directory.
func (p placed) base() string { return filepath.Base(p.Path) }

// files are the wanted files with their content, at the paths behind symbolic links.
func (t Target) files(b Bundle, w *walker, owner durable.Owner) ([]placed, error) {
	contents, err := t.contents(b)
	if err != nil {
		return nil, err
	}
	var files []placed
	seen := map[string]string{}
	for _, p := range t.places() {
		dir, path, err := w.settle(p.path)
		if err != nil {
			return nil, err
		}
		if before := seen[path]; before != "" {
			return nil, &TargetError{Path: p.path, Reason: "leads to the same file as " + before + ": choose two"}
		}
		seen[path] = p.path
		files = append(files, placed{durable.File{Path: path, Data: contents[p.field], Mode: t.mode(p), Owner: owner}, dir})
	}
	return files, nil
}

// mode gives the permissions that a file is to have.
func (t Target) mode(p place) fs.FileMode {
	mode, otherwise := t.Mode, fs.FileMode(0o644)
	if p.secret {
		mode, otherwise = t.KeyMode, 0o600
	}
	if mode == 0 {
		return otherwise
	}
	return fs.FileMode(mode)
}

// contents encodes what is wanted.
func (t Target) contents(b Bundle) (map[string][]byte, error) {
	key, err := EncodeKey(b.Key)
	if err != nil {
		return nil, err
	}
	full := EncodeCertificates(b.Chain...)
	contents := map[string][]byte{
		"key": key, "cert": EncodeCertificates(b.Chain[0]), "chain": EncodeCertificates(b.Chain[1:]...),
		"fullchain": full, "combined": slices.Concat(full, key),
	}
	if t.PKCS12 != "" {
		if contents["pkcs12"], err = t.pkcs12(b); err != nil {
			return nil, err
		}
	}
	return contents, nil
}

// owner finds user and group, by name or number.
func (t Target) owner() (durable.Owner, error) {
	owner := durable.Nobody
	if t.Owner != "" {
		id := t.Owner
		if u, err := user.Lookup(t.Owner); err == nil {
			id = u.Uid
		}
		n, err := strconv.ParseUint(id, 10, 31)
		if err != nil {
			return owner, &TargetError{Reason: fmt.Sprintf("there is no user %q on this machine", t.Owner)}
		}
		owner.UID = int(n)
	}
	if t.Group != "" {
		id := t.Group
		if g, err := user.LookupGroup(t.Group); err == nil {
			id = g.Gid
		}
		n, err := strconv.ParseUint(id, 10, 31)
		if err != nil {
			return owner, &TargetError{Reason: fmt.Sprintf("there is no group %q on this machine", t.Group)}
		}
		owner.GID = int(n)
	}
	return owner, nil
}

// String lists the paths.
func (t Target) String() string { return strings.Join(t.Paths(), ", ") }
