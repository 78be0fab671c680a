package device

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"chancery/est"
	"chancery/internal/durable"
	"chancery/internal/enroll/install"
	"chancery/internal/token"
	"chancery/internal/token/fault"
)

// errX25519 says that a server wants keys that simple enrolment has no use for.
var errX25519 = errors.New("the server certifies keys that cannot sign (X25519), which simple enrolment cannot ask for: use chancery est fullcmc, or let the server make the key")

// kindOf reads the kind of key that a person or a server named, and decides what they left
// open: in the same way for keys in files, tokens and TPMs.
func kindOf(name string) (est.KeySpec, error) {
	if name == "" {
		return est.KeySpec{}.Definite(), nil
	}
	spec, err := est.ParseKeySpec(name)
	if err == nil && spec.Algorithm.Equal(est.OIDX25519) {
		err = errX25519
	}
	return spec.Definite(), err
}

// defaultLabel is what keys in tokens are called where the place says nothing.
const defaultLabel = "chancery est"

// makeKey makes a key in the token or TPM of the settings. One that was made in that token
// and is nobody's, as a crash or a refused request left it, is taken instead.
func (d *Device) makeKey(ctx context.Context, s *State, kind est.KeySpec) (crypto.Signer, error) {
	where, err := token.Parse(s.Settings.KeyIn)
	if err != nil {
		return nil, err
	}
	for {
		ref, old, err := d.plan(s, where)
		if err != nil {
			return nil, err
		}
		if !old && ref.PKCS11 != nil {
			if err := d.note(ctx, s, ref); err != nil {
				return nil, err
			}
		}
		key, err := d.tokens.Make(ctx, ref, kind.Name())
		switch {
		case err != nil:
			return nil, err
		case kind.Fits(key.Public()):
			return key, nil
		case !old:
			return nil, &fault.Error{Kind: fault.Unfit, Reason: "the token made a key of another kind than " + kind.Name() + ", which was wanted: choose a kind that it has with --key-type"}
		}
		s.spend(ref.String()) // another kind was wanted then
		if err := d.sweep(ctx, s); err != nil {
			return nil, err
		}
	}
}

// note keeps the name of a key in Made before it is made; but only when its token is open:
// of one that is not there, or that no PIN opens, there would be nothing to delete.
func (d *Device) note(ctx context.Context, s *State, ref token.Ref) error {
	switch _, err := d.tokens.Open(ctx, ref); {
	case err == nil: // the id of ref is random
		return &fault.Error{Kind: fault.Ambiguous, Reason: "the token says that it has a key of any id that it is asked for, so a new one could not be told from others"}
	case !fault.Is(err, fault.Missing):
		return err
	}
	s.Made = append(s.Made, ref.String())
	return d.save(s)
}

// plan names the key that is to be made: one of Made that is nobody's and was never
// certified, which old says, else a new one, called by the generation that it is for. It
// keeps nothing. Where the files of a generation cannot be read, what was made
// since the last certificate is none of theirs, and may be taken.
func (d *Device) plan(s *State, where token.Ref) (ref token.Ref, old bool, err error) {
	if where.PKCS11 == nil {
		ref, err = token.Plan(where, "")
		return ref, false, err
	}
	free, err := d.free(s)
	if err != nil {
		return ref, false, err
	}
	for _, ref := range free.spare {
		if ref.Place().Same(where) {
			ref.PIN = where.PIN
			return ref, true, nil
		}
	}
	label := where.PKCS11.Object
	if label == "" {
		label = defaultLabel
	}
	numbers, err := install.Generations(d.dir)
	if err != nil {
		return ref, false, err
	}
	if ref, err = token.Plan(where, label+" "+install.GenerationName(append(numbers, 0)[0]+1)); err != nil {
		return ref, false, err
	}
	return ref, false, nil
}

// free are the keys that were made in tokens and that nothing here names.
type free struct {
	spare  []token.Ref // never certified: a request may take them
	spent  []token.Ref // only to be deleted
	unread error       // why a file cannot be read that may name some of them all the same
}

// all are those that can be deleted.
func (f free) all() []token.Ref { return slices.Concat(f.spent, f.spare) }

// free sorts the keys of Made that nothing names. The error says that Made is damaged.
func (d *Device) free(s *State) (f free, err error) {
	made, err := d.made(s)
	if err != nil || len(made) == 0 {
		return f, err
	}
	names, unread := d.certified(s)
	f.unread = unread
	if s.Pending != nil {
		ref, err := nameIn(d.path(pendingKey))
		names, f.unread = append(names, ref), cmp.Or(f.unread, err)
	}
	for _, ref := range made {
		switch {
		case slices.ContainsFunc(names, ref.meantBy):
		case slices.Contains(s.Spent, ref.String()):
			f.spent = append(f.spent, ref.Ref)
		default:
			f.spare = append(f.spare, ref.Ref)
		}
	}
	return f, nil
}

