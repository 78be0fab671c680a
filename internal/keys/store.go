package keys

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"
)

const (
	keySuffix  = ".key.age"
	sealSuffix = ".seal.age"
)

// Config says where keys are and what opens them.
type Config struct {
	Dir    string // made with mode 0700 if it does not exist
	Secret Secret // empty: a random one in DIR/unlock; see the package's comment
}

// Store is an unlocked key directory. It is safe for concurrent use, and
// several processes may use a directory at once.
type Store struct {
	dir      string
	identity *age.X25519Identity
	mu       sync.Mutex // serialises ChangePassphrase
}

// Open unlocks a key directory, and makes it if there is none. Errors are
// [ErrLocked] for a wrong or missing secret, [ErrPermissions], [ErrDamaged]
// and the operating system's.
func Open(c Config) (*Store, error) {
	if err := openDir(c.Dir); err != nil {
		return nil, err
	}
	if err := sweep(c.Dir, time.Now()); err != nil {
		return nil, err
	}
	identity, err := unlock(c)
	if err != nil {
		return nil, err
	}
	return &Store{dir: c.Dir, identity: identity}, nil
}

// String does not tell the identity.
func (s *Store) String() string { return "key directory " + s.dir }

// GoString is String.
func (s *Store) GoString() string { return s.String() }

// Generate makes a key and gives its signer once it is durable. Errors are
// [ErrExists], [ErrAlgorithm], [ErrName] and the operating system's.
func (s *Store) Generate(ctx context.Context, name string, a Algorithm) (crypto.Signer, error) {
	if err := checkName(ctx, name); err != nil {
		return nil, err
	}
	// Asked again when the file is written; here it saves making the key.
	if _, err := os.Lstat(s.path(name, keySuffix)); err == nil {
		return nil, fmt.Errorf("%w: %s", ErrExists, name)
	}
	key, err := generate(a)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	return s.keep(name, key, der)
}

// Import keeps a key that was made elsewhere, given as PKCS#8 in DER, which the
// caller should overwrite afterwards. Errors are as for [Store.Generate].
func (s *Store) Import(ctx context.Context, name string, pkcs8 []byte) (crypto.Signer, error) {
	if err := checkName(ctx, name); err != nil {
		return nil, err
	}
	key, err := parseKey(pkcs8)
	if err != nil {
		return nil, fmt.Errorf("the key cannot be imported: %w", err)
	}
	return s.keep(name, key, pkcs8)
}

// Load gives the signer of a key. Errors are [ErrNotFound], [ErrDamaged],
// [ErrName] and the operating system's.
func (s *Store) Load(ctx context.Context, name string) (crypto.Signer, error) {
	if err := checkName(ctx, name); err != nil {
		return nil, err
	}
	plain, err := s.open(name, keySuffix)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	block, _ := pem.Decode(plain)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, s.damaged(name, keySuffix, errors.New("it holds no private key"))
	}
	defer clear(block.Bytes)
	key, err := parseKey(block.Bytes)
	if err != nil {
		return nil, s.damaged(name, keySuffix, err)
	}
	return &signer{key.Sign, key.Public()}, nil
}

// List gives the names of the keys in use, sorted.
func (s *Store) List() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name, found := strings.CutSuffix(e.Name(), keySuffix); found && namePattern.MatchString(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Retire puts a key out of use: its file is renamed, never deleted, and its
// name is free again. Signers that were handed out go on working.
func (s *Store) Retire(ctx context.Context, name string) error {
	if err := checkName(ctx, name); err != nil {
		return err
	}
	err := retire(s.path(name, keySuffix))
	if missing(err) {
		return fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	return err
}

func (s *Store) path(name, suffix string) string { return filepath.Join(s.dir, name+suffix) }

// keep writes a key's file.
func (s *Store) keep(name string, key crypto.Signer, der []byte) (crypto.Signer, error) {
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	defer clear(text)
	if err := s.write(name, keySuffix, text); err != nil {
		return nil, err
	}
	return &signer{key.Sign, key.Public()}, nil
}

// title is the first line of each file's content. It ties the content to the
// name, so that two files cannot be swapped; PEM readers skip it.
func title(name, suffix string) []byte { return []byte("chancery " + name + suffix + "\n") }

// write encrypts and writes one file, which must be new.
func (s *Store) write(name, suffix string, content []byte) error {
	plain := append(title(name, suffix), content...)
	defer clear(plain)
	sealed, err := encrypt(s.identity.Recipient(), plain)
	if err != nil {
		return err
	}
	err = writeNew(s.path(name, suffix), sealed)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s", ErrExists, name)
	}
	return err
}

// open reads and decrypts one file and gives its content.
func (s *Store) open(name, suffix string) ([]byte, error) {
	sealed, err := read(s.path(name, suffix))
	if missing(err) {
		return nil, fmt.Errorf("%w: %s in %s", ErrNotFound, name, s.dir)
	}
	if err != nil {
		return nil, err
	}
	plain, err := decrypt(s.identity, sealed)
	if err != nil {
		return nil, s.damaged(name, suffix, err)
	}
	content, found := bytes.CutPrefix(plain, title(name, suffix))
	if !found {
		clear(plain)
		return nil, s.damaged(name, suffix, errors.New("it belongs to another name"))
	}
	return content, nil
}

func (s *Store) damaged(name, suffix string, why error) error {
	return fmt.Errorf("%w: %s (%w); restore it from a backup of this directory", ErrDamaged, s.path(name, suffix), why)
}
