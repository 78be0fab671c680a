package token

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io/fs"

	"chancery/internal/durable"
	"chancery/internal/owned"
)

// refusal is a PIN that was wrong. It is told again by two octets of a salted hash: enough
// not to try it twice, and too little to find it by.
type refusal struct {
	Of   string `json:"of"` // of [pin.Question]
	Salt []byte `json:"salt"`
	Mark []byte `json:"mark"`
}

// mostRefusals are kept; the oldest go.
const mostRefusals = 32

func mark(of string, salt, secret []byte) []byte {
	h := sha256.New()
	h.Write(salt)
	h.Write([]byte(of + "\x00"))
	h.Write(secret)
	return h.Sum(nil)[:2]
}

// refusals are what is kept of wrong PINs, in a file or, without one, in memory.
type refusals struct {
	path string // "": in memory
	list []refusal
}

func (r *refusals) load() error {
	if r.path == "" {
		return nil
	}
	text, err := owned.ReadFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		r.list = nil
		return nil
	}
	if err != nil {
		return err
	}
	r.list = nil
	if err := json.Unmarshal(text, &r.list); err != nil {
		return errors.New(r.path + ": this file is damaged: it says which PINs were wrong; see that the PIN is right, and delete it")
	}
	return nil
}

// has tells whether this PIN was refused before.
func (r *refusals) has(of string, secret []byte) (bool, error) {
	if err := r.load(); err != nil {
		return false, err
	}
	for _, one := range r.list {
		if one.Of == of && subtle.ConstantTimeCompare(one.Mark, mark(of, one.Salt, secret)) == 1 {
			return true, nil
		}
	}
	return false, nil
}

// add keeps that it was.
func (r *refusals) add(of string, secret []byte) error {
	if err := r.load(); err != nil {
		return err
	}
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return err
	}
	r.list = append(r.list, refusal{of, salt, mark(of, salt, secret)})
	r.list = r.list[max(len(r.list)-mostRefusals, 0):]
	if r.path == "" {
		return nil
	}
	text, err := json.Marshal(r.list)
	if err != nil {
		return err
	}
	return durable.Write(durable.File{Path: r.path, Data: append(text, '\n'), Mode: 0o600, Owner: durable.Nobody})
}
