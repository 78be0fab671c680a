package device

import (
	"context"
	"crypto"
	"errors"
	"io/fs"

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
	spec, err := kindOf(kind)
	if err != nil {
		return nil, err
	}
	if s.Settings.KeyIn == "" {
		return spec.NewKey()
	}
	return d.makeKey(ctx, s, spec)
}
