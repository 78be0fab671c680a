package device

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"chancery/est"
	"chancery/internal/durable"
	"chancery/internal/enroll/install"
	"chancery/internal/keys"
	"chancery/internal/token"
	"chancery/internal/token/fault"
)

// readPIN reads a PIN from where a key's name says it is. There is no other copy than the
// one that it gives, which is overwritten where it is used.
func readPIN(source string) ([]byte, error) {
	secret, err := keys.ReadSecret(source)
	if err != nil {
		return nil, err
	}
	return secret.Take(), nil
}

// ownKey reads a key of a generation or a request. The PIN of the token where keys are made
// may have another place than when this one was.
func (d *Device) ownKey(ctx context.Context, s *State, path string) (crypto.Signer, error) {
	return d.readKey(ctx, path, s.Settings.KeyIn)
}

// readKey reads a key from a file, or finds the one that a file names: with where its token's
// PIN is from keyIn, if that names the same token.
func (d *Device) readKey(ctx context.Context, path, keyIn string) (crypto.Signer, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	ref, named, err := token.ParseFile(text)
	if err != nil {
		return nil, &FileError{Path: path, Reason: "the key's name in this file cannot be read", Err: err}
	}
	if named {
		where, err := token.Parse(keyIn)
		if err == nil && where.PIN != "" && where.Same(ref) && (ref.PKCS11 != nil || ref.PIN == "") {
			ref.PIN = where.PIN
		}
		return d.tokenKey(ctx, ref)
	}
	key, err := install.ParseKey(text)
	if err != nil {
		return nil, &FileError{Path: path, Reason: "there is no usable private key in this file", Err: err}
	}
	return key, nil
}

// namedKey gives the key that a setting names: a file, or a key in a token or TPM.
func (d *Device) namedKey(ctx context.Context, name string) (crypto.Signer, error) {
	if !token.IsName(name) {
		return d.readKey(ctx, name, "")
	}
	ref, err := token.Parse(name)
	if err != nil {
		return nil, err
	}
	return d.tokenKey(ctx, ref)
}

// tokenKey finds a key in a token or TPM, which is opened once while the lock is held.
func (d *Device) tokenKey(ctx context.Context, ref token.Ref) (crypto.Signer, error) {
	name := string(ref.File())
	if key := d.opened[name]; key != nil {
		return key, nil
	}
	key, err := d.tokens.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	d.opened[name] = key
	return key, nil
}

// lost tells whether an error says that a key, or what holds it, is not there.
func lost(err error) bool { return fault.Is(err, fault.Missing) || fault.Is(err, fault.Absent) }

// place names the token or TPM that a key is in; "" if it is in a file.
func place(key crypto.Signer) string {
	if inside, is := key.(*token.Key); is {
		return inside.Ref.String()
	}
	return ""
}

// decrypting gives a key as one that decrypts.
func decrypting(key crypto.Signer) (crypto.PrivateKey, error) {
	if inside, is := key.(*token.Key); is {
		return inside.Decrypter()
	}
	return key, nil
}

// key gives the key of the request under way, or makes one as the settings or the server
// want it, durable before it is used.
func (d *Device) key(ctx context.Context, s *State, o *order) (crypto.Signer, error) {
	path := d.path(pendingKey)
	if s.Pending != nil {
		key, err := d.ownKey(ctx, s, path)
		if lost(err) {
			return nil, errors.Join(err, errors.New("it is the key of the request that is under way: --anew forgets that, and begins another one"))
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return key, err
		}
	}
	key, err := d.wanted(ctx, s, o)
	if err != nil {
		return nil, err
	}
	if name := place(key); name != "" {
		if err := s.Settings.stays(name); err != nil {
			return nil, err
		}
	}
	if o.Wanted != nil {
		if err := o.Wanted.CheckKey(key.Public()); err != nil {
			return nil, err
		}
	}
	text, err := install.EncodeKey(key)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	return key, durable.Write(private(path, text))
}

// wanted gives the key to be certified.
func (d *Device) wanted(ctx context.Context, s *State, o *order) (crypto.Signer, error) {
	switch {
	case o.Key != nil:
		return o.Key, nil
	case o.Token != nil:
		return d.tokenKey(ctx, *o.Token)
	case o.op == est.SimpleReenroll && s.Settings.ReuseKey:
		b, err := d.bundle(ctx, s)
		return b.Key, err
	}
	kind := s.Settings.KeyType
	if kind == "" && o.Wanted != nil {
		kind = o.Wanted.Key
	}
	if s.Settings.KeyIn == "" {
		return newKey(kind)
	}
	return d.makeKey(ctx, s, kind)
}

