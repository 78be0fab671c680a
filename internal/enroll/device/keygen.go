package device

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"

	"chancery/cms"
	"chancery/est"
	"chancery/internal/keys"
	"chancery/internal/token/fault"
)

// ErrInClear says that a key that the server makes could be encrypted to none.
var ErrInClear = errors.New("there is no key that the new one could be encrypted to, so it would come within TLS alone")

// CheckSealed gives [ErrInClear] if a person who did not ask for it in the settings would
// get a key without encryption. It is for first orders: renewals by the agent are as that was,
// and a request that is under way is as it was made. Call it under Lock.
func (d *Device) CheckSealed(ctx context.Context, s *State) error {
	if s.Settings.PlainKey {
		return nil
	}
	k, err := d.sealed(ctx, s)
	if err == nil && k.Shared == nil && k.Own == nil {
		err = ErrInClear
	}
	return err
}

// keyOrder orders a key that the server makes. With none to encrypt it to, or by express
// wish, it comes plain, within TLS (RFC 7030 §4.4.1).
func (d *Device) keyOrder(ctx context.Context, s *State, o delivery) (est.KeyOrder, error) {
	k, err := d.sealed(ctx, s)
	k.Enrolment = o.enrolment
	switch {
	case err != nil:
	case s.Settings.PlainKey:
		d.tell(Warned, "the new key comes within TLS alone, as it was wanted")
	case k.Shared == nil && k.Own == nil:
		d.tell(Warned, "the new key comes within TLS alone: there is no key to encrypt it to")
	}
	return k, err
}

// sealed names the key that a server-made one is to be encrypted to: the shared one or
// the key pair of the settings, else the current certificate's key if that may decrypt.
func (d *Device) sealed(ctx context.Context, s *State) (k est.KeyOrder, err error) {
	switch {
	case s.Settings.PlainKey:
	case s.Settings.Shared != nil:
		secret, err := s.Settings.Shared.read()
		if err != nil {
			return k, err
		}
		k.Shared = &est.SharedKey{ID: s.Settings.Shared.ID, Key: secret}
	case s.Settings.SealTo != nil:
		id, err := d.identity(ctx, s.Settings.SealTo)
		if err != nil {
			return k, err
		}
		if !est.MayDecrypt(id.Certificate) {
			return k, errors.New("the certificate that the new key is to be encrypted to is not for that: its key usage lacks keyEncipherment (RSA) or keyAgreement (elliptic curves)")
		}
		key, err := decrypting(id.Key)
		if err != nil {
			return k, err
		}
		k.Own = &est.OwnKey{Certificate: id.Certificate, Key: key}
	case s.Current != nil:
		b, err := d.bundle(ctx, s)
		if err != nil {
			return k, err
		}
		if est.MayDecrypt(b.Chain[0]) {
			switch key, err := decrypting(b.Key); {
			case fault.Is(err, fault.Unfit): // nor would it decrypt
				d.tell(Warned, "the new key is not encrypted to the one in use: %v", err)
			case err != nil:
				return k, err
			default:
				k.Own = &est.OwnKey{Certificate: b.Chain[0], Key: key}
			}
		}
	}
	return k, nil
}

// read gives the key's octets.
func (k *SharedKey) read() (cms.Secret, error) {
	secret, err := keys.ReadSecret(k.Key)
	if err != nil {
		return nil, err
	}
	text := secret.Reveal()
	for _, length := range []int{16, 24, 32} {
		if len(text) == length {
			return cms.Secret(text), nil
		}
		if octets, err := hex.DecodeString(strings.TrimSpace(text)); err == nil && len(octets) == length {
			return octets, nil
		}
	}
	return nil, errors.New("the shared key has to have 16, 24 or 32 octets, or twice as many hexadecimal digits")
}