// madeKey is one of Made.
type madeKey struct{ token.Ref }

// made reads Made.
func (d *Device) made(s *State) (list []madeKey, err error) {
	for _, name := range s.Made {
		ref, err := token.Parse(name)
		if err != nil || ref.PKCS11 == nil {
			return nil, &FileError{Path: d.path(stateFile), Reason: "this file is damaged: a key that was made has no name that can be read; restore it from a backup", Err: err}
		}
		list = append(list, madeKey{ref})
	}
	return list, nil
}

// meantBy tells whether a name may mean this key: by its id, which is random, or where the
// name has none by what it has (RFC 7512 §2.3).
func (k madeKey) meantBy(name token.Ref) bool {
	n, own := name.PKCS11, k.PKCS11
	if n == nil {
		return false
	}
	if len(n.ID) > 0 {
		return bytes.Equal(n.ID, own.ID)
	}
	for _, pair := range [][2]string{{n.Token, own.Token}, {n.Manufacturer, own.Manufacturer}, {n.Model, own.Model}, {n.Serial, own.Serial}, {n.Object, own.Object}} {
		if pair[0] != "" && pair[1] != "" && pair[0] != pair[1] {
			return false
		}
	}
	return true
}

// certified gives the keys in tokens that certificates here are of: those of generations,
// and of the settings. The error says which file cannot be read, and may name others.
func (d *Device) certified(s *State) (names []token.Ref, unread error) {
	var sources []string
	numbers, unread := install.Generations(d.dir)
	for _, n := range numbers {
		sources = append(sources, d.path(install.GenerationName(n), install.KeyFile))
	}
	add := func(ref token.Ref, err error) {
		names, unread = append(names, ref), cmp.Or(unread, err)
	}
	for _, files := range []*Files{s.Settings.Maker, s.Settings.SealTo} {
		switch {
		case files == nil:
		case token.IsName(files.Key):
			add(token.Parse(files.Key))
		default:
			sources = append(sources, files.Key)
		}
	}
	for _, path := range sources {
		add(nameIn(path))
	}
	return names, unread
}

// nameIn reads the name of a key in a file; the zero one if there is a key itself, or no
// file.
func nameIn(path string) (token.Ref, error) {
	text, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return token.Ref{}, nil
	}
	if err != nil {
		return token.Ref{}, err
	}
	defer clear(text)
	ref, _, err := token.ParseFile(text)
	if err != nil {
		return token.Ref{}, &FileError{Path: path, Reason: "the key's name in this file cannot be read", Err: err}
	}
	return ref, nil
}

// spend marks a key of Made: no request takes it any more.
func (s *State) spend(name string) {
	if !slices.Contains(s.Spent, name) {
		s.Spent = append(s.Spent, name)
	}
}

// spendCertified marks those that have had a certificate, so that none gets another one when
// the files that tell it are gone. What cannot be read may have been of any.
func (d *Device) spendCertified(s *State) {
	if len(s.Made) == 0 {
		return
	}
	names, unread := d.certified(s)
	made, err := d.made(s)
	if err != nil || unread != nil {
		s.Spent = slices.Clone(s.Made)
		return
	}
	for _, key := range made {
		if slices.ContainsFunc(names, key.meantBy) {
			s.spend(key.String())
		}
	}
}

// sweep deletes the keys from their tokens that nothing here names any more, as those of
// generations that are gone. What cannot be deleted now is the next time.
func (d *Device) sweep(ctx context.Context, s *State) error {
	free, err := d.free(s)
	if err != nil || len(free.all()) == 0 {
		return err
	}
	if free.unread != nil {
		d.tell(Warned, "no old key is deleted from its token, as what cannot be read may name it: %v; restore that file from a backup, or take it away with its directory if that is not what current leads to", free.unread)
		return d.save(s)
	}
	for _, ref := range free.all() {
		durable.Step("delete", ref.PKCS11.Object)
		if err := d.tokens.Remove(ctx, ref); err != nil {
			d.tell(Warned, "an old key is still in its token (%s): %v", strings.TrimSpace(ref.PKCS11.Object), err)
			continue
		}
		gone := func(name string) bool { return name == ref.String() }
		s.Made, s.Spent = slices.DeleteFunc(s.Made, gone), slices.DeleteFunc(s.Spent, gone)
	}
	return d.save(s)
}

// tidy takes away what is older than the generations that are kept, files and keys. The
// certificate is in use by then: what fails here is told, and is done the next time.
func (d *Device) tidy(ctx context.Context, s *State) {
	if err := install.PruneGenerations(d.dir, s.Current.Generation); err != nil {
		d.tell(Warned, "old certificates are still there: %v", err)
	}
	if err := d.sweep(ctx, s); err != nil {
		d.tell(Warned, "keys in tokens that nothing needs any more are still there: %v", err)
	}
}
