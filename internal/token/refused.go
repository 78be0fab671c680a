package token

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
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
	path string    // "": in memory
	list []refusal // what the file had when it was last read
	// What is not in the file yet, and why not. No PIN is given from anywhere meanwhile but
	// by a person: the next process would try this one again.
	unwritten []refusal
	unsaved   error
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

// save brings into the file what is not in it yet, and reads what is.
func (r *refusals) save() error {
	err := r.load()
	if len(r.unwritten) == 0 {
		return err
	}
	if err == nil {
		err = r.write()
	}
	r.unsaved = nil
	if err != nil {
		r.unsaved = fmt.Errorf("a wrong PIN cannot be noted, and until it is none is tried unattended, as tokens lock after a few: %w", err)
	}
	return r.unsaved
}

func (r *refusals) write() error {
	list := append(r.list, r.unwritten...)
	list = list[max(len(list)-mostRefusals, 0):]
	if r.path != "" {
		text, err := json.Marshal(list)
		if err != nil {
			return err
		}
		if err := durable.Write(durable.File{Path: r.path, Data: append(text, '\n'), Mode: 0o600, Owner: durable.Nobody}); err != nil {
			return err
		}
	}
	r.list, r.unwritten = list, nil
	return nil
}

// has tells whether this PIN was refused before. It fails as long as one is unsaved.
func (r *refusals) has(of string, secret []byte) (bool, error) {
	if err := r.save(); err != nil {
		return false, err
	}
	for _, one := range r.list {
		if one.Of == of && subtle.ConstantTimeCompare(one.Mark, mark(of, one.Salt, secret)) == 1 {
			return true, nil
		}
	}
	return false, nil
}

// add keeps that it was; see unsaved.
func (r *refusals) add(of string, secret []byte) {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // which never fails
	r.unwritten = append(r.unwritten, refusal{of, salt, mark(of, salt, secret)})
	r.unwritten = r.unwritten[max(len(r.unwritten)-mostRefusals, 0):]
	_ = r.save()
}
