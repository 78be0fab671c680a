package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// A transported key whose padding is wrong, or which has another length, is told by nothing
// from one that is simply another: a random one is tried in its place.
func TestTransportTellsNothing(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 it is this that is defended
	pkcs1 := func(m []byte) ([]byte, error) { return rsa.EncryptPKCS1v15(rand.Reader, &key.PublicKey, m) }
	pad := func(m []byte) ([]byte, error) {
		return rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, m, nil)
	}
	scheme, err := oaep(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]bool{}
	for name, encrypt := range map[string]func([]byte) ([]byte, error){"v1.5": pkcs1, "OAEP": pad} {
		algorithm := Algorithm{oidRSA, derNull}
		if name == "OAEP" {
			algorithm = scheme
		}
		for _, length := range []int{1, 16, 31, 32, 33} {
			encrypted, err := encrypt(random(length))
			if err != nil {
				t.Fatal(err)
			}
			for _, spoil := range []byte{0, 1} {
				encrypted[100] ^= spoil
				i := RecipientInfo{Kind: ByKeyTransport, Algorithm: algorithm, encrypted: encrypted}
				got, err := i.open(key, 32)
				if err != nil || len(got) != 32 {
					t.Errorf("%s, %d octets, spoilt %d: %d octets, %v", name, length, spoil, len(got), err)
				}
				s, err := AES256GCM.seal(random(32), []byte("x"), nil)
				if err != nil {
					t.Fatal(err)
				}
				e := Enveloped{Type: OIDData, Cipher: AES256GCM, Algorithm: s.algorithm, encrypted: s.encrypted, tag: s.tag, Recipients: []RecipientInfo{i}}
				_, err = e.Decrypt(key, 0)
				texts[fmt.Sprint(err)] = true
			}
		}
	}
	if len(texts) != 1 || !texts[undecrypted().Error()] {
		t.Errorf("the errors differ: %v", texts)
	}
	i := RecipientInfo{Kind: ByKeyTransport, Algorithm: Algorithm{oidRSA, derNull}, encrypted: make([]byte, 255)}
	if _, err := i.open(key, 32); !errors.Is(err, &Error{Kind: Undecrypted}) {
		t.Errorf("a key of another length than the modulus: %v", err)
	}
	i.Algorithm.OID = oidPSS
	i.encrypted = make([]byte, 256)
	if _, err := i.open(key, 32); !errors.Is(err, &Error{Kind: Unsupported}) {
		t.Errorf("no key transport: %v", err)
	}
}

// HKDF (RFC 8418 §2.2) against its own definition (RFC 5869 §2), with and without ukm.
func TestAgreementByHKDF(t *testing.T) {
	for _, ukm := range [][]byte{nil, []byte("keying material")} {
		how := agreement{hash: crypto.SHA256, hkdf: true, wrap: Algorithm{OID: wrapOIDs[256]}, ukm: ukm}
		secret := []byte("the shared secret")
		got, err := how.derive(secret, 32)
		if err != nil {
			t.Fatal(err)
		}
		info := unhex(t, "301b"+"300b060960864801650304012d"+"") // the length is set below
		if ukm != nil {
			info = append(info, 0xa0, 17, 4, 15)
			info = append(info, ukm...)
		}
		info = append(info, 0xa2, 6, 4, 4, 0, 0, 1, 0)
		info[1] = byte(len(info) - 2)
		salt := ukm
		if salt == nil {
			salt = make([]byte, 32)
		}
		extract := hmac.New(sha256.New, salt)
		extract.Write(secret)
		expand := hmac.New(sha256.New, extract.Sum(nil))
		expand.Write(append(info, 1))
		if want := expand.Sum(nil); !bytes.Equal(got, want) {
			t.Errorf("ukm %q: %x, want %x", ukm, got, want)
		}
		how.hkdf = false
		if got, err = how.derive(secret, 32); err != nil {
			t.Fatal(err)
		}
		want := sha256.Sum256(append(append([]byte("the shared secret"), 0, 0, 0, 1), info...))
		if !bytes.Equal(got, want[:]) {
			t.Errorf("X9.63, ukm %q: %x, want %x", ukm, got, want)
		}
	}
}

