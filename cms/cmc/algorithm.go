package cmc

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"fmt"
	"hash"

	tags "golang.org/x/crypto/cryptobyte/asn1"

	"chancery/cms"
)

// Options are the caller's choices about what is read.
type Options struct {
	// SHA1 lets SHA-1 and HMAC with SHA-1 count. RFC 5274 §4.1 says MUST to them; they
	// are refused as badAlg without this.
	SHA1 bool
}

// Secret is what client and server share. The octets are those of its text in UTF-8.
type Secret []byte

// String hides it.
func (Secret) String() string { return "[secret]" }

// GoString hides it.
func (Secret) GoString() string { return "[secret]" }

// function is a hash function, or the HMAC with it.
type function struct {
	hash crypto.Hash
	new  func() hash.Hash
	oid  asn1.ObjectIdentifier // of the hash
	hmac asn1.ObjectIdentifier
}

var functions = []function{
	{crypto.SHA256, sha256.New, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}},
	{crypto.SHA384, sha512.New384, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 10}},
	{crypto.SHA512, sha512.New, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 11}},
	// RFC 3370 §3.1 names HMAC with SHA-1 in its own way, as CMC does; PKCS #5 has another.
	{crypto.SHA1, sha1.New, asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 8, 1, 2}},
}

var (
	oidHMACSHA1 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 7}
	oidPBKDF2   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	null        = []byte{byte(tags.NULL), 0}
)

func functionOf(h crypto.Hash) (function, error) {
	for _, f := range functions {
		if f.hash == h {
			return f, nil
		}
	}
	return function{}, refuse(BadAlg, Current, fmt.Sprintf("the hash function %v is not one of CMC's here", h))
}

func (f function) algorithm() cms.Algorithm { return cms.Algorithm{OID: f.oid} } // RFC 5754 §2: no parameters

func (f function) mac() cms.Algorithm { return cms.Algorithm{OID: f.hmac, Parameters: null} }

func (f function) sum(parts ...[]byte) []byte {
	h := f.new()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func (f function) code(key, message []byte) []byte {
	h := hmac.New(f.new, key)
	h.Write(message)
	return h.Sum(nil)
}

// Hash finds the hash function of an identifier. The error is badAlg for others than
// SHA-256, SHA-384, SHA-512 and, if the options let it count, SHA-1.
func (o Options) Hash(a cms.Algorithm) (crypto.Hash, error) {
	f, err := o.function(a, func(f function) bool { return f.oid.Equal(a.OID) })
	return f.hash, err
}

func (o Options) hmac(a cms.Algorithm) (function, error) {
	return o.function(a, func(f function) bool {
		return f.hmac.Equal(a.OID) || f.hash == crypto.SHA1 && a.OID.Equal(oidHMACSHA1)
	})
}

func (o Options) digest(a cms.Algorithm) (function, error) {
	return o.function(a, func(f function) bool { return f.oid.Equal(a.OID) })
}

func (o Options) function(a cms.Algorithm, fits func(function) bool) (function, error) {
	for _, f := range functions {
		if !fits(f) {
			continue
		}
		if f.hash == crypto.SHA1 && !o.SHA1 {
			return function{}, refuse(BadAlg, Current, "SHA-1 is turned off: use SHA-256")
		}
		if a.Parameters != nil && !bytes.Equal(a.Parameters, null) {
			return function{}, refuse(BadAlg, Current, fmt.Sprintf("parameters that the algorithm %s does not have", a.OID))
		}
		return f, nil
	}
	return function{}, refuse(BadAlg, Current, fmt.Sprintf("the algorithm %s is not known", a.OID))
}

// maxIterations bounds what a stranger's parameters can cost: well under a second.
const maxIterations = 1_000_000

// key derives the key of a witness from the secret: by a hash function, or by PBKDF2
// (RFC 5274 §4.1).
func (o Options) key(a cms.Algorithm, secret Secret) ([]byte, error) {
	if a.OID.Equal(oidPBKDF2) {
		return o.pbkdf2(a, secret)
	}
	f, err := o.digest(a)
	if err != nil {
		return nil, err
	}
	return f.sum(secret), nil
}

// pbkdf2 is RFC 8018 §5.2 with the parameters of its Appendix A.2.
func (o Options) pbkdf2(a cms.Algorithm, secret Secret) ([]byte, error) {
	var salt []byte
	var iterations, length int
	prf := cms.Algorithm{OID: oidHMACSHA1, Parameters: null}
	err := read(a.Parameters, tags.SEQUENCE, func(r *reader) {
		salt = r.octets("salt")
		iterations = r.small(tags.INTEGER, "iterations")
		if r.next(tags.INTEGER) {
			length = r.small(tags.INTEGER, "key length")
		}
		if r.more() {
			prf = r.algorithm(tags.SEQUENCE, "function")
		}
	})
	if err != nil {
		return nil, &Error{Fail: BadAlg, Reason: "the parameters of PBKDF2 cannot be read", Err: err}
	}
	if iterations < 1 || iterations > maxIterations || length > 128 {
		return nil, refuse(BadAlg, Current, fmt.Sprintf("PBKDF2 with %d iterations to %d octets: at most %d to 128", iterations, length, maxIterations))
	}
	f, err := o.hmac(prf)
	if err != nil {
		return nil, err
	}
	if length == 0 {
		length = f.hash.Size()
	}
	key, err := pbkdf2.Key(f.new, string(secret), salt, iterations, length)
	if err != nil {
		return nil, &Error{Fail: BadAlg, Reason: "PBKDF2 refuses", Err: err}
	}
	return key, nil
}

// PBKDF2 is the algorithm that derives a key with this salt and number of iterations by
// HMAC with SHA-256, for [LinkWith].
func PBKDF2(salt []byte, iterations int) (cms.Algorithm, error) {
	f, err := functionOf(crypto.SHA256)
	if err != nil {
		return cms.Algorithm{}, err
	}
	params, err := build(func(b builder) {
		b.sequence(func(b builder) {
			b.AddASN1OctetString(salt)
			b.AddASN1Int64(int64(iterations))
			b.algorithm(f.mac(), tags.SEQUENCE)
		})
	})
	return cms.Algorithm{OID: oidPBKDF2, Parameters: params}, err
}
