package cms

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/asn1"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// aesOID gives the identifier of an AES algorithm (RFC 3565 §4.1, RFC 5084 §3, RFC 3565 §2.3.2).
func aesOID(n int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, n}
}

// ciphers is what there is to know of each: its identifier's last number, the key's bits.
var ciphers = map[Cipher]struct {
	arc, bits int
	gcm       bool
	name      string
}{
	AES128CBC: {2, 128, false, "AES-128-CBC"}, AES192CBC: {22, 192, false, "AES-192-CBC"}, AES256CBC: {42, 256, false, "AES-256-CBC"},
	AES128GCM: {6, 128, true, "AES-128-GCM"}, AES192GCM: {26, 192, true, "AES-192-GCM"}, AES256GCM: {46, 256, true, "AES-256-GCM"},
}

// Bits gives the length of the cipher's key; 0: it is none of ours.
func (c Cipher) Bits() int { return ciphers[c].bits }

// GCM reports whether content is authenticated as well, which takes AuthEnvelopedData.
func (c Cipher) GCM() bool { return ciphers[c].gcm }

// OID gives the identifier of the cipher.
func (c Cipher) OID() asn1.ObjectIdentifier { return aesOID(ciphers[c].arc) }

// String names it: AES-256-CBC.
func (c Cipher) String() string {
	if known, ok := ciphers[c]; ok {
		return known.name
	}
	return "no cipher of ours"
}

// cipherOf gives the cipher of the identifier, or 0.
func cipherOf(oid asn1.ObjectIdentifier) Cipher {
	for c := range ciphers {
		if c.OID().Equal(oid) {
			return c
		}
	}
	return 0
}

// random gives so many random octets.
func random(n int) []byte {
	out := make([]byte, n)
	rand.Read(out) // never fails: crypto/rand ends the process instead
	return out
}

// undecrypted is the one error of whatever went wrong with a secret.
func undecrypted() *Error {
	return fault(Undecrypted, "the key does not fit, or the message was altered")
}

// sealed is encrypted content with what belongs to it.
type sealed struct {
	algorithm Algorithm
	encrypted []byte
	tag       []byte // GCM's
}

// seal encrypts with the key, which has the cipher's length; attached is authenticated by
// GCM along with the content.
func (c Cipher) seal(key, content, attached []byte) (sealed, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealed{}, &Error{Kind: BadValue, Detail: "the content key", Err: err}
	}
	if !c.GCM() {
		iv := random(aes.BlockSize)
		out := padded(content)
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(out, out)
		parameters, err := octetValue(iv)
		return sealed{algorithm: Algorithm{c.OID(), parameters}, encrypted: out}, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return sealed{}, &Error{Kind: BadValue, Detail: "the content key", Err: err}
	}
	nonce := random(gcm.NonceSize())
	out := gcm.Seal(nil, nonce, content, attached)
	parameters, err := build(func(b *writer) { // GCMParameters, RFC 5084 §3.2
		add(b, tags.SEQUENCE, func(b *writer) {
			b.AddASN1OctetString(nonce)
			b.AddASN1Int64(int64(gcm.Overhead()))
		})
	})
	end := len(out) - gcm.Overhead()
	return sealed{Algorithm{c.OID(), parameters}, out[:end], out[end:]}, err
}

// padded pads to whole blocks, by one octet at least (RFC 5652 §6.3).
func padded(content []byte) []byte {
	n := aes.BlockSize - len(content)%aes.BlockSize
	out := make([]byte, 0, len(content)+n)
	return append(append(out, content...), bytes.Repeat([]byte{byte(n)}, n)...)
}

// parameters reads IV or nonce, and the length of GCM's tag.
func (c Cipher) parameters(a Algorithm) (nonce []byte, tagSize int, err error) {
	r := readerOf(a.Parameters)
	if !c.GCM() {
		nonce = r.octets(tags.OCTET_STRING, "AES-IV")
		r.end("AES-IV")
		if r.ok() && len(nonce) != aes.BlockSize {
			r.fail("the initialisation vector has %d octets", len(nonce))
		}
		return nonce, 0, *r.err
	}
	tagSize = 12
	seq := r.in(tags.SEQUENCE, "GCMParameters")
	nonce = seq.octets(tags.OCTET_STRING, "aes-nonce")
	if seq.peek(tags.INTEGER) && !seq.rest.ReadASN1Integer(&tagSize) || tagSize < 12 || tagSize > 16 {
		seq.fail("aes-ICVlen is not 12 to 16")
	}
	seq.end("GCMParameters")
	r.end("GCMParameters")
	if r.ok() && len(nonce) != 12 {
		return nil, 0, fault(Unsupported, "a nonce of %d octets is not supported, 12 are", len(nonce))
	}
	return nonce, tagSize, *r.err
}

// open decrypts. An error that depends on key or plaintext is undecrypted.
func (c Cipher) open(key []byte, s sealed, attached []byte) ([]byte, error) {
	nonce, tagSize, err := c.parameters(s.algorithm)
	if err != nil {
		return nil, err
	}
	if len(key)*8 != c.Bits() {
		return nil, undecrypted()
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, undecrypted()
	}
	if !c.GCM() {
		return openCBC(block, nonce, s.encrypted)
	}
	if len(s.tag) != tagSize {
		return nil, fault(Malformed, "the authentication tag has %d octets, not the %d it should", len(s.tag), tagSize)
	}
	gcm, err := cipher.NewGCMWithTagSize(block, tagSize)
	if err != nil {
		return nil, undecrypted()
	}
	out, err := gcm.Open(nil, nonce, append(bytes.Clone(s.encrypted), s.tag...), attached)
	if err != nil {
		return nil, undecrypted()
	}
	return present(out), nil
}

// openCBC decrypts and takes the padding away, looking at a whole block whatever it says.
func openCBC(block cipher.Block, iv, encrypted []byte) ([]byte, error) {
	size := block.BlockSize()
	if len(encrypted) == 0 || len(encrypted)%size != 0 {
		return nil, undecrypted()
	}
	out := make([]byte, len(encrypted))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, encrypted)
	n := int(out[len(out)-1])
	good := subtle.ConstantTimeLessOrEq(1, n) & subtle.ConstantTimeLessOrEq(n, size)
	for i := 1; i <= size; i++ {
		within := subtle.ConstantTimeLessOrEq(i, n)
		right := subtle.ConstantTimeByteEq(out[len(out)-i], byte(n))
		good &= subtle.ConstantTimeSelect(within, right, 1)
	}
	if good != 1 {
		return nil, undecrypted()
	}
	return out[:len(out)-n], nil
}
