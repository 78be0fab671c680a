package est

import (
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"
)

// keyIdentifierMax bounds the identifier of a key, in octets.
const keyIdentifierMax = 128

// ParseKeyIdentifier reads the identifier of a key to which made keys are encrypted (RFC
// 7030 §4.4.1), as people write it at both ends: "hex:" and pairs of hexadecimal digits,
// which may have colons between them, or a text, which stands for its own octets. A text
// of nothing but such pairs is taken for hex as well, as it would be read in two ways:
// write "hex:" before the digits of its octets. It is [Malformed] otherwise.
func ParseKeyIdentifier(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	digits, said := strings.CutPrefix(text, "hex:")
	octets, isHex := hexPairs(digits)
	switch {
	case said && !isHex:
		return nil, malformed("the key identifier has something else than pairs of hexadecimal digits after hex:")
	case !isHex:
		octets = []byte(text)
	}
	if len(octets) == 0 || len(octets) > keyIdentifierMax {
		return nil, malformed("a key identifier has 1 to %d octets", keyIdentifierMax)
	}
	if !isHex && (!utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl)) {
		return nil, malformed("the key identifier is no plain text; write hex: and the digits of its octets")
	}
	return octets, nil
}

// hexPairs reads pairs of hexadecimal digits, with colons between all pairs or none.
func hexPairs(text string) ([]byte, bool) {
	if strings.Contains(text, ":") {
		for pair := range strings.SplitSeq(text, ":") {
			if len(pair) != 2 {
				return nil, false
			}
		}
		text = strings.ReplaceAll(text, ":", "")
	}
	octets, err := hex.DecodeString(text)
	return octets, err == nil && len(octets) > 0
}
