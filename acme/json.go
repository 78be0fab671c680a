package acme

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// strictBase64 refuses non-zero trailing bits, so that a value has one spelling only.
var strictBase64 = base64.RawURLEncoding.Strict()

var errBase64 = errors.New("is not base64url without padding (RFC 8555 §6.1)")

// encode64 is base64url as RFC 7515 §2 defines it.
func encode64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decode64 is the strict inverse of encode64. RFC 8555 §6.1: values with trailing '='
// MUST be rejected. The standard decoder skips line ends, which would give one value
// many spellings, so they are refused first.
func decode64(s []byte) ([]byte, error) {
	if bytes.ContainsAny(s, "\r\n") {
		return nil, errBase64
	}
	out := make([]byte, base64.RawURLEncoding.DecodedLen(len(s)))
	n, err := strictBase64.Decode(out, s)
	if err != nil {
		return nil, errBase64
	}
	return out[:n], nil
}

// eachMember calls visit for the members of the JSON object in data, in their order.
// value is the raw text of the member's value. It refuses anything but a single object
// in UTF-8, trailing data, and a name that occurs twice at the top level.
func eachMember(data []byte, visit func(name string, value []byte) error) error {
	if !utf8.Valid(data) {
		return errors.New("is not UTF-8")
	}
	if !json.Valid(data) {
		return errors.New("is not one well-formed JSON value")
	}
	// From here on the text is known to be well formed, so walking needs no error checks.
	i := skipSpace(data, 0)
	if data[i] != '{' {
		return errors.New("is not a JSON object")
	}
	var seen [8]string // on the stack: our objects are small
	names := seen[:0]
	for i = skipSpace(data, i+1); data[i] != '}'; i = skipSpace(data, i) {
		if data[i] == ',' {
			i = skipSpace(data, i+1)
		}
		end := skipValue(data, i)
		name, err := unquote(data[i:end])
		if err != nil {
			return err
		}
		for _, n := range names {
			if n == name {
				return fmt.Errorf("has the member %q twice", name)
			}
		}
		if len(names) == maxMembers {
			return fmt.Errorf("has more than %d members", maxMembers)
		}
		names = append(names, name)
		i = skipSpace(data, skipSpace(data, end)+1) // past the colon
		end = skipValue(data, i)
		if err := visit(name, data[i:end]); err != nil {
			return err
		}
		i = end
	}
	return nil
}

// maxMembers bounds the search for duplicate names, which is quadratic.
const maxMembers = 64

func skipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\t' || data[i] == '\n' || data[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns the index after the value that begins at data[i], in JSON known to
// be valid.
func skipValue(data []byte, i int) int {
	depth := 0
	for ; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',', ':', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
			continue
		default: // a letter of a number or a literal
			if depth > 0 || i+1 < len(data) && !delimiter(data[i+1]) {
				continue
			}
		}
		if depth == 0 {
			return i + 1
		}
	}
	return i
}

func delimiter(c byte) bool {
	switch c {
	case ',', '}', ']', ':', ' ', '\t', '\n', '\r':
		return true
	}
	return false
}

// unquote returns the text of a JSON string; any other value is an error.
func unquote(raw []byte) (string, error) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", errors.New("is not a string")
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", errors.New("is not a string")
	}
	return s, nil
}

// unquote64 decodes a JSON string that holds base64url. It wants no escapes: none of
// the alphabet's characters needs one.
func unquote64(raw []byte) ([]byte, error) {
	if len(raw) < 2 || raw[0] != '"' {
		return nil, errors.New("is not a string")
	}
	return decode64(raw[1 : len(raw)-1])
}
