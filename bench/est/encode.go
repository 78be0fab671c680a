package main

import (
	"encoding/base64"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// ecdsaSHA256 is the AlgorithmIdentifier of ecdsa-with-SHA256 (RFC 5758 §3.2).
var ecdsaSHA256 = []byte{0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02}

// assemble makes a certificate of its signed part and the signature.
func assemble(tbs, signature []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(ecdsaSHA256)
		b.AddASN1BitString(signature)
	})
	return b.BytesOrPanic()
}

// wrapped is base64 in lines of 64.
func wrapped(der []byte) []byte {
	text := base64.StdEncoding.EncodeToString(der)
	var out []byte
	for len(text) > 64 {
		out = append(append(out, text[:64]...), '\n')
		text = text[64:]
	}
	return append(append(out, text...), '\n')
}
