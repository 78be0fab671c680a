package status

import (
	"bytes"
	"crypto"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"chancery/internal/ca"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// build encodes a request as a client would.
func build(certs []ca.CertID, nonce []byte) []byte {
	return buildWith(certs, func(b *cryptobyte.Builder) {
		if len(nonce) == 0 {
			return
		}
		b.AddASN1(explicit(2), func(b *cryptobyte.Builder) {
			b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addExtension(b, oidNonce, false, octets(nonce))
			})
		})
	})
}

func buildWith(certs []ca.CertID, rest func(*cryptobyte.Builder)) []byte {
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, c := range certs {
					b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) { addCertID(b, c) })
				}
			})
			rest(b)
		})
	})
	return b.BytesOrPanic()
}

func addCertID(b *cryptobyte.Builder, c ca.CertID) {
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			oid := oidSHA1
			if c.Hash == crypto.SHA256 {
				oid = oidSHA256
			}
			b.AddASN1ObjectIdentifier(oid)
			if !c.Bare {
				b.AddASN1NULL()
			}
		})
		b.AddASN1OctetString(c.NameHash)
		b.AddASN1OctetString(c.KeyHash)
		b.AddASN1BigInt(c.Serial.Int())
	})
}

func addExtension(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, critical bool, value []byte) {
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if critical {
			b.AddASN1Boolean(true)
		}
		b.AddASN1OctetString(value)
	})
}

func octets(content []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1OctetString(content)
	return b.BytesOrPanic()
}

// extended builds a request with one request extension.
func extended(oid asn1.ObjectIdentifier, critical bool, value []byte) []byte {
	return buildWith([]ca.CertID{someID}, func(b *cryptobyte.Builder) {
		b.AddASN1(explicit(2), func(b *cryptobyte.Builder) {
			b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) { addExtension(b, oid, critical, value) })
		})
	})
}

var (
	someID = ca.CertID{Hash: crypto.SHA1, NameHash: bytes.Repeat([]byte{1}, 20), KeyHash: bytes.Repeat([]byte{2}, 20), Serial: "4a5b"}
	bareID = ca.CertID{Hash: crypto.SHA256, Bare: true, NameHash: bytes.Repeat([]byte{3}, 32), KeyHash: bytes.Repeat([]byte{4}, 32), Serial: "ff00"}

	oidOther = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 4} // acceptable responses
)

func TestParseRequest(t *testing.T) {
	for name, c := range map[string]struct {
		certs []ca.CertID
		nonce []byte
	}{
		"sha-1":         {certs: []ca.CertID{someID}},
		"sha-256":       {certs: []ca.CertID{bareID}},
		"two":           {certs: []ca.CertID{someID, bareID}},
		"short nonce":   {certs: []ca.CertID{someID}, nonce: []byte{0}},
		"longest nonce": {certs: []ca.CertID{someID}, nonce: bytes.Repeat([]byte{7}, maxNonce)},
		"most":          {certs: slicesRepeat(someID, 16)},
		"most at once":  {certs: slicesRepeat(someID, 4), nonce: []byte{1}},
	} {
		got, err := parseRequest(build(c.certs, c.nonce))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !bytes.Equal(build(got.certs, got.nonce), build(c.certs, c.nonce)) || len(got.certs) != len(c.certs) {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
}

func slicesRepeat(id ca.CertID, n int) []ca.CertID {
	list := make([]ca.CertID, n)
	for i := range list {
		list[i] = id
	}
	return list
}

func TestParseRequestPassesOver(t *testing.T) {
	plain := build([]ca.CertID{someID}, nil)
	withSignature := func() []byte {
		var b cryptobyte.Builder
		s := cryptobyte.String(plain)
		s.ReadASN1(&s, casn1.SEQUENCE)
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(s)
			b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddASN1(casn1.SEQUENCE, func(*cryptobyte.Builder) {}) })
		})
		return b.BytesOrPanic()
	}
	for name, der := range map[string][]byte{
		"a signature":           withSignature(),
		"an unknown extension":  extended(oidOther, false, []byte{5, 0}),
		"a critical nonce":      extended(oidNonce, true, octets([]byte{1})),
		"an explicit version 1": versioned(0),
	} {
		if got, err := parseRequest(der); err != nil || len(got.certs) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func versioned(n int64) []byte {
	plain := cryptobyte.String(build([]ca.CertID{someID}, nil))
	plain.ReadASN1(&plain, casn1.SEQUENCE)
	plain.ReadASN1(&plain, casn1.SEQUENCE)
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddASN1Int64(n) })
			b.AddBytes(plain)
		})
	})
	return b.BytesOrPanic()
}

