package srpfront

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

const (
	recordHandshake = 22
	typeClientHello = 1
	extensionSRP    = 12       // RFC 5054 §2.8.1
	maxRecord       = 1 << 14  // octets in a record (RFC 5246 §6.2.1)
	maxHello        = 16 << 10 // octets of a ClientHello that is read; real ones have less than one kilobyte, or two with post-quantum keys
)

// errNoTLS is about what cannot be the beginning of a TLS connection.
var errNoTLS = errors.New("what was sent is no ClientHello")

// readHello reads the records that hold the ClientHello, no octet more. It gives them
// as they came, and the user name in the SRP extension, "" when there is none.
func readHello(r io.Reader) (records []byte, user string, err error) {
	var message []byte
	for {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, "", err
		}
		length := int(head[3])<<8 | int(head[4])
		if head[0] != recordHandshake || head[1] != 3 || length == 0 || length > maxRecord || len(message)+length > maxHello {
			return nil, "", errNoTLS
		}
		at := len(message)
		message = append(message, make([]byte, length)...)
		if _, err := io.ReadFull(r, message[at:]); err != nil {
			return nil, "", err
		}
		records = append(append(records, head[:]...), message[at:]...)
		switch whole, err := complete(message); {
		case err != nil:
			return nil, "", err
		case whole:
			user, err := parseHello(message[4:])
			return records, user, err
		}
	}
}

// complete tells whether a ClientHello is all there. Anything beside it is refused: a
// second message would be one that nobody looked at.
func complete(message []byte) (bool, error) {
	if message[0] != typeClientHello {
		return false, errNoTLS
	}
	if len(message) < 4 {
		return false, nil
	}
	length := 4 + int(message[1])<<16 + int(message[2])<<8 + int(message[3])
	if length > maxHello || len(message) > length {
		return false, errNoTLS
	}
	return len(message) == length, nil
}

// parseHello reads the body of a ClientHello (RFC 5246 §7.4.1.2) and gives the user
// name. It is strict, as the terminator must not read another one out of the same
// octets.
func parseHello(body []byte) (string, error) {
	s := cryptobyte.String(body)
	var session, suites, compressions, extensions cryptobyte.String
	var version uint16
	if !s.ReadUint16(&version) || !s.Skip(32) || !s.ReadUint8LengthPrefixed(&session) || len(session) > 32 ||
		!s.ReadUint16LengthPrefixed(&suites) || len(suites) == 0 || len(suites)%2 != 0 ||
		!s.ReadUint8LengthPrefixed(&compressions) || len(compressions) == 0 {
		return "", errNoTLS
	}
	if s.Empty() { // without extensions, as before TLS 1.2
		return "", nil
	}
	if !s.ReadUint16LengthPrefixed(&extensions) || !s.Empty() {
		return "", errNoTLS
	}
	user := ""
	var seen []uint16
	for !extensions.Empty() {
		var kind uint16
		var value cryptobyte.String
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&value) {
			return "", errNoTLS
		}
		if slices.Contains(seen, kind) {
			return "", fmt.Errorf("%w: the extension %d is there twice", errNoTLS, kind)
		}
		seen = append(seen, kind)
		if kind != extensionSRP {
			continue
		}
		var name cryptobyte.String
		if !value.ReadUint8LengthPrefixed(&name) || !value.Empty() || len(name) == 0 || slices.Contains(name, 0) {
			return "", fmt.Errorf("%w: the SRP user name cannot be read", errNoTLS)
		}
		user = string(name)
	}
	return user, nil
}