// errX25519 says that a server wants keys that simple enrolment has no use for.
var errX25519 = errors.New("the server certifies keys that cannot sign (X25519), which simple enrolment cannot ask for: use chancery est fullcmc, or let the server make the key")

// newKey makes a key of a kind that a person or a server named.
func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "ecdsa":
		kind = "ecdsa-p256"
	case "rsa":
		kind = "rsa-3072"
	case "ecdsa-p521":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "x25519":
		return nil, errX25519
	}
	if spec, err := est.ParseKeySpec(kind); err == nil && spec.Bits > 0 {
		return rsa.GenerateKey(rand.Reader, spec.Bits)
	}
	return install.NewKey(kind)
}

// defaultLabel is what keys in tokens are called where the place says nothing.
const defaultLabel = "chancery est"

// makeKey makes a key in the token or TPM of the settings. One that was made in that token
// and is nobody's, as a crash or a refused request left it, is taken instead.
func (d *Device) makeKey(ctx context.Context, s *State, kind string) (crypto.Signer, error) {
	where, err := token.Parse(s.Settings.KeyIn)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "", "ecdsa":
		kind = "ecdsa-p256"
	case "rsa": // which every TPM has
		kind = "rsa-2048"
	case "x25519":
		return nil, errX25519
	}
	ref, err := d.plan(s, where)
	if err != nil {
		return nil, err
	}
	key, err := d.tokens.Make(ctx, ref, kind)
	if err == nil && ref.PKCS11 != nil && install.KeyType(key.Public()) != kind { // another kind was wanted then
		if err = d.sweep(ctx, s); err != nil {
			return nil, err
		}
		if ref, err = d.plan(s, where); err != nil {
			return nil, err
		}
		key, err = d.tokens.Make(ctx, ref, kind)
	}
	if err != nil {
		return nil, err
	}
	return key, nil
}

// plan names the key that is to be made, durably before it is made: one of Made that is
// nobody's, else a new one, called by the generation that it is for.
func (d *Device) plan(s *State, where token.Ref) (ref token.Ref, err error) {
	if where.PKCS11 == nil {
		return token.Plan(where, "")
	}
	spare, err := d.spare(s)
	if err != nil {
		return ref, err
	}
	for _, ref := range spare {
		if ref.Place().Same(where) {
			ref.PIN = where.PIN
			return ref, nil
		}
	}
	label := where.PKCS11.Object
	if label == "" {
		label = defaultLabel
	}
	numbers, err := install.Generations(d.dir)
	if err != nil {
		return ref, err
	}
	if ref, err = token.Plan(where, label+" "+install.GenerationName(append(numbers, 0)[0]+1)); err != nil {
		return ref, err
	}
	s.Made = append(s.Made, ref.String())
	return ref, d.save(s)
}

// spare gives the keys that were made in tokens and that nothing here names.
func (d *Device) spare(s *State) (list []token.Ref, err error) {
	if len(s.Made) == 0 {
		return nil, nil
	}
	used := map[string]bool{}
	numbers, err := install.Generations(d.dir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, n := range numbers {
		paths = append(paths, d.path(install.GenerationName(n), install.KeyFile))
	}
	if s.Pending != nil {
		paths = append(paths, d.path(pendingKey))
	}
	for _, path := range paths {
		text, err := readFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ref, named, err := token.ParseFile(text)
		clear(text)
		if err != nil {
			return nil, &FileError{Path: path, Reason: "the key's name in this file cannot be read", Err: err}
		}
		if named {
			used[keyID(ref)] = true
		}
	}
	for _, name := range s.Made {
		ref, err := token.Parse(name)
		if err != nil || ref.PKCS11 == nil {
			return nil, &FileError{Path: d.path(stateFile), Reason: "this file is damaged: a key that was made has no name that can be read", Err: err}
		}
		if !used[keyID(ref)] {
			list = append(list, ref)
		}
	}
	return list, nil
}

// keyID tells keys in tokens from one another: their ids are random.
func keyID(ref token.Ref) string {
	if ref.PKCS11 == nil {
		return ""
	}
	return string(ref.PKCS11.ID)
}

// sweep deletes the keys from their tokens that nothing here names any more, as those of
// generations that are gone. What cannot be deleted now is the next time.
func (d *Device) sweep(ctx context.Context, s *State) error {
	spare, err := d.spare(s)
	if err != nil || len(spare) == 0 {
		return err
	}
	for _, ref := range spare {
		if err := d.tokens.Remove(ctx, ref); err != nil {
			d.tell(Warned, "an old key is still in its token (%s): %v", strings.TrimSpace(ref.PKCS11.Object), err)
			continue
		}
		s.Made = slices.DeleteFunc(s.Made, func(name string) bool { return name == ref.String() })
	}
	return d.save(s)
}
