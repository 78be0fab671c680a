package token

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"chancery/internal/token/pkcs11"
	"chancery/internal/token/tpm"
)

const (
	schemePKCS11 = "pkcs11"
	schemeTPM    = "tpm"
	// nameLimit is the most octets of a name.
	nameLimit = 4096
)

// cutScheme splits a name. Schemes are spelled in any case (RFC 3986 §3.1).
func cutScheme(text string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(text, ":")
	return strings.ToLower(scheme), rest, ok
}

func wrong(format string, args ...any) error {
	return &NameError{Reason: fmt.Sprintf(format, args...)}
}

// Parse reads a name. The error is a *[NameError].
func Parse(text string) (Ref, error) {
	if len(text) > nameLimit {
		return Ref{}, wrong("the name of a key has %d octets, at most %d are read", len(text), nameLimit)
	}
	scheme, rest, _ := cutScheme(text)
	path, query, _ := strings.Cut(rest, "?")
	switch scheme {
	case schemePKCS11:
		return parsePKCS11(path, query)
	case schemeTPM:
		return parseTPM(path, query)
	}
	return Ref{}, wrong("the name of a key begins with pkcs11: or tpm:")
}

// attribute is one NAME=VALUE of a name, decoded.
type attribute struct{ name, value string }

// attributes splits a path or query. An attribute that comes twice is refused (RFC 7512
// §2.3).
func attributes(text, separator string) ([]attribute, error) {
	if text == "" {
		return nil, nil
	}
	var all []attribute
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, separator) {
		name, encoded, ok := strings.Cut(part, "=")
		if name == "pin-value" { // before anything could quote it
			return nil, wrong("a PIN does not belong into a name, which others see: put it into a file that only you can read and say pin-source=file:PATH, or leave it out and be asked; and change this PIN if somebody may have seen it")
		}
		if !ok || name == "" {
			return nil, wrong("%.40q of the key's name is not NAME=VALUE", part)
		}
		if seen[name] {
			return nil, wrong("the key's name says %.40q twice", name)
		}
		seen[name] = true
		value, err := decode(encoded)
		if err != nil {
			return nil, wrong("%.40s of the key's name: %v", name, err)
		}
		all = append(all, attribute{name, value})
	}
	return all, nil
}

// decode undoes percent-encoding (RFC 3986 §2.1). What need not be encoded may be.
func decode(text string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c <= ' ' || c >= 0x7f:
			return "", fmt.Errorf("spaces, and letters that are not English, are written as %%XX: %%%02X", c)
		case c == '%':
			if i+2 >= len(text) {
				return "", fmt.Errorf("%% stands before two hexadecimal digits")
			}
			octet, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
			if err != nil {
				return "", fmt.Errorf("%% stands before two hexadecimal digits")
			}
			b.WriteByte(byte(octet))
			i += 2
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// plain are the octets that stand for themselves: unreserved, and what RFC 7512 §2.3 lets
// path and query both have.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~:[]@!$'()*+,/", c) >= 0
}

