package token

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"sync"

	"chancery/internal/owned"
	"chancery/internal/token/fault"
	"chancery/internal/token/pin"
	"chancery/internal/token/pkcs11"
	"chancery/internal/token/tpm"
)

// Options are what a process brings along.
type Options struct {
	// Read reads a PIN from where a name says it is ("file:PATH", "credential:NAME").
	Read func(source string) ([]byte, error)
	// Ask asks somebody for one, and says whose; nil: nobody is there.
	Ask func(ctx context.Context, of string) ([]byte, error)
	// Refused is a file that says which PINs were wrong, so that none is tried twice by
	// processes that come one after the other; "": this one alone remembers.
	Refused string
	Helper  string // the PKCS#11 helper's path; "": beside this program, or in PATH
}

// Tokens are the tokens and TPMs that a process uses. Its methods may be called together.
type Tokens struct {
	options Options

	opening sync.Mutex // is held while one is, so that no two show the same wrong PIN
	mutex   sync.Mutex
	open    map[string]*pkcs11.Token // by name without object
	wrong   refusals
}

// New gives tokens, of which none is open yet.
func New(o Options) *Tokens {
	return &Tokens{options: o, open: map[string]*pkcs11.Token{}, wrong: refusals{path: o.Refused}}
}

// Close ends what was begun. Keys are of no use afterwards.
func (t *Tokens) Close() error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	var failed error
	for name, one := range t.open {
		failed = errors.Join(failed, one.Close())
		delete(t.open, name)
	}
	return failed
}

// Key is a private key that stays where it is.
type Key struct {
	crypto.Signer
	Ref Ref // with which it is found again
}

// EncodeKey is what stands in a file in the key's place: see [Ref.File].
func (k *Key) EncodeKey() []byte { return k.Ref.File() }

// Decrypter gives the key as one that decrypts or agrees on secrets: a [crypto.Decrypter] or
// a KeyExchanger of crypto/ecdh. Whether the token lets it is tried: most keys that sign may
// not.
func (k *Key) Decrypter() (crypto.PrivateKey, error) {
	inside, is := k.Signer.(*pkcs11.Key)
	if !is {
		return nil, &fault.Error{Kind: fault.Unfit, Reason: "keys in TPMs are for signatures alone: encrypt to a key in a file or in a PKCS#11 token"}
	}
	if public, is := inside.Public().(*rsa.PublicKey); is {
		//lint:ignore SA1019 a probe that tells nobody anything; OAEP is what some tokens lack
		sealed, err := rsa.EncryptPKCS1v15(rand.Reader, public, []byte("probe"))
		if err != nil {
			return nil, err
		}
		_, err = inside.Decrypt(rand.Reader, sealed, nil)
		return inside, err
	}
	exchanger, err := inside.Exchanger()
	if err != nil {
		return nil, err
	}
	probe, err := exchanger.Curve().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	_, err = exchanger.ECDH(probe.PublicKey())
	return exchanger, err
}

// Open finds the key that a name means.
func (t *Tokens) Open(ctx context.Context, r Ref) (*Key, error) {
	switch {
	case r.PKCS11 != nil:
		token, err := t.token(ctx, r)
		if err != nil {
			return nil, err
		}
		k, err := token.Key(ctx, *r.PKCS11)
		if err != nil {
			return nil, err
		}
		address := k.Address()
		r.PKCS11 = &address
		return &Key{k, r}, nil
	case r.TPM != nil:
		address := *r.TPM
		if address.File != "" {
			text, err := owned.ReadFile(address.File)
			if err != nil {
				return nil, &fault.Error{Kind: fault.Missing, Reason: "the key file cannot be read", Err: err}
			}
			if address.Key, err = tpm.ParsePEM(text); err != nil || address.Key == nil {
				return nil, &fault.Error{Kind: fault.Unfit, Reason: address.File + " holds no key of a TPM (TSS2 PRIVATE KEY)", Err: err}
			}
			address.File = "" // what it holds is enough from here on
		}
		k, err := tpm.Open(ctx, address, tpm.Options{PINs: t.giver(r.PIN), Password: r.PIN != ""})
		if err != nil {
			return nil, err
		}
		r.TPM = &address
		return &Key{k, r}, nil
	}
	return nil, wrong("no key is named")
}

// Plan names a key that is to be made where place says, before it is made, so that what
// names it can be kept first: a crash then leaves nothing that nobody knows of. label is
// what people see beside it in a PKCS#11 token. A TPM keeps nothing of a new key, so its
// name is whole when it was made.
func Plan(place Ref, label string) (Ref, error) {
	if err := place.CheckPlace(); err != nil {
		return Ref{}, err
	}
	if place.PKCS11 != nil {
		a := *place.PKCS11
		a.Object, a.ID = label, make([]byte, 16)
		if _, err := rand.Read(a.ID); err != nil {
			return Ref{}, err
		}
		place.PKCS11 = &a
	}
	return place, nil
}

