package cms

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/subtle"
	"encoding/asn1"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidPWRI   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 3, 9}
)

const (
	usualIterations = 600000
	// mostIterations bounds what a message can make its reader do: some seconds.
	mostIterations = 4000000
	mostSalt       = 1024
)

// macs are the HMACs (RFC 8018 App. B.1, RFC 4231).
var macs = []struct {
	oid  asn1.ObjectIdentifier
	hash crypto.Hash
}{
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}, crypto.SHA256},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 10}, crypto.SHA384},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 11}, crypto.SHA512},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 7}, crypto.SHA1},
	{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 8, 1, 2}, crypto.SHA1},
}

func macOID(h crypto.Hash) asn1.ObjectIdentifier {
	for _, known := range macs {
		if known.hash == h {
			return known.oid
		}
	}
	return nil
}

// mac gives the hash of an HMAC, whose parameters are absent or NULL.
func (a Algorithm) mac() (crypto.Hash, error) {
	for _, known := range macs {
		if known.oid.Equal(a.OID) && a.plain() {
			return known.hash, nil
		}
	}
	return 0, fault(Unsupported, "the message authentication code %v is not supported", a.OID)
}

// seal makes PasswordRecipientInfo (RFC 5652 §6.2.4) with PBKDF2 and id-alg-PWRI-KEK.
func (p Password) seal(key []byte) ([]byte, error) {
	if len(p.Passphrase) == 0 {
		return nil, fault(BadValue, "the password is empty")
	}
	iterations := p.Iterations
	if iterations == 0 {
		iterations = usualIterations
	}
	if iterations < 1000 || iterations > mostIterations {
		return nil, fault(BadValue, "PBKDF2 with %d iterations: 1000 to %d are right", iterations, mostIterations)
	}
	salt, iv := random(16), random(aes.BlockSize)
	kek, err := pbkdf2.Key(crypto.SHA256.New, string(p.Passphrase), salt, iterations, 32)
	if err != nil {
		return nil, &Error{Kind: BadValue, Detail: "PBKDF2", Err: err}
	}
	wrapped, err := wrapPassword(kek, iv, key)
	if err != nil {
		return nil, err
	}
	return build(func(b *writer) {
		add(b, constructed(3), func(b *writer) {
			b.AddASN1Int64(0)
			add(b, constructed(0), func(b *writer) { addPBKDF2(b, salt, iterations) })
			add(b, tags.SEQUENCE, func(b *writer) {
				b.AddASN1ObjectIdentifier(oidPWRI)
				add(b, tags.SEQUENCE, func(b *writer) {
					b.AddASN1ObjectIdentifier(AES256CBC.OID())
					b.AddASN1OctetString(iv)
				})
			})
			b.AddASN1OctetString(wrapped)
		})
	})
}

// addPBKDF2 writes what is within its AlgorithmIdentifier (RFC 8018 App. A.2).
func addPBKDF2(b *writer, salt []byte, iterations int) {
	b.AddASN1ObjectIdentifier(oidPBKDF2)
	add(b, tags.SEQUENCE, func(b *writer) {
		b.AddASN1OctetString(salt)
		b.AddASN1Int64(int64(iterations))
		Algorithm{macOID(crypto.SHA256), derNull}.add(b)
	})
}

// wrapPassword is the wrapping of RFC 3211 §2.3.1: a length, a check value, the key and
// random padding, encrypted twice.
func wrapPassword(kek, iv, key []byte) ([]byte, error) {
	if len(key) < 3 || len(key) > 255 {
		return nil, fault(BadValue, "a key of %d octets cannot be wrapped with a password", len(key))
	}
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, &Error{Kind: BadValue, Detail: "the key of the password", Err: err}
	}
	size := max(2*aes.BlockSize, (4+len(key)+aes.BlockSize-1)/aes.BlockSize*aes.BlockSize)
	out := random(size)
	out[0], out[1], out[2], out[3] = byte(len(key)), ^key[0], ^key[1], ^key[2]
	copy(out[4:], key)
	twice := cipher.NewCBCEncrypter(block, iv)
	twice.CryptBlocks(out, out)
	twice.CryptBlocks(out, out) // goes on from the last block
	return out, nil
}

