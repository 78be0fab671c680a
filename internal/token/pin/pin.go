// Package pin is how tokens and TPMs ask for what unlocks a key.
//
// The room must not know where PINs are kept, nor keep one.
package pin

import "context"

// Question is whose PIN is wanted.
type Question struct {
	Of   string // in words: `the token "T" (serial 1)`
	ID   string // the same as long as it is the same PIN: of the token, or of the key in a TPM
	Low  bool   // a wrong one was tried since the last right one
	Last bool   // one more wrong one locks it
	Free bool   // there may be none: nobody is asked, and what nobody has is empty
}

// Giver gives PINs, and none twice that was wrong.
type Giver interface {
	// PIN gives one; it is overwritten when it was used.
	PIN(ctx context.Context, q Question) ([]byte, error)
	// Wrong is told that this one was refused.
	Wrong(q Question, pin []byte)
}
