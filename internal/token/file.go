package token

import (
	"bytes"
	"encoding/pem"
	"strings"

	"chancery/internal/token/tpm"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// The PEM form in which OpenSSL's pkcs11-provider has names of keys in files.
const (
	namePEM  = "PKCS#11 PROVIDER URI"
	nameKind = "PKCS#11 Provider URI v1.0"
)

// fileMark begins the first line of a key file of ours; the name follows.
const fileMark = "Key: "

// File is what stands in a file in the place of a private key: the name in the first line,
// and behind it what OpenSSL's providers read: for a PKCS#11 token the name once more, for
// a TPM the key that it wrapped, if it is not under a handle.
func (r Ref) File() []byte {
	var b bytes.Buffer
	b.WriteString(fileMark + r.String() + "\n")
	switch {
	case r.PKCS11 != nil:
		_ = pem.Encode(&b, &pem.Block{Type: namePEM, Bytes: nameDER(r.String())})
	case len(r.TPM.Key) > 0:
		_ = pem.Encode(&b, &pem.Block{Type: tpm.PEMType, Bytes: r.TPM.Key})
	}
	return b.Bytes()
}

// nameDER wraps a name: SEQUENCE { VisibleString, UTF8String }.
func nameDER(name string) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.Tag(26), func(b *cryptobyte.Builder) { b.AddBytes([]byte(nameKind)) })
		b.AddASN1(asn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(name)) })
	})
	return b.BytesOrPanic()
}

// parseNameDER reads it.
func parseNameDER(der []byte) (name string, ok bool) {
	all, body, kind, text := cryptobyte.String(der), cryptobyte.String(nil), cryptobyte.String(nil), cryptobyte.String(nil)
	ok = all.ReadASN1(&body, asn1.SEQUENCE) && all.Empty() && body.ReadASN1(&kind, asn1.Tag(26)) && body.ReadASN1(&text, asn1.UTF8String) && body.Empty() &&
		string(kind) == nameKind
	return string(text), ok
}

// ParseFile reads a file that stands in the place of a private key, as [Ref.File] wrote it
// or as OpenSSL's providers have it. there is false where it is something else, as a key
// itself. The error is a *[NameError].
func ParseFile(text []byte) (r Ref, there bool, err error) {
	line, _, _ := strings.Cut(string(text), "\n")
	if name, ours := strings.CutPrefix(line, fileMark); ours {
		if r, err = Parse(strings.TrimSuffix(name, "\r")); err != nil {
			return r, true, err
		}
	}
	der, err := tpm.ParsePEM(text)
	switch {
	case err != nil:
		return r, true, &NameError{Reason: err.Error()}
	case der != nil && r.PKCS11 == nil && (r.TPM == nil || r.TPM.Handle == 0 && r.TPM.File == ""):
		if r.TPM == nil {
			r.TPM = &tpm.Address{}
		}
		r.TPM.Key = der
		return r, true, nil
	case der != nil:
		return r, true, wrong("the file names one key and holds another: restore it from a backup")
	case r.TPM != nil && r.TPM.Handle == 0 && r.TPM.File == "":
		return r, true, wrong("the file names a key of a TPM and does not hold it: restore it from a backup")
	case r.PKCS11 != nil || r.TPM != nil:
		return r, true, nil
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != namePEM {
			continue
		}
		name, ok := parseNameDER(block.Bytes)
		if !ok {
			return r, true, wrong("the file has a name of a key (%s) that cannot be read", namePEM)
		}
		if r, err = Parse(name); err == nil && r.PKCS11 == nil {
			err = wrong("the file has a name of a key (%s) that is no PKCS#11 URI", namePEM)
		}
		return r, true, err
	}
	return r, false, nil
}

// Place gives where a name's keys are made: without what tells one key from another.
func (r Ref) Place() Ref {
	switch {
	case r.PKCS11 != nil:
		a := *r.PKCS11
		a.ID = nil
		r.PKCS11 = &a
	case r.TPM != nil:
		r.TPM = &tpm.Address{Device: r.TPM.Device}
	}
	return r
}

// CheckPlace tells with a *[NameError] that keys cannot be made where a name says.
func (r Ref) CheckPlace() error {
	switch {
	case r.PKCS11 != nil && len(r.PKCS11.ID) > 0:
		return wrong("where keys are made each gets an id of its own: leave id= out of the name")
	case r.TPM != nil && r.TPM.File != "":
		return wrong("where a TPM's keys are made is named tpm: alone; each is kept with its certificate")
	}
	return nil
}

// Same tells whether two places are the same token, or the same TPM.
func (r Ref) Same(other Ref) bool {
	switch {
	case r.PKCS11 != nil && other.PKCS11 != nil:
		return r.PKCS11.Same(*other.PKCS11)
	case r.TPM != nil && other.TPM != nil:
		return r.TPM.Path() == other.TPM.Path()
	}
	return false
}