// Make makes the key that [Plan] named, of a kind ("ecdsa-p256", "rsa-2048"); in a PKCS#11
// token one that is there already is taken, as it was made before a crash.
func (t *Tokens) Make(ctx context.Context, r Ref, kind string) (*Key, error) {
	if r.PKCS11 != nil {
		token, err := t.token(ctx, r)
		if err != nil {
			return nil, err
		}
		k, err := token.Make(ctx, *r.PKCS11, kind)
		if err != nil {
			return nil, err
		}
		return &Key{k, r}, nil
	}
	k, err := tpm.Make(ctx, *r.TPM, tpm.MakeOptions{Options: tpm.Options{PINs: t.giver(r.PIN), Password: r.PIN != ""}, Kind: kind})
	if err != nil {
		return nil, err
	}
	address := k.Address()
	r.TPM = &address
	return &Key{k, r}, nil
}

// Remove deletes a key that [Tokens.Make] made. One that is not there is no error; of a
// TPM's nothing is in the TPM.
func (t *Tokens) Remove(ctx context.Context, r Ref) error {
	if r.PKCS11 == nil {
		return nil
	}
	token, err := t.token(ctx, r)
	if err != nil {
		return err
	}
	return token.Remove(ctx, *r.PKCS11)
}

// token gives an open one.
func (t *Tokens) token(ctx context.Context, r Ref) (*pkcs11.Token, error) {
	place := r.Place()
	place.PKCS11.Object, place.PIN = "", "" // who logged in once need not again
	name := place.String()
	t.opening.Lock()
	defer t.opening.Unlock()
	t.mutex.Lock()
	there := t.open[name]
	t.mutex.Unlock()
	if there != nil {
		return there, nil
	}
	opened, err := pkcs11.Open(ctx, *place.PKCS11, pkcs11.Options{Helper: t.options.Helper, PINs: t.giver(r.PIN)})
	if err != nil {
		return nil, errors.Join(err, t.forgot())
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.open[name] = opened
	return opened, nil
}

// forgot tells why a wrong PIN could not be kept.
func (t *Tokens) forgot() error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.wrong.unsaved
}

func (t *Tokens) giver(source string) pin.Giver { return &giver{t, source} }

// giver gives PINs from where a name says they are, and none twice that was wrong.
type giver struct {
	tokens *Tokens
	source string
}

// PIN reads or asks for one.
func (g *giver) PIN(ctx context.Context, q pin.Question) (secret []byte, err error) {
	switch {
	case g.source != "" && q.Last: // a person may look twice; a file does not
		return nil, &fault.Error{Kind: fault.Locked, Reason: "one more wrong PIN would lock " + q.Of + ", so it is not tried unattended: use the key once with the right one by another program, or name no pin-source and type it"}
	case g.source != "":
		if secret, err = g.tokens.options.Read(g.source); err != nil {
			return nil, &fault.Error{Kind: fault.NoPIN, Reason: "the PIN of " + q.Of + " cannot be read", Err: err}
		}
	case q.Free:
	case g.tokens.options.Ask == nil:
		return nil, &fault.Error{Kind: fault.NoPIN, Reason: q.Of + " wants a PIN, and nobody is there to ask: put it into a file that only you can read, and say pin-source=file:PATH in the key's name"}
	default:
		of := q.Of
		if q.Last {
			of += ", which one more wrong PIN locks"
		}
		if secret, err = g.tokens.options.Ask(ctx, of); err != nil {
			return nil, err
		}
		return secret, nil // whoever typed it may have meant it
	}
	g.tokens.mutex.Lock()
	defer g.tokens.mutex.Unlock()
	before, err := g.tokens.wrong.has(q.ID, secret)
	switch {
	case g.tokens.wrong.unsaved != nil:
		err = &fault.Error{Kind: fault.NoPIN, Reason: "no PIN is shown to " + q.Of, Err: g.tokens.wrong.unsaved}
	case before:
		err = &fault.Error{Kind: fault.WrongPIN, Reason: q.Of + " refused this very PIN before, and it is not tried again, as tokens lock after a few: correct what pin-source names" + g.tokens.deletable()}
	}
	if err != nil {
		clear(secret)
		return nil, err
	}
	return secret, nil
}

// deletable is what to do where the PIN is right after all.
func (t *Tokens) deletable() string {
	if t.options.Refused == "" {
		return ""
	}
	return "; if it is right by now, delete " + t.options.Refused
}

// Wrong keeps that it was. If that fails it is told by whoever asks for a PIN next.
func (g *giver) Wrong(q pin.Question, secret []byte) {
	g.tokens.mutex.Lock()
	defer g.tokens.mutex.Unlock()
	g.tokens.wrong.add(q.ID, secret)
}
