package pkcs11

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"io"
	"sync"

	"chancery/internal/token/fault"
	"chancery/internal/token/wire"
)

// Key is a private key in a token. It is a [crypto.Signer]; RSA keys are a
// [crypto.Decrypter] by [Key.Decrypt] and others an [ecdh.KeyExchanger] by [Key.Exchanger],
// as far as the token lets them. Its methods may be called together.
type Key struct {
	token   *Token
	address Address
	public  crypto.PublicKey
	der     []byte

	mutex  sync.Mutex
	at     *process // the helper to which handle means the key
	handle uint64
}

// found is what a helper found.
type found struct {
	address Address
	at      *process
	key     *wire.Key
}

func newKey(t *Token, f found) (*Key, error) {
	public, err := x509.ParsePKIXPublicKey(f.key.Public)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Unfit, Reason: f.address.named() + " in " + t.Label() + " has a public key that cannot be read", Err: err}
	}
	switch public.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey:
	default:
		return nil, &fault.Error{Kind: fault.Unfit, Reason: f.address.named() + " in " + t.Label() + " is of a kind that is not known here: RSA and elliptic curves are"}
	}
	a := f.address
	a.Object, a.ID = f.key.Object, f.key.ID // so that it stays this one, whatever else comes into the token
	return &Key{token: t, address: a, public: public, der: f.key.Public, at: f.at, handle: f.key.Handle}, nil
}

// Public is the public half.
func (k *Key) Public() crypto.PublicKey { return k.public }

// Address is the key's: with its own label and id, however it was looked for.
func (k *Key) Address() Address { return k.address }

// hashes are those that a token signs with.
var hashes = map[crypto.Hash]string{crypto.SHA1: "sha1", crypto.SHA256: "sha256", crypto.SHA384: "sha384", crypto.SHA512: "sha512"}

// Sign signs a digest: ECDSA in ASN.1, RSA by PKCS #1 v1.5, or PSS when opts is
// *[rsa.PSSOptions]. Randomness is the token's. The signature is verified before it is
// given.
func (k *Key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	request := wire.Sign{Hash: hashes[opts.HashFunc()], Digest: digest}
	verify := func(signature []byte) bool { return false }
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		request.Scheme, request.Hash = "ecdsa", ""
		// A digest that is longer than the curve is cut (FIPS 186-5 §6.4.1), which some
		// tokens leave to us.
		if size := (public.Curve.Params().BitSize + 7) / 8; len(request.Digest) > size {
			request.Digest = request.Digest[:size]
		}
		verify = func(signature []byte) bool { return ecdsa.VerifyASN1(public, digest, signature) }
	case *rsa.PublicKey:
		request.Scheme = "pkcs1"
		verify = func(signature []byte) bool {
			return rsa.VerifyPKCS1v15(public, opts.HashFunc(), digest, signature) == nil
		}
		if pss, ok := opts.(*rsa.PSSOptions); ok {
			request.Scheme, request.Salt = "pss", saltLength(pss, public)
			verify = func(signature []byte) bool {
				return rsa.VerifyPSS(public, opts.HashFunc(), digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}) == nil
			}
		}
	}
	signature, err := k.use(func(handle uint64) *wire.Request {
		request.Handle = handle
		return &wire.Request{Sign: &request}
	})
	if err != nil {
		return nil, err
	}
	if !verify(signature) {
		return nil, &fault.Error{Kind: fault.Unfit, Reason: "the public key or certificate that " + k.token.Label() + " has with " + k.address.named() + " is another key's: give the objects that belong together one id, and others another"}
	}
	return signature, nil
}

// saltLength is what crypto/rsa would take: with "auto" the most that fits (RFC 8017 §9.1.1).
func saltLength(o *rsa.PSSOptions, public *rsa.PublicKey) int {
	switch o.SaltLength {
	case rsa.PSSSaltLengthEqualsHash:
		return o.Hash.Size()
	case rsa.PSSSaltLengthAuto:
		return (public.N.BitLen()-1+7)/8 - 2 - o.Hash.Size()
	}
	return o.SaltLength
}

// use has the key do something, with the helper that is there.
func (k *Key) use(build func(handle uint64) *wire.Request) ([]byte, error) {
	ctx := context.Background()
	answer, err := k.token.call(ctx, func(p *process) (*wire.Request, error) {
		handle, err := k.handleAt(ctx, p)
		if err != nil {
			return nil, err
		}
		return build(handle), nil
	})
	if err != nil {
		return nil, err
	}
	return answer.Octets, nil
}

// Decrypt decrypts with an RSA key: PKCS #1 v1.5, or OAEP when opts is *[rsa.OAEPOptions].
// With a SessionKeyLen what cannot be decrypted is a random key, as [rsa.PrivateKey.Decrypt]
// has it.
func (k *Key) Decrypt(_ io.Reader, text []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	if _, is := k.public.(*rsa.PublicKey); !is {
		return nil, &fault.Error{Kind: fault.Unfit, Reason: k.address.named() + " is not an RSA key, and does not decrypt"}
	}
	request, length := wire.Crypt{Text: text}, 0
	switch o := opts.(type) {
	case *rsa.OAEPOptions:
		request.Hash = hashes[o.Hash]
		if request.Hash == "" || len(o.Label) > 0 || o.MGFHash != 0 && o.MGFHash != o.Hash {
			return nil, &fault.Error{Kind: fault.Unfit, Reason: "tokens do not decrypt by OAEP with these parameters"}
		}
	//lint:ignore SA1019 keyTransRecipientInfo of RFC 5652 asks with it, and many servers know no other
	case *rsa.PKCS1v15DecryptOptions:
		length = o.SessionKeyLen
	}
	plain, err := k.use(func(handle uint64) *wire.Request {
		request.Handle = handle
		return &wire.Request{Decrypt: &request}
	})
	if length > 0 && (fault.Is(err, fault.Refused) || err == nil && len(plain) != length) {
		plain = make([]byte, length)
		_, err = rand.Read(plain)
	}
	return plain, err
}

// Exchanger gives the key as one that agrees on secrets by ECDH; an RSA key cannot.
func (k *Key) Exchanger() (ecdh.KeyExchanger, error) {
	public, is := k.public.(*ecdsa.PublicKey)
	if !is {
		return nil, &fault.Error{Kind: fault.Unfit, Reason: k.address.named() + " is an RSA key, and does not agree on secrets"}
	}
	converted, err := public.ECDH()
	if err != nil {
		return nil, err
	}
	return exchanger{k, converted}, nil
}

type exchanger struct {
	key    *Key
	public *ecdh.PublicKey
}

// Public is the public half, as certificates have it.
func (e exchanger) Public() crypto.PublicKey { return e.key.public }

// PublicKey is the public half.
func (e exchanger) PublicKey() *ecdh.PublicKey { return e.public }

// Curve is the curve.
func (e exchanger) Curve() ecdh.Curve { return e.public.Curve() }

// ECDH agrees on a secret with the other side's key.
func (e exchanger) ECDH(other *ecdh.PublicKey) ([]byte, error) {
	if other.Curve() != e.public.Curve() {
		return nil, &fault.Error{Kind: fault.Unfit, Reason: "the other side's key is on another curve"}
	}
	return e.key.use(func(handle uint64) *wire.Request {
		return &wire.Request{Derive: &wire.Crypt{Handle: handle, Text: other.Bytes()}}
	})
}
