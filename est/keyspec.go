package est

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"math/big"
	"strconv"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// KeySpec is a demand on the key of a request. Its zero value demands nothing.
type KeySpec struct {
	Algorithm  asn1.ObjectIdentifier // as in a SubjectPublicKeyInfo
	Parameters []byte                // DER; nil: any, or none
	Bits       int                   // of RSA's modulus; 0: any
}

var (
	anyEC  = KeySpec{Algorithm: OIDEC}
	anyRSA = KeySpec{Algorithm: OIDRSA, Parameters: null}
)

// keyNames are the names of the key kinds that have a fixed size.
var keyNames = map[string]KeySpec{
	"ecdsa-p256": {Algorithm: OIDEC, Parameters: oidDER(OIDP256)},
	"ecdsa-p384": {Algorithm: OIDEC, Parameters: oidDER(OIDP384)},
	"ecdsa-p521": {Algorithm: OIDEC, Parameters: oidDER(OIDP521)},
	"ecdsa":      anyEC,
	"rsa":        anyRSA,
	"ed25519":    {Algorithm: OIDEd25519},
	"x25519":     {Algorithm: OIDX25519},
}

// rsaLeast and rsaMost bound the sizes that a server may ask for: what lies outside is
// too weak or keeps a device busy for minutes.
const rsaLeast, rsaMost = 2048, 8192

func oidDER(kind asn1.ObjectIdentifier) []byte {
	var b cryptobyte.Builder
	b.AddASN1ObjectIdentifier(kind)
	return b.BytesOrPanic()
}

// ParseKeySpec reads "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ecdsa", "rsa",
// "rsa-3072" (and other sizes from 2048 to 8192), "ed25519" or "x25519". Another name
// is [Unsupported].
func ParseKeySpec(name string) (KeySpec, error) {
	if spec, ok := keyNames[name]; ok {
		return spec, nil
	}
	if size, ok := strings.CutPrefix(name, "rsa-"); ok {
		if bits, err := strconv.Atoi(size); err == nil && bits >= rsaLeast && bits <= rsaMost {
			return KeySpec{Algorithm: OIDRSA, Parameters: null, Bits: bits}, nil
		}
	}
	return KeySpec{}, fault(Unsupported, "%q is no kind of key: choose among ecdsa-p256, ecdsa-p384, ecdsa-p521, rsa, rsa-3072, ed25519 and x25519", name)
}

// Name gives what [ParseKeySpec] reads, "" for a key that this package does not know
// and for the zero value.
func (k KeySpec) Name() string {
	if k.Algorithm.Equal(OIDRSA) {
		switch {
		case k.Parameters != nil && !bytes.Equal(k.Parameters, null), k.Bits != 0 && (k.Bits < rsaLeast || k.Bits > rsaMost):
			return ""
		case k.Bits == 0:
			return "rsa"
		}
		return "rsa-" + strconv.Itoa(k.Bits)
	}
	for name, spec := range keyNames {
		if spec.Algorithm.Equal(k.Algorithm) && bytes.Equal(spec.Parameters, k.Parameters) && k.Bits == 0 {
			return name
		}
	}
	return ""
}

// Fits tells whether a public key meets the demand.
func (k KeySpec) Fits(key crypto.PublicKey) bool {
	if k.Algorithm == nil {
		return true
	}
	name := k.Name()
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		return name == "ecdsa" || name == "ecdsa-"+strings.ToLower(strings.ReplaceAll(key.Curve.Params().Name, "-", ""))
	case *rsa.PublicKey:
		return name == "rsa" || name == "rsa-"+strconv.Itoa(key.N.BitLen())
	case ed25519.PublicKey:
		return name == "ed25519"
	case *ecdh.PublicKey:
		return name == "x25519" && key.Curve() == ecdh.X25519()
	}
	return false
}

// Definite gives the demand with what it leaves open decided: P-256 for any key and for any
// elliptic curve, 2048 bits for RSA, which is what every token and TPM has.
func (k KeySpec) Definite() KeySpec {
	switch k.Name() {
	case "rsa":
		k.Bits = rsaLeast
	case "ecdsa":
		return keyNames["ecdsa-p256"]
	}
	if k.Algorithm == nil {
		return keyNames["ecdsa-p256"]
	}
	return k
}

