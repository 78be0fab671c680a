package ca

import (
	"crypto"
	"encoding/asn1"
	"time"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidOCSPBasic = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1} // RFC 6960 §4.2.1
	oidOCSPNonce = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2} // RFC 9654 §2.1
	oidECDSA256  = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}     // ecdsa-with-SHA256, RFC 5758 §3.2

	certIDHashes = map[crypto.Hash]asn1.ObjectIdentifier{
		crypto.SHA1:   {1, 3, 14, 3, 2, 26},
		crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1},
	}
)

// single is one SingleResponse.
type single struct {
	id     CertID
	status CertStatus
}

// responseText is a ResponseData before it is encoded. golang.org/x/crypto/ocsp
// knows neither response extensions nor more than one single response, hence
// our own.
type responseText struct {
	keyHash []byte // SHA-1 of the responder's key bits: the responder's name (byKey)
	answer  *Answer
	singles []single
	nonce   []byte
}

// encode gives the DER that is signed (RFC 6960 §4.2.1, ResponseData).
func (t responseText) encode() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(contextTag(2).Constructed(), func(b *cryptobyte.Builder) { // byKey
			b.AddASN1OctetString(t.keyHash)
		})
		b.AddASN1GeneralizedTime(t.answer.ThisUpdate) // producedAt
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, s := range t.singles {
				s.encode(b, t.answer)
			}
		})
		if len(t.nonce) > 0 {
			b.AddASN1(contextTag(1).Constructed(), func(b *cryptobyte.Builder) { // responseExtensions
				b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) { addNonce(b, t.nonce) })
			})
		}
	})
	return b.Bytes()
}

func addNonce(b *cryptobyte.Builder, nonce []byte) {
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidOCSPNonce)
		b.AddASN1(casn1.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1OctetString(nonce) })
	})
}

func (s *single) encode(b *cryptobyte.Builder, times *Answer) {
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		s.id.encode(b)
		switch s.status.Word {
		case StatusGood:
			b.AddASN1(contextTag(0), func(*cryptobyte.Builder) {})
		case StatusRevoked:
			b.AddASN1(contextTag(1).Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1GeneralizedTime(s.status.At.UTC().Truncate(time.Second))
				if s.status.Reason != Unspecified { // said by its absence (RFC 5280 §5.3.1)
					b.AddASN1(contextTag(0).Constructed(), func(b *cryptobyte.Builder) {
						b.AddASN1Enum(int64(s.status.Reason))
					})
				}
			})
		default:
			b.AddASN1(contextTag(2), func(*cryptobyte.Builder) {})
		}
		b.AddASN1GeneralizedTime(times.ThisUpdate)
		b.AddASN1(contextTag(0).Constructed(), func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(times.NextUpdate) })
	})
}

func (c *CertID) encode(b *cryptobyte.Builder) {
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(certIDHashes[c.Hash])
			if !c.Bare {
				b.AddASN1NULL()
			}
		})
		b.AddASN1OctetString(c.NameHash)
		b.AddASN1OctetString(c.KeyHash)
		b.AddASN1BigInt(c.Serial.Int())
	})
}

// signedText is what a BasicOCSPResponse is made of; cert may be nil.
type signedText struct{ data, signature, cert []byte }

// encode wraps the text as a successful OCSPResponse.
func (t signedText) encode() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Enum(0) // successful
		b.AddASN1(contextTag(0).Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidOCSPBasic)
				b.AddASN1(casn1.OCTET_STRING, t.addBasicResponse)
			})
		})
	})
	return b.Bytes()
}

func (t signedText) addBasicResponse(b *cryptobyte.Builder) {
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(t.data)
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidECDSA256) })
		b.AddASN1BitString(t.signature)
		if t.cert != nil {
			b.AddASN1(contextTag(0).Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(t.cert) })
			})
		}
	})
}