func TestAgreementRefuses(t *testing.T) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	originator := func(algorithm Algorithm, point []byte) []byte {
		der, err := build(func(b *writer) {
			add(b, constructed(1), func(b *writer) {
				algorithm.add(b)
				b.AddASN1BitString(point)
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	wrapping, err := Algorithm{OID: wrapOIDs[128]}.marshal()
	if err != nil {
		t.Fatal(err)
	}
	des, err := Algorithm{OID: oidMGF1}.marshal()
	if err != nil {
		t.Fatal(err)
	}
	good := Algorithm{agreements[0].oid, wrapping}
	point := key.PublicKey().Bytes()
	off := bytes.Clone(point)
	off[40] ^= 1
	for name, c := range map[string]struct {
		info RecipientInfo
		kind Kind
	}{
		"a static sender":             {RecipientInfo{Algorithm: good}, Unsupported},
		"another agreement":           {RecipientInfo{Algorithm: Algorithm{OID: oidMGF1}}, Unsupported},
		"no wrap":                     {RecipientInfo{Algorithm: Algorithm{OID: good.OID}}, Malformed},
		"another wrap":                {RecipientInfo{Algorithm: Algorithm{good.OID, des}}, Unsupported},
		"a point off the curve":       {RecipientInfo{Algorithm: good, originator: originator(Algorithm{OID: oidECPublicKey}, off)}, Malformed},
		"the point at infinity":       {RecipientInfo{Algorithm: good, originator: originator(Algorithm{OID: oidECPublicKey}, []byte{0})}, Malformed},
		"a key of another kind":       {RecipientInfo{Algorithm: good, originator: originator(Algorithm{OID: oidX25519}, point)}, Malformed},
		"a wrapped key that fits not": {RecipientInfo{Algorithm: good, originator: originator(Algorithm{OID: oidECPublicKey}, point), encrypted: make([]byte, 24)}, Undecrypted},
	} {
		c.info.Kind = ByKeyAgreement
		if _, err := c.info.open(key, 16); !errors.Is(err, &Error{Kind: c.kind}) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPasswordRefuses(t *testing.T) {
	parameters := func(salt int, iterations int64, more ...func(*writer)) Algorithm {
		der, err := build(func(b *writer) {
			add(b, tags.SEQUENCE, func(b *writer) {
				b.AddASN1OctetString(make([]byte, salt))
				b.AddASN1Int64(iterations)
				for _, f := range more {
					f(b)
				}
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		return Algorithm{oidPBKDF2, der}
	}
	length := func(n int64) func(*writer) { return func(b *writer) { b.AddASN1Int64(n) } }
	for name, c := range map[string]struct {
		derivation Algorithm
		kind       Kind
	}{
		"another derivation":     {Algorithm{OID: oidMGF1}, Unsupported},
		"no parameters":          {Algorithm{OID: oidPBKDF2}, Malformed},
		"no rounds":              {parameters(8, 0), Malformed},
		"rounds without end":     {parameters(8, 1<<40), TooLarge},
		"a long salt":            {parameters(2000, 1), TooLarge},
		"a key of other length":  {parameters(8, 1, length(16)), Malformed},
		"another HMAC":           {parameters(8, 1, length(32), Algorithm{OID: oidMGF1}.add), Unsupported},
		"something else":         {parameters(8, 1, length(32), Algorithm{OID: macOID(crypto.SHA1)}.add, length(1)), Malformed},
		"the right, by default":  {parameters(8, 1), ""},
		"the right, with a HMAC": {parameters(8, 1, length(32), Algorithm{macOID(crypto.SHA512), derNull}.add), ""},
	} {
		_, err := c.derivation.pbkdf2(Passphrase("x"), 32)
		if (c.kind == "") != (err == nil) || err != nil && !errors.Is(err, &Error{Kind: c.kind}) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParametersRefused(t *testing.T) {
	gcm := func(nonce int, rest string) Algorithm {
		inner := append([]byte{4, byte(nonce)}, make([]byte, nonce)...)
		inner = append(inner, unhex(t, rest)...)
		return Algorithm{AES128GCM.OID(), append([]byte{0x30, byte(len(inner))}, inner...)}
	}
	for name, c := range map[string]struct {
		cipher    Cipher
		algorithm Algorithm
		kind      Kind
	}{
		"the usual":      {AES128GCM, gcm(12, "020110"), ""},
		"the default":    {AES128GCM, gcm(12, ""), ""},
		"a short tag":    {AES128GCM, gcm(12, "020108"), Malformed},
		"a long tag":     {AES128GCM, gcm(12, "020111"), Malformed},
		"a long nonce":   {AES128GCM, gcm(16, "020110"), Unsupported},
		"more":           {AES128GCM, gcm(12, "0201100500"), Malformed},
		"no parameters":  {AES128GCM, Algorithm{}, Malformed},
		"a short vector": {AES128CBC, Algorithm{Parameters: []byte{4, 1, 0}}, Malformed},
		"no vector":      {AES128CBC, Algorithm{}, Malformed},
	} {
		_, _, err := c.cipher.parameters(c.algorithm)
		if (c.kind == "") != (err == nil) || err != nil && !errors.Is(err, &Error{Kind: c.kind}) {
			t.Errorf("%s: %v", name, err)
		}
	}
	sha256 := Algorithm{OID: oidSHA256}
	for name, c := range map[string]struct {
		parameters string
		kind       Kind
	}{
		"SHA-256":         {"3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120", ""},
		"trailer":         {"3039a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120a303020101", ""},
		"another trailer": {"3039a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120a303020102", Malformed},
		"a salt below 0":  {"3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a2030201ff", Malformed},
		"SHA-1":           {"3000", Malformed}, // not the digest algorithm's
		"MGF1 of SHA-1":   {"3011a00f300d06096086480165030402010500", Unsupported},
		"another mask":    {"3020a00f300d06096086480165030402010500a10d300b06092a864886f70d010101", Unsupported},
		"nothing":         {"", Malformed},
	} {
		_, err := schemeOf(sha256, Algorithm{oidPSS, unhex(t, c.parameters)})
		if (c.kind == "") != (err == nil) || err != nil && !errors.Is(err, &Error{Kind: c.kind}) {
			t.Errorf("PSS, %s: %v", name, err)
		}
	}
}

// Attributes in another order than DER's are verified as DER, or as they were sent if it
// was that which was signed; nothing else is.
func TestAttributesInAnotherOrder(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := Sign(SignedContent{Type: OIDPKIData, Content: []byte("x")}, Signing{Key: key, KeyID: []byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseSignedData(der)
	if err != nil {
		t.Fatal(err)
	}
	by := &s.Signers[0]
	a, b := by.Signed[0], by.Signed[1]
	by.Signed[0], by.Signed[1] = b, a
	var elements []byte
	for _, one := range by.Signed {
		e, err := one.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		elements = append(elements, e...)
	}
	sorted := by.signed
	if by.signed, err = build(func(b *writer) { addOctets(b, tags.SET, elements) }); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(sorted, by.signed) {
		t.Fatal("the order is the same")
	}
	if err := s.Verify(0, &key.PublicKey); err != nil {
		t.Errorf("signed as DER, sent otherwise: %v", err)
	}
	digest := sha256.Sum256(by.signed)
	if by.Value, err = key.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(0, &key.PublicKey); err != nil {
		t.Errorf("signed as sent: %v", err)
	}
	by.Value[10] ^= 1
	if err := s.Verify(0, &key.PublicKey); !errors.Is(err, &Error{Kind: Unverified}) {
		t.Errorf("altered: %v", err)
	}
}

func TestSigningTime(t *testing.T) {
	for text, first := range map[string]byte{"1999-12-31T23:59:59Z": 0x17, "2049-12-31T23:59:59Z": 0x17, "2050-01-01T00:00:00Z": 0x18, "1949-01-01T00:00:00Z": 0x18} {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		a := SigningTime(at)
		if a.Values[0][0] != first {
			t.Errorf("%s: %x", text, a.Values[0])
		}
		if got, ok, err := Time([]Attribute{a}); err != nil || !ok || !got.Equal(at) {
			t.Errorf("%s: %v %v %v", text, got, ok, err)
		}
	}
	for name, list := range map[string][]Attribute{
		"twice": {SigningTime(time.Now()), SigningTime(time.Now())}, "no value": {{Type: OIDSigningTime}},
		"no time": {{Type: OIDSigningTime, Values: [][]byte{{5, 0}}}}, "two values": {{Type: OIDSigningTime, Values: [][]byte{{5, 0}, {5, 0}}}},
	} {
		if _, _, err := Time(list); !errors.Is(err, &Error{Kind: Malformed}) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, ok, err := Time(nil); ok || err != nil {
		t.Errorf("none: %v %v", ok, err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	for _, v := range []any{Secret("sesame"), Passphrase("sesame"), KeyEncryption{Key: Secret("sesame")}, Password{Passphrase: Passphrase("sesame")}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, "sesame") || strings.Contains(got, "736573616d65") || strings.Contains(got, "0x73") {
				t.Errorf("%s of a %T: %s", verb, v, got)
			}
		}
	}
	err := error(&Error{Kind: Malformed, Detail: "outer", Err: fault(BadValue, "inner")})
	if !errors.Is(err, &Error{Kind: BadValue}) || errors.Is(err, &Error{Kind: TooLarge}) || !strings.Contains(err.Error(), "inner") {
		t.Error(err)
	}
}