// encode undoes decode.
func encode(value string) string {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if plain(value[i]) {
			b.WriteByte(value[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", value[i])
		}
	}
	return b.String()
}

// pinSource judges where a PIN is said to be. Both forms of RFC 7512 §2.4 are taken: a
// file: URI, and a path.
func pinSource(value string) (string, error) {
	form, what, ok := strings.Cut(value, ":")
	if ok && form == "credential" && what != "" {
		return value, nil
	}
	path := value
	if ok && form == "file" {
		path = "/" + strings.TrimLeft(what, "/")
		if !strings.HasPrefix(what, "/") {
			path = what
		}
	}
	if !filepath.IsAbs(path) || strings.ContainsAny(path, "\x00\n") {
		return "", wrong("pin-source of the key's name is file:PATH with a path that begins with /, or credential:NAME for a systemd credential")
	}
	return "file:" + path, nil
}

func parsePKCS11(path, query string) (Ref, error) {
	r, a := Ref{}, &pkcs11.Address{}
	r.PKCS11 = a
	all, err := attributes(path, ";")
	if err != nil {
		return r, err
	}
	texts := map[string]*string{"token": &a.Token, "manufacturer": &a.Manufacturer, "model": &a.Model, "serial": &a.Serial, "object": &a.Object}
	for _, one := range all {
		switch into := texts[one.name]; {
		case one.value == "":
			return r, wrong("%.40s of the key's name is empty: leave it out", one.name)
		case into != nil:
			*into = one.value
		case one.name == "id":
			a.ID = []byte(one.value)
		case one.name == "type" && one.value == "private":
		case one.name == "type":
			return r, wrong("the key's name has type=%.20s: what is wanted is a private key", one.value)
		case one.name == "slot-id":
			slot, err := strconv.ParseUint(one.value, 10, 64)
			if err != nil {
				return r, wrong("slot-id of the key's name is a number")
			}
			a.Slot = &slot
		default:
			return r, wrong("%.40q in the key's name is not understood: a key is told by token, serial, manufacturer, model, slot-id, object and id", one.name)
		}
	}
	return r, r.query(query)
}

// query reads what is behind the question mark.
func (r *Ref) query(text string) error {
	all, err := attributes(text, "&")
	if err != nil {
		return err
	}
	for _, one := range all {
		switch {
		case one.name == "pin-source":
			if r.PIN, err = pinSource(one.value); err != nil {
				return err
			}
		case one.name == "module-path" && r.PKCS11 != nil:
			r.PKCS11.Module = one.value
		case one.name == "module-name" && r.PKCS11 != nil:
			return wrong("module-name is not looked up: say module-path=/…/library.so")
		case one.name == "device" && r.TPM != nil:
			r.TPM.Device = one.value
		default:
			return wrong("%.40q in the key's name is not understood", one.name)
		}
	}
	if r.PKCS11 != nil && !filepath.IsAbs(r.PKCS11.Module) {
		return wrong("the key's name does not say which library speaks to the token: add ?module-path=/… (SoftHSM's is /usr/lib/softhsm/libsofthsm2.so, OpenSC's …/opensc-pkcs11.so)")
	}
	if r.TPM != nil && r.TPM.Device != "" && !filepath.IsAbs(r.TPM.Device) {
		return wrong("device of the key's name is a path that begins with /, as /dev/tpmrm0")
	}
	return nil
}

// The persistent handles of a TPM (TPM 2.0 Library, Part 2, §7.2).
const persistentFirst, persistentLast = 0x81000000, 0x81ffffff

func parseTPM(path, query string) (Ref, error) {
	r, a := Ref{}, &tpm.Address{}
	r.TPM = a
	path, err := decode(path)
	if err != nil {
		return r, wrong("the key's name: %v", err)
	}
	switch digits, hexadecimal := strings.CutPrefix(strings.ToLower(path), "0x"); {
	case path == "":
	case hexadecimal:
		handle, err := strconv.ParseUint(digits, 16, 32)
		if err != nil || handle < persistentFirst || handle > persistentLast {
			return r, wrong("%.20q is no persistent handle of a TPM: these are 0x81000000 to 0x81ffffff", path)
		}
		a.Handle = uint32(handle)
	case filepath.IsAbs(path) && !strings.Contains(path, "\x00"):
		a.File = path
	default:
		return r, wrong("behind tpm: comes a persistent handle (0x81000001), the path of a TSS2 PRIVATE KEY file that begins with /, or nothing where keys are made")
	}
	return r, r.query(query)
}

// String is the name. It has no secrets.
func (r Ref) String() string {
	var path, query []string
	add := func(to *[]string, name, value string) {
		if value != "" {
			*to = append(*to, name+"="+encode(value))
		}
	}
	text := ""
	switch {
	case r.PKCS11 != nil:
		a := r.PKCS11
		add(&path, "token", a.Token)
		add(&path, "manufacturer", a.Manufacturer)
		add(&path, "model", a.Model)
		add(&path, "serial", a.Serial)
		if a.Slot != nil {
			add(&path, "slot-id", strconv.FormatUint(*a.Slot, 10))
		}
		add(&path, "object", a.Object)
		if len(a.ID) > 0 { // as octets, which most programs write so
			path = append(path, "id="+octets(a.ID))
		}
		add(&query, "module-path", a.Module)
		text = schemePKCS11 + ":" + strings.Join(path, ";")
	case r.TPM != nil:
		a := r.TPM
		add(&query, "device", a.Device)
		text = schemeTPM + ":" + encode(a.File)
		if a.Handle != 0 {
			text += fmt.Sprintf("0x%08x", a.Handle)
		}
	}
	add(&query, "pin-source", r.PIN)
	if len(query) > 0 {
		text += "?" + strings.Join(query, "&")
	}
	return text
}

func octets(id []byte) string {
	var b strings.Builder
	for _, c := range id {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
