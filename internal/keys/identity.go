package keys

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"

	"chancery/internal/durable"
)

const (
	identityFile = "identity"
	unlockFile   = "unlock"

	// The scrypt work factors as log2(N). 256 random bits cannot be guessed
	// and need no work.
	randomWork = 10
	maxWork    = 22
)

// passphraseWork is about a second per guess. Only tests change it.
var passphraseWork = 18

// unlock gives the directory's identity, made at the first start. This is the
// one scrypt of a start.
func unlock(c Config) (*age.X25519Identity, error) {
	path := filepath.Join(c.Dir, identityFile)
	sealed, err := read(path)
	if err != nil && !missing(err) {
		return nil, err
	}
	first := missing(err)
	secret := c.Secret
	if secret.Empty() {
		if secret, err = unlockSecret(c.Dir, first); err != nil {
			return nil, err
		}
	}
	if !first {
		return openIdentity(path, sealed, secret)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	sealed, err = sealIdentity(identity, secret)
	if err != nil {
		return nil, err
	}
	err = writeNew(path, sealed)
	if errors.Is(err, fs.ErrExist) {
		// Another process was quicker: its identity counts.
		if sealed, err = read(path); err != nil {
			return nil, err
		}
		return openIdentity(path, sealed, secret)
	}
	if err != nil {
		return nil, fmt.Errorf("the key directory's identity cannot be written: %w", err)
	}
	return identity, nil
}

// unlockSecret reads the secret beside the keys. At the first start it makes
// it; later its absence means that it was lost or left out of a backup.
func unlockSecret(dir string, first bool) (Secret, error) {
	path := filepath.Join(dir, unlockFile)
	if first {
		secret := make([]byte, 32)
		rand.Read(secret)
		text := []byte(base64.RawStdEncoding.EncodeToString(secret) + "\n")
		clear(secret)
		err := writeNew(path, text)
		clear(text)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return Secret{}, fmt.Errorf("the unlock file cannot be written: %w", err)
		}
	}
	secret, err := readSecretFile(path, 0o077)
	if missing(err) {
		return Secret{}, fmt.Errorf("%w: no secret is configured, and there is no file %s; configure the passphrase or secret that these keys were made under, or restore that file",
			ErrLocked, path)
	}
	if err != nil {
		return Secret{}, err
	}
	secret.hidden().random = true
	return secret, nil
}

// sealIdentity encrypts an identity under a secret.
func sealIdentity(identity *age.X25519Identity, secret Secret) ([]byte, error) {
	recipient, err := age.NewScryptRecipient(secret.Reveal())
	if err != nil {
		return nil, err
	}
	work := passphraseWork
	if secret.hidden().random {
		work = randomWork
	}
	recipient.SetWorkFactor(work)
	text := []byte(identity.String() + "\n")
	defer clear(text)
	return encrypt(recipient, text)
}

// openIdentity decrypts an identity.
func openIdentity(path string, sealed []byte, secret Secret) (*age.X25519Identity, error) {
	opener, err := age.NewScryptIdentity(secret.Reveal())
	if err != nil {
		return nil, err
	}
	opener.SetMaxWorkFactor(maxWork)
	text, err := decrypt(opener, sealed)
	var wrong *age.NoIdentityMatchError
	if errors.As(err, &wrong) {
		return nil, fmt.Errorf("%w: the secret does not fit %s; check that it is the right passphrase or secret file for this directory, without extra spaces or lines", ErrLocked, path)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s (%w); restore it from a backup", ErrDamaged, path, err)
	}
	defer clear(text)
	identity, err := age.ParseX25519Identity(string(bytes.TrimRight(text, "\n")))
	if err != nil {
		return nil, fmt.Errorf("%w: %s opens, but holds no identity; restore it from a backup", ErrDamaged, path)
	}
	return identity, nil
}

// ChangePassphrase puts the directory under another secret. The keys' files
// stay as they are. A copy of the old identity file still opens with the old
// secret: if that is known to somebody who may have a copy, make new keys.
func (s *Store) ChangePassphrase(secret Secret) error {
	if secret.Empty() {
		return fmt.Errorf("%w: the new one is empty", ErrSecret)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sealed, err := sealIdentity(s.identity, secret)
	if err != nil {
		return err
	}
	if err := replace(filepath.Join(s.dir, identityFile), sealed); err != nil {
		return fmt.Errorf("the secret was not changed: %w", err)
	}
	// The generated secret opens nothing any more, and lying there it would
	// only suggest that the directory still unlocks itself.
	unlock := filepath.Join(s.dir, unlockFile)
	if old, err := readSecretFile(unlock, 0o077); err == nil && old.Reveal() == secret.Reveal() {
		return nil
	}
	if err := os.Remove(unlock); err != nil && !missing(err) {
		return fmt.Errorf("the secret was changed, but the old unlock file could not be removed: %w", err)
	}
	return durable.SyncDir(s.dir)
}

// encrypt makes an age file.
func encrypt(to age.Recipient, plain []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// decrypt opens an age file. Half a file gives nothing.
func decrypt(with age.Identity, sealed []byte) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), with)
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		clear(plain)
		return nil, err
	}
	return plain, nil
}
