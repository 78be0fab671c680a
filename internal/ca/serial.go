package ca

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"strings"
	"time"
)

// Serial is a certificate's serial number: the lower-case hex of its octets,
// without the sign octet that DER may put in front.
type Serial string

// newSerial makes 16 octets, the first between 0x40 and 0x7f: positive and of fixed length
// (RFC 5280 §4.1.2.2 allows 20). After these two bits come 38 of the time, in steps of 16
// ms, and 88 random ones. The time is no secret, as the certificate says when it begins;
// with it in front, what is certified together stands together in each index that has
// serials, and however many there are, few of its pages are read and written.
func newSerial(at time.Time) Serial {
	var b [16]byte
	rand.Read(b[5:])                                  // never fails since Go 1.24
	at16 := uint64(at.UnixMilli()) >> 4 & (1<<38 - 1) // until 2109; then from the front
	binary.BigEndian.PutUint32(b[1:5], uint32(at16))
	b[0] = 0x40 | byte(at16>>32)
	return Serial(hex.EncodeToString(b[:]))
}

// SerialOf gives the serial of a number found in a certificate.
func SerialOf(n *big.Int) Serial { return Serial(hex.EncodeToString(n.Bytes())) }

// SerialOfBytes gives the serial of stored octets, see [Serial.Bytes].
func SerialOfBytes(b []byte) Serial { return Serial(hex.EncodeToString(b)) }

// ParseSerial reads a serial as people paste it: hex in any case, with or
// without colons. Errors are of kind [Invalid].
func ParseSerial(text string) (Serial, error) {
	clean := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(text), ":", ""))
	b, err := hex.DecodeString(clean)
	if err != nil || len(b) == 0 || len(b) > 21 {
		return "", Errorf(Invalid, "%q is not a serial number: up to 20 octets in hex are expected", clip(text))
	}
	return SerialOf(new(big.Int).SetBytes(b)), nil
}

// Int gives the serial as a number.
func (s Serial) Int() *big.Int {
	b, _ := hex.DecodeString(string(s))
	return new(big.Int).SetBytes(b)
}

// Bytes gives the serial's octets.
func (s Serial) Bytes() []byte {
	b, _ := hex.DecodeString(string(s))
	return b
}
