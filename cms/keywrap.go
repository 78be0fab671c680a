package cms

import (
	"crypto/aes"
	"crypto/subtle"
	"encoding/asn1"
	"encoding/binary"
)

// wrapIV is the initial value of RFC 3394 §2.2.3.1.
const wrapIV = 0xA6A6A6A6A6A6A6A6

// wrapOIDs are AES key wrap by the bits of its key (RFC 3565 §2.3.2).
var wrapOIDs = map[int]asn1.ObjectIdentifier{128: aesOID(5), 192: aesOID(25), 256: aesOID(45)}

// wrapBits gives the bits of the AES key wrap of the identifier, or an error.
func wrapBits(a Algorithm) (int, error) {
	for bits, oid := range wrapOIDs {
		if oid.Equal(a.OID) {
			if !a.plain() {
				return 0, fault(Malformed, "AES key wrap has parameters")
			}
			return bits, nil
		}
	}
	return 0, fault(Unsupported, "the key wrap %v is not supported", a.OID)
}

// wrap is AES key wrap (RFC 3394 §2.2.1). The key to be wrapped has whole blocks of 8
// octets, 2 at least.
func wrap(kek, key []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, fault(BadValue, "the key-encryption key has %d octets, not 16, 24 or 32", len(kek))
	}
	if len(key)%8 != 0 || len(key) < 16 {
		return nil, fault(BadValue, "a key of %d octets cannot be wrapped", len(key))
	}
	n := len(key) / 8
	out := make([]byte, 8+len(key))
	copy(out[8:], key)
	a := uint64(wrapIV)
	var b [aes.BlockSize]byte
	for j := range 6 {
		for i := 1; i <= n; i++ {
			binary.BigEndian.PutUint64(b[:8], a)
			copy(b[8:], out[8*i:8*i+8])
			block.Encrypt(b[:], b[:])
			a = binary.BigEndian.Uint64(b[:8]) ^ uint64(n*j+i)
			copy(out[8*i:], b[8:])
		}
	}
	binary.BigEndian.PutUint64(out, a)
	return out, nil
}

// unwrap undoes wrap (RFC 3394 §2.2.2).
func unwrap(kek, wrapped []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, fault(BadValue, "the key-encryption key has %d octets, not 16, 24 or 32", len(kek))
	}
	if len(wrapped)%8 != 0 || len(wrapped) < 24 || len(wrapped) > 8192 {
		return nil, undecrypted()
	}
	n := len(wrapped)/8 - 1
	out := make([]byte, len(wrapped))
	copy(out, wrapped)
	a := binary.BigEndian.Uint64(out)
	var b [aes.BlockSize]byte
	for j := 5; j >= 0; j-- {
		for i := n; i >= 1; i-- {
			binary.BigEndian.PutUint64(b[:8], a^uint64(n*j+i))
			copy(b[8:], out[8*i:8*i+8])
			block.Decrypt(b[:], b[:])
			a = binary.BigEndian.Uint64(b[:8])
			copy(out[8*i:], b[8:])
		}
	}
	var got, want [8]byte
	binary.BigEndian.PutUint64(got[:], a)
	binary.BigEndian.PutUint64(want[:], wrapIV)
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return nil, undecrypted()
	}
	return out[8:], nil
}
