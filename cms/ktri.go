package cms

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

var oidOAEP = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 7}

// leastRSA is the shortest RSA key, in bits, that anything is encrypted to.
const leastRSA = 2048

// seal makes KeyTransRecipientInfo (RFC 5652 §6.2.1).
func (t KeyTransport) seal(key []byte) ([]byte, error) {
	public := t.Key
	if public == nil && t.Certificate != nil {
		public = t.Certificate.PublicKey
	}
	to, ok := public.(*rsa.PublicKey)
	if !ok {
		return nil, fault(BadValue, "key transport needs an RSA key, not a %T", public)
	}
	if bits := to.N.BitLen(); bits < leastRSA || bits > mostRSA {
		return nil, fault(BadValue, "nothing is encrypted to an RSA key of %d bits", bits)
	}
	algorithm := Algorithm{OID: oidRSA, Parameters: derNull} // RFC 3370 §4.2.1
	var encrypted []byte
	var err error
	if t.OAEP == 0 {
		//lint:ignore SA1019 RFC 7030 §4.4.2 takes what the recipient can do
		encrypted, err = rsa.EncryptPKCS1v15(rand.Reader, to, key)
	} else {
		if algorithm, err = oaep(t.OAEP); err != nil {
			return nil, err
		}
		encrypted, err = rsa.EncryptOAEP(t.OAEP.New(), rand.Reader, to, key, nil)
	}
	if err != nil {
		return nil, &Error{Kind: BadValue, Detail: "encrypting to the RSA key", Err: err}
	}
	name := whom{t.Certificate, t.KeyID}
	if err := name.check(); err != nil {
		return nil, err
	}
	return build(func(b *writer) {
		add(b, tags.SEQUENCE, func(b *writer) {
			if name.byKeyID() {
				b.AddASN1Int64(2)
				addOctets(b, context(0), t.KeyID)
			} else {
				b.AddASN1Int64(0)
				addIssuerAndSerial(b, t.Certificate)
			}
			algorithm.add(b)
			b.AddASN1OctetString(encrypted)
		})
	})
}

// whom names a recipient or signer: by key identifier, else by the certificate's issuer
// and serial number.
type whom struct {
	certificate *x509.Certificate
	keyID       []byte
}

func (w whom) byKeyID() bool { return w.keyID != nil || w.certificate == nil }

func (w whom) check() error {
	if w.byKeyID() && len(w.keyID) == 0 {
		return fault(BadValue, "neither a certificate nor a key identifier names whose key it is")
	}
	return nil
}

// oaep gives the algorithm with its parameters (RFC 4055 §4.1).
func oaep(h crypto.Hash) (Algorithm, error) {
	if !ours(h) && h != crypto.SHA1 {
		return Algorithm{}, fault(BadValue, "OAEP with %v is not supported", h)
	}
	parameters, err := build(func(b *writer) {
		add(b, tags.SEQUENCE, func(b *writer) {
			if h != crypto.SHA1 { // which is the default, and DER leaves it out
				addMasked(b, h)
			}
		})
	})
	return Algorithm{OID: oidOAEP, Parameters: parameters}, err
}

// oaepOf reads the parameters.
func oaepOf(a Algorithm) (*rsa.OAEPOptions, error) {
	r := readerOf(a.Parameters)
	if len(a.Parameters) == 0 {
		return &rsa.OAEPOptions{Hash: crypto.SHA1, MGFHash: crypto.SHA1}, nil
	}
	seq := r.in(tags.SEQUENCE, "RSAES-OAEP-params")
	r.end("RSAES-OAEP-params")
	m, err := seq.masked()
	if err != nil {
		return nil, err
	}
	options := &rsa.OAEPOptions{Hash: m.hash, MGFHash: m.mask}
	if in, ok := seq.optional(constructed(2), "pSourceAlgorithm"); ok {
		source := in.algorithm(tags.SEQUENCE, "pSourceAlgorithm")
		in.end("pSourceAlgorithm")
		label := reader{rest: source.Parameters, err: seq.err}
		options.Label = label.octets(tags.OCTET_STRING, "pSourceAlgorithm")
		label.end("pSourceAlgorithm")
		if seq.ok() && !source.OID.Equal(oidPSpecified) {
			return nil, fault(Unsupported, "the source %v of OAEP's label is not supported", source.OID)
		}
	}
	seq.end("RSAES-OAEP-params")
	return options, *seq.err
}

// openTransport decrypts a content key of so many octets. If it does not decrypt to that,
// a random key takes its place, so that nobody learns which step failed (RFC 3218 §2.3.2).
func (i *RecipientInfo) openTransport(key any, size int) ([]byte, error) {
	private, ok := key.(crypto.Decrypter)
	if !ok {
		return nil, fault(BadValue, "the key was transported, which a %T does not decrypt", key)
	}
	public, ok := private.Public().(*rsa.PublicKey)
	if !ok {
		return nil, fault(BadValue, "the key was transported by RSA, which a %T does not decrypt", private.Public())
	}
	if len(i.encrypted) != public.Size() {
		return nil, undecrypted() // as anybody sees
	}
	substitute := random(size)
	var options crypto.DecrypterOpts
	switch {
	case i.Algorithm.OID.Equal(oidRSA):
		//lint:ignore SA1019 what is sent is to be read; with SessionKeyLen it is no oracle
		options = &rsa.PKCS1v15DecryptOptions{SessionKeyLen: size}
	case i.Algorithm.OID.Equal(oidOAEP):
		o, err := oaepOf(i.Algorithm)
		if err != nil {
			return nil, err
		}
		options = o
	default:
		return nil, fault(Unsupported, "the key transport %v is not supported", i.Algorithm.OID)
	}
	got, err := private.Decrypt(rand.Reader, i.encrypted, options)
	if err != nil || len(got) != size {
		return substitute, nil
	}
	return got, nil
}
