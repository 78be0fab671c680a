package est

import (
	"bytes"
	"encoding/base64"
)

// Wrap says how base64 is broken into lines.
type Wrap int

// The two forms that the field needs: libest reads only the first, strongSwan before
// 5.9.11 only the second. RFC 8951 §3.1 has receivers take both.
const (
	Wrapped Wrap = iota // lines of 64 characters, each ended by LF
	Bare                // one line without an end
)

const lineLength = 64

// Encode gives the body of a message for DER (RFC 8951 §3).
func Encode(der []byte, w Wrap) []byte {
	text := base64.StdEncoding.AppendEncode(nil, der)
	if w == Bare {
		return text
	}
	out := make([]byte, 0, len(text)+len(text)/lineLength+1)
	for len(text) > 0 {
		n := min(lineLength, len(text))
		out = append(append(out, text[:n]...), '\n')
		text = text[n:]
	}
	return out
}

// Decode gives the DER (or BER) of a message's body, at most max bytes of it; more is
// [TooLarge], and is found out before anything is allocated. Read are base64 with any
// white space anywhere (RFC 8951 §3.1), with or without its padding, and, as courtesy
// to clients in the field, the first block of PEM and raw DER. An empty body gives no
// bytes and no error; everything else is [Malformed].
func Decode(body []byte, max int) ([]byte, error) {
	if raw(body) {
		if len(body) > max {
			return nil, fault(TooLarge, "the body has more than %d bytes", max)
		}
		return bytes.Clone(body), nil
	}
	text, err := armoured(body)
	if err != nil {
		return nil, err
	}
	return decodeText(text, max)
}

// raw tells DER and BER from base64: every message of EST is a SEQUENCE, whose first
// byte is 0x30, and the base64 of that byte begins with 'M'.
func raw(body []byte) bool { return len(body) > 0 && body[0] == 0x30 }

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func base64Digit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/'
}

var (
	pemBegin = []byte("-----BEGIN ")
	pemEnd   = []byte("-----END ")
	pemDash  = []byte("-----")
)

// armoured gives what stands between the lines of the first PEM block, or the text as
// it is when there is none.
func armoured(text []byte) ([]byte, error) {
	start := bytes.Index(text, pemBegin)
	if start < 0 {
		return text, nil
	}
	text = text[start+len(pemBegin):]
	label := bytes.Index(text, pemDash)
	if label < 0 || bytes.IndexByte(text[:label], '\n') >= 0 {
		return nil, malformed("the PEM header has no end")
	}
	text = text[label+len(pemDash):]
	end := bytes.Index(text, pemEnd)
	if end < 0 {
		return nil, malformed("the PEM block has no end")
	}
	return text[:end], nil
}

// decodeText reads base64 in one pass, after a first pass that counted it.
func decodeText(text []byte, max int) ([]byte, error) {
	digits, ended := 0, 0
	for _, c := range text {
		switch {
		case blank(c):
		case c == '=' && ended < 2:
			ended++
		case base64Digit(c) && ended == 0:
			digits++
		default:
			return nil, malformed("the body is neither base64 nor DER")
		}
	}
	if digits%4 == 1 || ended > 0 && (digits+ended)%4 != 0 {
		return nil, malformed("the body's base64 is cut short")
	}
	if digits/4*3+(digits%4*3)/4 > max {
		return nil, fault(TooLarge, "the body decodes to more than %d bytes", max)
	}
	packed := make([]byte, 0, digits)
	for _, c := range text {
		if base64Digit(c) {
			packed = append(packed, c)
		}
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(packed)))
	n, err := base64.RawStdEncoding.Decode(out, packed)
	if err != nil {
		return nil, because(Malformed, "the body is not base64", err)
	}
	return out[:n], nil
}