// unwrapPassword undoes it (RFC 3211 §2.3.2).
func unwrapPassword(kek, iv, wrapped []byte) ([]byte, error) {
	n := len(wrapped)
	if n < 2*aes.BlockSize || n%aes.BlockSize != 0 || n > 1024 {
		return nil, undecrypted()
	}
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, undecrypted()
	}
	// The last block, decrypted, is the outer encryption's initialisation vector.
	last := make([]byte, aes.BlockSize)
	cipher.NewCBCDecrypter(block, wrapped[n-2*aes.BlockSize:n-aes.BlockSize]).CryptBlocks(last, wrapped[n-aes.BlockSize:])
	out := make([]byte, n)
	cipher.NewCBCDecrypter(block, last).CryptBlocks(out, wrapped)
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, out)
	size := int(out[0])
	check := []byte{^out[1], ^out[2], ^out[3]}
	if subtle.ConstantTimeCompare(check, out[4:7])&subtle.ConstantTimeLessOrEq(size, n-4)&subtle.ConstantTimeLessOrEq(3, size) != 1 {
		return nil, undecrypted()
	}
	return out[4 : 4+size], nil
}

// Rounds gives how many iterations of PBKDF2 a recipient's password is asked to go
// through: what opening costs. 0: it is none by password, or cannot be read, and opening
// it fails at once.
func (i *RecipientInfo) Rounds() int {
	if i.Kind != ByPassword {
		return 0
	}
	d, err := i.derivation.parsePBKDF2()
	if err != nil {
		return 0
	}
	return d.iterations
}

// openPassword derives the key of the password and unwraps the content key.
func (i *RecipientInfo) openPassword(key any) ([]byte, error) {
	password, ok := key.(Passphrase)
	if !ok {
		return nil, fault(BadValue, "the key was wrapped with a password, which a %T is not", key)
	}
	if !i.Algorithm.OID.Equal(oidPWRI) {
		return nil, fault(Unsupported, "the wrapping %v with a password is not supported", i.Algorithm.OID)
	}
	r := readerOf(i.Algorithm.Parameters)
	inner := r.algorithm(tags.SEQUENCE, "the cipher of id-alg-PWRI-KEK")
	r.end("the cipher of id-alg-PWRI-KEK")
	if !r.ok() {
		return nil, *r.err
	}
	c := cipherOf(inner.OID)
	if c == 0 || c.GCM() {
		return nil, fault(Unsupported, "the cipher %v under a password is not supported", inner.OID)
	}
	iv, _, err := c.parameters(inner)
	if err != nil {
		return nil, err
	}
	kek, err := i.derivation.pbkdf2(password, c.Bits()/8)
	if err != nil {
		return nil, err
	}
	return unwrapPassword(kek, iv, i.encrypted)
}

// derivation is PBKDF2-params (RFC 8018 App. A.2). length is 0 where it is not there.
type derivation struct {
	salt               []byte
	iterations, length int
	prf                Algorithm
}

// parsePBKDF2 reads the parameters, within bounds.
func (a Algorithm) parsePBKDF2() (derivation, error) {
	d := derivation{prf: Algorithm{OID: macOID(crypto.SHA1)}}
	if !a.OID.Equal(oidPBKDF2) {
		return d, fault(Unsupported, "the derivation %v from a password is not supported", a.OID)
	}
	r := readerOf(a.Parameters)
	seq := r.in(tags.SEQUENCE, "PBKDF2-params")
	r.end("PBKDF2-params")
	d.salt = seq.octets(tags.OCTET_STRING, "the salt")
	if seq.ok() && (!seq.rest.ReadASN1Integer(&d.iterations) || d.iterations < 1) {
		seq.fail("iterationCount is no count")
	}
	if seq.peek(tags.INTEGER) && (!seq.rest.ReadASN1Integer(&d.length) || d.length < 1) {
		seq.fail("keyLength is no length")
	}
	if seq.peek(tags.SEQUENCE) {
		d.prf = seq.algorithm(tags.SEQUENCE, "prf")
	}
	seq.end("PBKDF2-params")
	if !seq.ok() {
		return d, *seq.err
	}
	if d.iterations > mostIterations || len(d.salt) > mostSalt {
		return d, fault(TooLarge, "PBKDF2 with %d iterations and %d octets of salt", d.iterations, len(d.salt))
	}
	return d, nil
}

// pbkdf2 derives so many octets.
func (a Algorithm) pbkdf2(password Passphrase, size int) ([]byte, error) {
	d, err := a.parsePBKDF2()
	if err != nil {
		return nil, err
	}
	if d.length != 0 && d.length != size {
		return nil, fault(Malformed, "keyLength is not the cipher's")
	}
	hash, err := d.prf.mac()
	if err != nil {
		return nil, err
	}
	key, err := pbkdf2.Key(hash.New, string(password), d.salt, d.iterations, size)
	if err != nil {
		return nil, fault(BadValue, "PBKDF2 did not derive a key")
	}
	return key, nil
}
