package tpm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"slices"
	"sync"

	"chancery/internal/token/fault"
	"chancery/internal/token/pin"

	"github.com/google/go-tpm/tpm2"
)

// Options are what a process brings along.
type Options struct {
	PINs pin.Giver
	// Password: the key under a handle has one. A key file says so itself; of a new key,
	// that it is to have one.
	Password bool
}

// Key is a private key of a TPM. It is a [crypto.Signer]. The TPM is opened for each
// signature, as some let one program in at a time. Its methods may be called together.
type Key struct {
	address Address
	options Options
	file    *File // nil: it is under a handle
	name    tpm2.TPM2BName
	inside  *tpm2.TPMTPublic
	public  crypto.PublicKey

	mutex sync.Mutex
}

// Open finds the key that the address names. Errors are *[fault.Error].
func Open(ctx context.Context, a Address, o Options) (*Key, error) {
	k := &Key{address: a, options: o}
	d, err := openDevice(a.Path())
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if a.Handle != 0 {
		found, err := tpm2.ReadPublic{ObjectHandle: tpm2.TPMHandle(a.Handle)}.Execute(d)
		if err != nil {
			return nil, d.explain(fmt.Sprintf("reading 0x%08x", a.Handle), err)
		}
		return k, k.understand(found.OutPublic)
	}
	if k.file, err = ParseFile(a.Key); err != nil {
		return nil, &fault.Error{Kind: fault.Unfit, Reason: "the key file cannot be used", Err: err}
	}
	k.options.Password = !k.file.EmptyAuth
	public, err := tpm2.Unmarshal[tpm2.TPM2BPublic](k.file.Public)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Unfit, Reason: "the key file cannot be used", Err: err}
	}
	if err := k.understand(*public); err != nil {
		return nil, err
	}
	// Whether it is this TPM's key is told now, not at the first signature.
	return k, k.with(d, func(loaded) error { return nil })
}

// understand judges the public half.
func (k *Key) understand(public tpm2.TPM2BPublic) error {
	unfit := func(words string) error {
		return &fault.Error{Kind: fault.Unfit, Reason: "the TPM's key " + k.address.named() + " " + words}
	}
	inside, err := public.Contents()
	if err != nil {
		return unfit("has a public half that cannot be read")
	}
	switch {
	case inside.ObjectAttributes.Restricted:
		return unfit("is a restricted one: it signs what the TPM itself says (attestation) or wraps other keys, and no requests; name another key, or let one be made")
	case !inside.ObjectAttributes.SignEncrypt:
		return unfit("is not for signatures: name another key, or let one be made")
	case !inside.ObjectAttributes.UserWithAuth:
		return unfit("may be used by its policy only, which is not known here: name another key, or let one be made")
	}
	if k.public, err = tpm2.Pub(*inside); err != nil {
		return unfit("is of a kind that is not known here: RSA and ECDSA over P-256, P-384 and P-521 are")
	}
	switch k.public.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey:
	default:
		return unfit("is of a kind that is not known here: RSA and ECDSA over P-256, P-384 and P-521 are")
	}
	name, err := tpm2.ObjectName(inside)
	if err != nil {
		return unfit("has no name that is known here")
	}
	k.inside, k.name = inside, *name
	return nil
}

// named is the key in words.
func (a Address) named() string {
	switch {
	case a.Handle != 0:
		return fmt.Sprintf("0x%08x", a.Handle)
	case a.File != "":
		return a.File
	}
	return "in its file"
}

// Public is the public half.
func (k *Key) Public() crypto.PublicKey { return k.public }

// Address is the key's: for a key file with what that holds.
func (k *Key) Address() Address { return k.address }

// loaded is a key that is ready.
type loaded struct {
	handle tpm2.TPMHandle
	parent parent // without a handle if there is none
}

// with does something with the key loaded.
func (k *Key) with(d *device, do func(loaded) error) error {
	if k.file == nil {
		return do(loaded{handle: tpm2.TPMHandle(k.address.Handle)})
	}
	public, err := tpm2.Unmarshal[tpm2.TPM2BPublic](k.file.Public)
	if err != nil {
		return err
	}
	private, err := tpm2.Unmarshal[tpm2.TPM2BPrivate](k.file.Private)
	if err != nil {
		return &fault.Error{Kind: fault.Unfit, Reason: "the key file cannot be used", Err: err}
	}
	return d.underParent(k.file, func(p parent) error {
		got, err := tpm2.Load{ParentHandle: p.auth(), InPrivate: *private, InPublic: *public}.Execute(d)
		if err != nil {
			return d.explainUnder(p, "loading the key", err)
		}
		defer d.flush(got.ObjectHandle)
		return do(loaded{got.ObjectHandle, p})
	})
}

// hashes are those that signatures go by.
var hashes = map[crypto.Hash]tpm2.TPMAlgID{crypto.SHA256: tpm2.TPMAlgSHA256, crypto.SHA384: tpm2.TPMAlgSHA384, crypto.SHA512: tpm2.TPMAlgSHA512}

