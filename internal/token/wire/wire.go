// Package wire is what a program and its PKCS#11 helper say to each other: one request and
// one answer for it, each a JSON object behind its length, bounded and read strictly. What
// is read is exactly what the same values would be written as, so nothing has two forms.
//
// The room must not know PKCS#11's C interface, processes or sockets. A PIN passes through
// it and is kept nowhere.
package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Most is the most octets that a message has, without its length.
const Most = 64 << 10

// Request asks the helper for one thing: exactly one member beside ID is there.
type Request struct {
	ID      uint64  `json:"id"` // comes back with the answer
	Open    *Open   `json:"open,omitempty"`
	Login   *Login  `json:"login,omitempty"`
	Find    *Find   `json:"find,omitempty"`
	Make    *Make   `json:"make,omitempty"`
	Sign    *Sign   `json:"sign,omitempty"`
	Decrypt *Crypt  `json:"decrypt,omitempty"`
	Derive  *Crypt  `json:"derive,omitempty"`
	Remove  *Remove `json:"remove,omitempty"`
}

// Open loads a module and looks for one token. Members that are empty match any.
type Open struct {
	Module       string  `json:"module"` // absolute path of the shared library
	Token        string  `json:"token,omitempty"`
	Manufacturer string  `json:"manufacturer,omitempty"`
	Model        string  `json:"model,omitempty"`
	Serial       string  `json:"serial,omitempty"`
	Slot         *uint64 `json:"slot,omitempty"`
}

// Login shows the user's PIN to the token, once.
type Login struct {
	PIN []byte `json:"pin"`
}

// Find looks for one private key by label, CKA_ID, or both.
type Find struct {
	Object string `json:"object,omitempty"`
	Key    []byte `json:"key,omitempty"` // CKA_ID
}

// Make makes a key pair that stays in the token.
type Make struct {
	Object string `json:"object"`
	Key    []byte `json:"key"`  // CKA_ID
	Kind   string `json:"kind"` // "ecdsa-p256", "rsa-2048" and their like
}

// Sign signs a digest.
type Sign struct {
	Handle uint64 `json:"handle"` // of an earlier answer
	Scheme string `json:"scheme"` // "ecdsa", "pkcs1" or "pss"
	Hash   string `json:"hash"`   // "sha256", "sha384", "sha512"; with "pkcs1" and "pss"
	Digest []byte `json:"digest"`
	Salt   int    `json:"salt,omitempty"` // octets, with "pss"
}

// Crypt decrypts (RSA PKCS#1 v1.5, or OAEP with a hash), or derives (ECDH: Text is the
// other side's point, uncompressed).
type Crypt struct {
	Handle uint64 `json:"handle"`
	Hash   string `json:"hash,omitempty"`
	Text   []byte `json:"text"`
}

// Remove deletes a key pair that has this label and this CKA_ID.
type Remove struct {
	Object string `json:"object"`
	Key    []byte `json:"key"`
}

// Answer is what came of a request. Beside ID there is a fault, or what was asked for.
type Answer struct {
	ID     uint64 `json:"id"`
	Fault  *Fault `json:"fault,omitempty"`
	Token  *Token `json:"token,omitempty"`  // to Open
	Key    *Key   `json:"key,omitempty"`    // to Find and Make
	Octets []byte `json:"octets,omitempty"` // to Sign: for ECDSA ASN.1; to Decrypt and Derive
}

// Token is a token that was found.
type Token struct {
	Label  string `json:"label"`
	Serial string `json:"serial"`
	Model  string `json:"model"`
	Login  bool   `json:"login"`  // it wants a PIN
	PINPad bool   `json:"pinPad"` // and has a pad of its own for that
	Unset  bool   `json:"unset"`  // nobody has given it a PIN yet
	Low    bool   `json:"low"`    // a wrong PIN was tried since the last right one
	Last   bool   `json:"last"`   // one more wrong PIN locks it
	Locked bool   `json:"locked"`
}

