// Package token is about private keys that never leave what holds them: a PKCS#11 token
// (a smart card, an HSM) or a TPM 2.0. It reads the names by which people call such keys,
// opens and makes the keys, and gives them as [crypto.Signer].
//
// A key is named by a URI:
//
//	pkcs11:token=T;object=LABEL;id=%01?module-path=/usr/lib/…so&pin-source=file:/etc/…/pin
//	tpm:0x81000001?device=/dev/tpmrm0&pin-source=file:…   a persistent handle
//	tpm:/etc/…/key.pem?device=…                            a TSS2 PRIVATE KEY file
//
// and where new keys are to be made by the same without what tells one key from another:
//
//	pkcs11:token=T;object=PREFIX?module-path=…
//	tpm:
//
// A PIN is never part of a name; pin-source says where it is, otherwise somebody is asked.
//
// Below it, pkcs11 speaks to a helper process that loads the token's library (this program
// is built without cgo), tpm to a TPM's device; wire is the language of the two, loader what
// the helper does.
//
// The room must not know what keys are for, where PINs are kept ([Tokens] is given a
// function that reads them), nor the command line.
package token

import (
	"chancery/internal/token/pkcs11"
	"chancery/internal/token/tpm"
)

// Ref names a key, or a place where keys are made. Exactly one of PKCS11 and TPM is there.
type Ref struct {
	PKCS11 *pkcs11.Address
	TPM    *tpm.Address
	PIN    string // where the PIN or the key's password is: "file:PATH" or "credential:NAME"; "": somebody is asked, if one is wanted
}

// IsName tells whether a text is meant as a key's name, and not as a file's.
func IsName(text string) bool {
	scheme, _, ok := cutScheme(text)
	return ok && (scheme == schemePKCS11 || scheme == schemeTPM)
}

// NameError says what is wrong with a name. It quotes no PIN.
type NameError struct {
	Reason string // what is wrong, and what to do
}

// Error gives the reason.
func (e *NameError) Error() string { return e.Reason }