// scheme says how to sign.
func (k *Key) scheme(opts crypto.SignerOpts) (scheme tpm2.TPMTSigScheme, err error) {
	hash, known := hashes[opts.HashFunc()]
	if !known {
		return scheme, &fault.Error{Kind: fault.Unfit, Reason: "TPMs sign with SHA-256, SHA-384 and SHA-512"}
	}
	how := tpm2.TPMAlgECDSA
	if _, is := k.public.(*rsa.PublicKey); is {
		how = tpm2.TPMAlgRSASSA
		if _, pss := opts.(*rsa.PSSOptions); pss {
			how = tpm2.TPMAlgRSAPSS
		}
	}
	// A key may be made for one scheme alone.
	if fixed, fixedHash := k.fixed(); fixed != tpm2.TPMAlgNull && fixed != 0 && (fixed != how || fixedHash != 0 && fixedHash != hash) {
		return scheme, &fault.Error{Kind: fault.Unfit, Reason: "the TPM's key " + k.address.named() + " was made for signatures of another kind than are wanted here: name another key, or let one be made"}
	}
	details := tpm2.TPMSSchemeHash{HashAlg: hash}
	return tpm2.TPMTSigScheme{Scheme: how, Details: tpm2.NewTPMUSigScheme(how, &details)}, nil
}

// fixed is the scheme that a key was made for, if it was for one.
func (k *Key) fixed() (scheme, hash tpm2.TPMAlgID) {
	switch k.public.(type) {
	case *rsa.PublicKey:
		if p, err := k.inside.Parameters.RSADetail(); err == nil {
			scheme = p.Scheme.Scheme
			if s, err := p.Scheme.Details.RSASSA(); err == nil && scheme == tpm2.TPMAlgRSASSA {
				hash = s.HashAlg
			}
			if s, err := p.Scheme.Details.RSAPSS(); err == nil && scheme == tpm2.TPMAlgRSAPSS {
				hash = s.HashAlg
			}
		}
	case *ecdsa.PublicKey:
		if p, err := k.inside.Parameters.ECCDetail(); err == nil {
			scheme = p.Scheme.Scheme
			if s, err := p.Scheme.Details.ECDSA(); err == nil && scheme == tpm2.TPMAlgECDSA {
				hash = s.HashAlg
			}
		}
	}
	return scheme, hash
}

// Sign signs a digest: ECDSA in ASN.1, RSA by PKCS #1 v1.5, or PSS when opts is
// *[rsa.PSSOptions]. Randomness is the TPM's. The signature is verified before it is given.
func (k *Key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	scheme, err := k.scheme(opts)
	if err != nil {
		return nil, err
	}
	k.mutex.Lock() // one at a time: some TPMs have room for three keys
	defer k.mutex.Unlock()
	d, err := openDevice(k.address.Path())
	if err != nil {
		return nil, err
	}
	defer d.Close()
	question, secret, err := k.password(context.Background(), d)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	var got *tpm2.SignResponse
	refused := false // the key's own password, and no other
	err = k.with(d, func(l loaded) (err error) {
		got, err = tpm2.Sign{
			KeyHandle:  tpm2.AuthHandle{Handle: l.handle, Name: k.name, Auth: session(secret, l.parent)},
			Digest:     tpm2.TPM2BDigest{Buffer: digest},
			InScheme:   scheme,
			Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck, Hierarchy: tpm2.TPMRHNull},
		}.Execute(d)
		err = d.explain("signing", err)
		refused = fault.Is(err, fault.WrongPIN)
		return err
	})
	if refused {
		if question.ID != "" { // otherwise nothing counts
			k.options.PINs.Wrong(question, secret)
		}
		if question.Free {
			err = &fault.Error{Kind: fault.NoPIN, Reason: "the TPM's key " + k.address.named() + " has a password: say by pin-source= where it is"}
		}
	}
	if err != nil {
		return nil, err
	}
	return k.signature(got.Signature, digest, opts)
}

// signature puts what the TPM gave into the world's form, and verifies it.
func (k *Key) signature(s tpm2.TPMTSignature, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	wrong := &fault.Error{Kind: fault.Unfit, Reason: "the TPM's signature is not one of the key " + k.address.named()}
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		pair, err := s.Signature.ECDSA()
		if err != nil {
			return nil, wrong
		}
		der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(pair.SignatureR.Buffer), new(big.Int).SetBytes(pair.SignatureS.Buffer)})
		if err != nil || !ecdsa.VerifyASN1(public, digest, der) {
			return nil, wrong
		}
		return der, nil
	case *rsa.PublicKey:
		pss, is := opts.(*rsa.PSSOptions)
		if !is {
			plain, err := s.Signature.RSASSA()
			if err != nil || rsa.VerifyPKCS1v15(public, opts.HashFunc(), digest, plain.Sig.Buffer) != nil {
				return nil, wrong
			}
			return plain.Sig.Buffer, nil
		}
		salted, err := s.Signature.RSAPSS()
		if err != nil || rsa.VerifyPSS(public, opts.HashFunc(), digest, salted.Sig.Buffer, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}) != nil {
			return nil, wrong
		}
		// The length of the salt is the TPM's to choose (Part 1, B.7).
		if pss.SaltLength != rsa.PSSSaltLengthAuto && rsa.VerifyPSS(public, opts.HashFunc(), digest, salted.Sig.Buffer, pss) != nil {
			return nil, &fault.Error{Kind: fault.Unfit, Reason: "this TPM makes PSS signatures with a salt of another length than TLS 1.3 wants: use an ECDSA key, or --tls-max 1.2"}
		}
		return salted.Sig.Buffer, nil
	}
	return nil, wrong
}

// password asks for the key's, if it has one, unless one more wrong one would lock the TPM.
func (k *Key) password(ctx context.Context, d *device) (q pin.Question, secret []byte, err error) {
	free := !k.options.Password
	if free && k.inside.ObjectAttributes.NoDA { // nothing is counted
		return pin.Question{Free: true}, nil, nil
	}
	if q, err = d.question(k.address.named(), k.name.Buffer); err != nil {
		return q, nil, err
	}
	q.Free = free
	secret, err = k.options.PINs.PIN(ctx, q)
	return q, slices.Clip(secret), err
}