func TestParseRequestRefuses(t *testing.T) {
	plain := build([]ca.CertID{someID}, nil)
	negative := bytes.Replace(plain, []byte{2, 2, 0x4a, 0x5b}, []byte{2, 2, 0xca, 0x5b}, 1)
	long := someID
	long.Serial = ca.Serial(strings.Repeat("7f", 21))
	for name, der := range map[string][]byte{
		"nothing":                       {},
		"an empty sequence":             {0x30, 0},
		"no certificates":               build(nil, nil),
		"too many certificates":         build(slicesRepeat(someID, 17), nil),
		"too many with a nonce":         build(slicesRepeat(someID, 5), []byte{1}),
		"too long":                      make([]byte, maxRequest+1),
		"a tail":                        append(bytes.Clone(plain), 0),
		"cut off":                       plain[:len(plain)-1],
		"version 2":                     versioned(1),
		"a negative serial":             negative,
		"a serial of 21 octets":         build([]ca.CertID{long}, nil),
		"an empty nonce":                extended(oidNonce, false, octets(nil)),
		"a nonce of 129 octets":         extended(oidNonce, false, octets(make([]byte, maxNonce+1))),
		"a nonce that is not wrapped":   extended(oidNonce, false, []byte{9, 9, 9, 9}),
		"an unknown critical extension": extended(oidOther, true, []byte{5, 0}),
		"an empty list of extensions": buildWith([]ca.CertID{someID}, func(b *cryptobyte.Builder) {
			b.AddASN1(explicit(2), func(b *cryptobyte.Builder) { b.AddASN1(casn1.SEQUENCE, func(*cryptobyte.Builder) {}) })
		}),
		"two nonces": buildWith([]ca.CertID{someID}, func(b *cryptobyte.Builder) {
			b.AddASN1(explicit(2), func(b *cryptobyte.Builder) {
				b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
					addExtension(b, oidNonce, false, octets([]byte{1}))
					addExtension(b, oidNonce, false, octets([]byte{1}))
				})
			})
		}),
		"something after the extensions": buildWith([]ca.CertID{someID}, func(b *cryptobyte.Builder) { b.AddASN1NULL() }),
	} {
		_, err := parseRequest(der)
		var malformed malformedError
		if !errors.As(err, &malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecodePath(t *testing.T) {
	der := bytes.Repeat([]byte{0x30, 0xff, 0xfb, 0xef}, 7) // "+", "/" and padding
	plain := base64.StdEncoding.EncodeToString(der)
	if !strings.ContainsAny(plain, "+") || !strings.Contains(plain, "/") || !strings.HasSuffix(plain, "=") {
		t.Fatalf("%s shows nothing", plain)
	}
	for _, path := range []string{plain, "/" + plain, strings.ReplaceAll(plain, "+", " ")} {
		if got, err := decodePath(path); err != nil || !bytes.Equal(got, der) {
			t.Errorf("%s: %x, %v", path, got, err)
		}
	}
	for _, path := range []string{
		"", "/", "M", "M!==", plain[:len(plain)-1], plain + "=", plain[:4] + "\n" + plain[4:], "MR==",
		strings.ReplaceAll(plain, "/", "_"), strings.Repeat("MMMM", maxRequest),
	} {
		var malformed malformedError
		if got, err := decodePath(path); !errors.As(err, &malformed) {
			t.Errorf("%.40q: %x, %v", path, got, err)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add(build([]ca.CertID{someID}, nil))
	f.Add(build([]ca.CertID{someID, bareID}, []byte("nonce")))
	f.Add(extended(oidOther, true, []byte{5, 0}))
	f.Add(versioned(0))
	// made by OpenSSL, with a nonce
	openssl, err := hex.DecodeString("307a30783051304f304d300906052b0e03021a05000414424ef3366d8b17e4f9865ea7849fe102bad1a82e0414ea1bb4e425de1502784d42f8acd555294f8fff2c02145c2cb592d2399de49f5c0fe443ef01477257a051a2233021301f06092b0601050507300102041204103c560662d0aa7bb387de79c5c74e5712")
	if err != nil {
		f.Fatal(err)
	}
	if _, err := parseRequest(openssl); err != nil {
		f.Fatal(err)
	}
	f.Add(openssl)
	f.Fuzz(func(t *testing.T, der []byte) {
		r, err := parseRequest(der)
		if err != nil {
			var malformed malformedError
			if !errors.As(err, &malformed) || len(r.certs) > maxAsked {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, c := range r.certs {
			if c.Hash == 0 {
				return // of no issuer of ours; its hash is not kept
			}
		}
		// What is passed over makes a request longer. One of the same length as
		// the plainest that means the same is that one: there is no second way
		// to write it.
		again := build(r.certs, r.nonce)
		if len(again) > len(der) || len(again) == len(der) && !bytes.Equal(again, der) {
			t.Fatalf("%x means the same as %x", der, again)
		}
		if second, err := parseRequest(again); err != nil || !bytes.Equal(build(second.certs, second.nonce), again) {
			t.Fatalf("%x cannot be read back: %v", again, err)
		}
	})
}

func FuzzDecodePath(f *testing.F) {
	f.Add(base64.StdEncoding.EncodeToString(build([]ca.CertID{someID}, nil)))
	f.Add("/MDAw")
	f.Add("MD w")
	f.Add("MR==")
	f.Fuzz(func(t *testing.T, path string) {
		der, err := decodePath(path)
		if err != nil {
			return
		}
		plain := strings.ReplaceAll(strings.TrimLeft(path, "/"), " ", "+")
		if base64.StdEncoding.EncodeToString(der) != plain {
			t.Fatalf("%q was read as %x", path, der)
		}
	})
}
