package ca

import (
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"
)

// deviceName checks "value/OID": the OID is the assigner of a permanent
// identifier (RFC 4043, may be missing) or the type of a hardware module
// (RFC 4108 §5, required). A value that is no plain text is written "hex:" and its
// octets, as hardware modules' serial numbers may be any.
func deviceName(kind IdentifierType, text string) (Identifier, error) {
	value, oid, has := strings.Cut(text, "/")
	if value == "" || len(text) > maxIdentifierLength || !utf8.ValidString(value) || strings.ContainsAny(value, "\x00\r\n") {
		return Identifier{}, Errorf(BadName, "%q is not a %s", clip(text), kind)
	}
	if !has && kind == TypeHardwareModule {
		return Identifier{}, Errorf(BadName, "a hardware-module is written SERIAL/TYPE-OID, and %q has no OID", clip(text))
	}
	if has {
		if _, err := parseOID(oid); err != nil {
			return Identifier{}, Errorf(BadName, "%q does not end in an object identifier: %v", clip(text), err)
		}
		oid = "/" + oid
	}
	octets, err := deviceOctets(value)
	if err != nil || len(octets) == 0 || (kind == TypePermanentID && !utf8.Valid(octets)) {
		return Identifier{}, Errorf(BadName, "%q is not a %s: after hex: come pairs of hexadecimal digits", clip(text), kind)
	}
	if text = deviceValue(octets) + oid; len(text) > maxIdentifierLength {
		return Identifier{}, Errorf(BadName, "%q is too long for a %s", clip(text), kind)
	}
	return Identifier{kind, text}, nil
}

const hexPrefix = "hex:"

// deviceValue is the one way to write a value that has these octets.
func deviceValue(octets []byte) string {
	text := string(octets)
	plain := utf8.Valid(octets) && !strings.HasPrefix(text, hexPrefix) &&
		!strings.ContainsFunc(text, func(r rune) bool { return r == '/' || !unicode.IsPrint(r) })
	if plain {
		return text
	}
	return hexPrefix + hex.EncodeToString(octets)
}

// deviceOctets undoes deviceValue.
func deviceOctets(value string) ([]byte, error) {
	if digits, ok := strings.CutPrefix(value, hexPrefix); ok {
		return hex.DecodeString(digits)
	}
	return []byte(value), nil
}
