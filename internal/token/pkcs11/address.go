// Package pkcs11 gives the keys of PKCS#11 tokens. A token's library is code of its maker
// that is loaded into a process, and Go needs cgo for that: both stay in a helper process
// (cmd/chancery-pkcs11), with which this package speaks over a socket that nobody else has.
//
// The room must not know how keys are named by people, nor where PINs are kept.
package pkcs11

import "encoding/hex"

// Address is a private key in a token, or where keys are to be made. Members that are empty
// match any.
type Address struct {
	Module       string // absolute path of the library
	Token        string // its label
	Manufacturer string
	Model        string
	Serial       string
	Slot         *uint64 // slot-id; it changes when readers are plugged in
	Object       string  // the key's label
	ID           []byte  // CKA_ID
}

// Same tells whether two addresses are of the same token, named in the same way.
func (a Address) Same(b Address) bool {
	slot := a.Slot == nil && b.Slot == nil || a.Slot != nil && b.Slot != nil && *a.Slot == *b.Slot
	return slot && a.Module == b.Module && a.Token == b.Token && a.Manufacturer == b.Manufacturer && a.Model == b.Model && a.Serial == b.Serial
}

// named is the key in words.
func (a Address) named() string {
	switch {
	case a.Object != "" && len(a.ID) > 0:
		return "the key " + a.Object + " (id " + hex.EncodeToString(a.ID) + ")"
	case a.Object != "":
		return "the key " + a.Object
	case len(a.ID) > 0:
		return "the key with id " + hex.EncodeToString(a.ID)
	}
	return "a key"
}