// Key is a key pair that was found or made.
type Key struct {
	Handle uint64 `json:"handle"`
	Public []byte `json:"public"` // SubjectPublicKeyInfo, DER
	Object string `json:"object,omitempty"`
	ID     []byte `json:"ckaID,omitempty"`
}

// Code is the sort of a fault.
type Code string

// The sorts of faults.
const (
	NoModule   Code = "no-module"   // the library cannot be loaded
	NoCgo      Code = "no-cgo"      // the helper was built without the means to
	NoToken    Code = "no-token"    // none matches
	ManyTokens Code = "many-tokens" // several do
	NoKey      Code = "no-key"
	ManyKeys   Code = "many-keys"
	WrongPIN   Code = "wrong-pin"
	Locked     Code = "locked"
	BadPIN     Code = "bad-pin" // it cannot be a PIN of this token, or has expired
	Gone       Code = "gone"    // token or session: starting anew may help
	Unfit      Code = "unfit"   // the key or token does not do what was asked
	Full       Code = "full"
	Refused    Code = "refused" // anything else the token said
	Confused   Code = "confused"
)

// Fault says why there is no answer. Text is the helper's, for a person; it has no secrets.
type Fault struct {
	Code Code   `json:"code"`
	Text string `json:"text"`
}

// ErrMessage says that the other side does not speak this language.
var ErrMessage = errors.New("the PKCS#11 helper and this program do not understand each other: install both from the same release")

// ReadRequest reads one; [io.EOF] when the other side has ended between messages.
func ReadRequest(r io.Reader) (*Request, error) {
	m := &Request{}
	if err := read(r, m); err != nil {
		return nil, err
	}
	count := 0
	for _, there := range []bool{m.Open != nil, m.Login != nil, m.Find != nil, m.Make != nil, m.Sign != nil, m.Decrypt != nil, m.Derive != nil, m.Remove != nil} {
		if there {
			count++
		}
	}
	if count != 1 {
		return nil, fmt.Errorf("%w (a request for %d things)", ErrMessage, count)
	}
	return m, nil
}

// ReadAnswer reads one; [io.EOF] when the other side has ended between messages.
func ReadAnswer(r io.Reader) (*Answer, error) {
	m := &Answer{}
	if err := read(r, m); err != nil {
		return nil, err
	}
	if m.Fault != nil && (m.Token != nil || m.Key != nil || m.Octets != nil) {
		return nil, fmt.Errorf("%w (a fault and an answer)", ErrMessage)
	}
	return m, nil
}

// WriteRequest writes one, in one piece.
func WriteRequest(w io.Writer, m *Request) error { return write(w, m) }

// WriteAnswer writes one, in one piece.
func WriteAnswer(w io.Writer, m *Answer) error { return write(w, m) }

func encode(m any) ([]byte, error) {
	var b bytes.Buffer
	b.Write(make([]byte, 4))
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(m); err != nil {
		return nil, err
	}
	text := b.Bytes()
	if len(text)-4 > Most {
		clear(text)
		return nil, fmt.Errorf("%w (a message of %d octets, at most %d)", ErrMessage, len(text)-4, Most)
	}
	binary.BigEndian.PutUint32(text, uint32(len(text)-4))
	return text, nil
}

func write(w io.Writer, m any) error {
	text, err := encode(m)
	if err != nil {
		return err
	}
	defer clear(text) // there may be a PIN in it
	_, err = w.Write(text)
	return err
}

func read(r io.Reader, m any) error {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > Most {
		return fmt.Errorf("%w (a message of %d octets)", ErrMessage, n)
	}
	text := make([]byte, n)
	defer clear(text)
	if _, err := io.ReadFull(r, text); err != nil {
		return fmt.Errorf("%w (a message is cut off)", ErrMessage)
	}
	if err := json.Unmarshal(text, m); err != nil { // its text may quote, and there may be a PIN
		return fmt.Errorf("%w (no message)", ErrMessage)
	}
	again, err := encode(m)
	if err != nil {
		return err
	}
	defer clear(again)
	if !bytes.Equal(again[4:], text) {
		return fmt.Errorf("%w (an unusual message)", ErrMessage)
	}
	return nil
}