// curvesOf are the elliptic curves of the kinds in keyNames.
var curvesOf = map[string]elliptic.Curve{"ecdsa-p256": elliptic.P256(), "ecdsa-p384": elliptic.P384(), "ecdsa-p521": elliptic.P521()}

// NewKey makes a key that meets the demand, as [KeySpec.Definite] has it. A kind that cannot
// sign (X25519), or is not known, is [Unsupported].
func (k KeySpec) NewKey() (crypto.Signer, error) {
	k = k.Definite()
	name := k.Name()
	if curve, is := curvesOf[name]; is {
		return ecdsa.GenerateKey(curve, rand.Reader)
	}
	switch {
	case name == "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case name != "" && k.Bits > 0:
		return rsa.GenerateKey(rand.Reader, k.Bits)
	}
	return nil, fault(Unsupported, "no key of the kind %q (%v) is made here that could sign", name, k.Algorithm)
}

// wish gives the demand as RFC 9908 §3.2 has it in the list: the type with the curve,
// the number of RSA's bits, or nothing, as values.
func (k KeySpec) wish() AttrOrOID {
	w := AttrOrOID{Type: k.Algorithm, Values: [][]byte{}}
	switch {
	case k.Bits != 0:
		var b cryptobyte.Builder
		b.AddASN1Int64(int64(k.Bits))
		w.Values = append(w.Values, b.BytesOrPanic())
	case k.Parameters != nil && !k.Algorithm.Equal(OIDRSA):
		w.Values = append(w.Values, k.Parameters)
	}
	return w
}

// specOfWish reads what [KeySpec.wish] writes. It is false when the type is no key's.
func specOfWish(w AttrOrOID) (KeySpec, bool) {
	k := KeySpec{Algorithm: w.Type}
	switch {
	case w.Type.Equal(OIDRSA):
		k.Parameters = null
		for _, v := range w.Values {
			in := cryptobyte.String(v)
			if !bytes.Equal(v, null) && !in.ReadASN1Integer(&k.Bits) { // NULL is what an AlgorithmIdentifier has there
				k.Bits = -1 // known, and nothing that can be met
			}
		}
		return k, true
	case w.Type.Equal(OIDEC), w.Type.Equal(OIDEd25519), w.Type.Equal(OIDX25519):
		if len(w.Values) > 0 {
			k.Parameters = w.Values[0]
		}
		return k, true
	}
	return k, false
}

// addTo writes a SubjectPublicKeyInfoTemplate (RFC 9908 §3.4). For RSA of one size it
// holds a modulus of that size which is nobody's.
func (k KeySpec) addTo(b *cryptobyte.Builder) {
	b.AddASN1(tag.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(k.Algorithm)
			b.AddBytes(k.Parameters)
		})
		if k.Bits == 0 {
			return
		}
		modulus := new(big.Int).Lsh(big.NewInt(1), uint(k.Bits-1))
		modulus.SetBit(modulus, 0, 1)
		var key cryptobyte.Builder
		key.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1BigInt(modulus)
			b.AddASN1Int64(65537)
		})
		b.AddASN1BitString(key.BytesOrPanic())
	})
}

// readKeySpec reads the content of a SubjectPublicKeyInfoTemplate.
func readKeySpec(in cryptobyte.String) (*KeySpec, error) {
	var algorithm cryptobyte.String
	var k KeySpec
	ok := in.ReadASN1(&algorithm, tag.SEQUENCE)
	if ok {
		k.Algorithm, k.Parameters, ok = readIdentifier(algorithm)
	}
	if !ok {
		return nil, malformed("the template's key cannot be read (RFC 9908 section 3.4)")
	}
	if in.Empty() {
		return &k, nil
	}
	var key []byte
	if !in.ReadASN1BitStringAsBytes(&key) || !in.Empty() {
		return nil, malformed("the template's key cannot be read (RFC 9908 section 3.4)")
	}
	if k.Algorithm.Equal(OIDRSA) {
		modulus := new(big.Int)
		body, ok := whole(key, tag.SEQUENCE)
		if !ok || !body.ReadASN1Integer(modulus) {
			return nil, malformed("the template's RSA key cannot be read (RFC 9908 section 3.4)")
		}
		k.Bits = modulus.BitLen()
	}
	return &k, nil
}
