package keys

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
)

// Sealer encrypts small secrets that are kept elsewhere, in a database: with
// AES-256-GCM under a key that stays in the key directory. Whoever has only the
// database can read nothing and exchange nothing unnoticed. Nonces are random:
// a key is good for 2^32 values.
type Sealer struct{ aead cipher.AEAD }

// sealVersion is the first octet of each sealed value.
const sealVersion = 1

// Sealer gives the sealer of that name, and makes its key at the first call.
// Sealers' names and keys' names are apart. Errors are as for [Store.Load].
func (s *Store) Sealer(ctx context.Context, name string) (*Sealer, error) {
	if err := checkName(ctx, name); err != nil {
		return nil, err
	}
	content, err := s.open(name, sealSuffix)
	if errors.Is(err, ErrNotFound) {
		if err := s.newSealKey(name); err != nil && !errors.Is(err, ErrExists) {
			return nil, err
		}
		// Read back, as another process may have been quicker.
		content, err = s.open(name, sealSuffix)
	}
	if err != nil {
		return nil, err
	}
	defer clear(content)
	key := make([]byte, base64.RawStdEncoding.DecodedLen(len(content)))
	defer clear(key)
	if n, err := base64.RawStdEncoding.Strict().Decode(key, content); err != nil || n != 32 {
		return nil, s.damaged(name, sealSuffix, errors.New("it holds no key of 32 octets"))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Sealer{aead}, nil
}

// newSealKey draws and keeps a key.
func (s *Store) newSealKey(name string) error {
	key := make([]byte, 32)
	defer clear(key)
	rand.Read(key)
	text := []byte(base64.RawStdEncoding.EncodeToString(key))
	defer clear(text)
	return s.write(name, sealSuffix, text)
}

// Seal encrypts plain. The associated data, such as the table and row where the
// value will be, is not stored, and must be the same when it is opened: so a
// value cannot be moved to another row.
func (s *Sealer) Seal(plain, associated []byte) []byte {
	return s.aead.Seal([]byte{sealVersion}, nil, plain, associated)
}

// Open decrypts what Seal made. The error is [ErrSealed].
func (s *Sealer) Open(sealed, associated []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != sealVersion {
		return nil, fmt.Errorf("%w (it is not a sealed value)", ErrSealed)
	}
	plain, err := s.aead.Open(nil, nil, sealed[1:], associated)
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// String does not tell the key.
func (*Sealer) String() string { return "sealer" }

// GoString is String.
func (s *Sealer) GoString() string { return s.String() }
