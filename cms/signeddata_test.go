package cms_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"testing"
	"time"

	"chancery/cms"
)

// sign makes a message by one party, named by its certificate, which is enclosed.
func sign(t testing.TB, content cms.SignedContent, by cms.Signing, name string) []byte {
	t.Helper()
	p := who(t, name)
	by.Key, by.Certificate = p.signer(), p.cert
	content.Certificates = append(content.Certificates, p.cert.Raw)
	der, err := cms.Sign(content, by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestSignRoundTrip(t *testing.T) {
	mark := cms.Attribute{Type: cms.OIDSMIMECapabilities, Values: [][]byte{{0x30, 0}}}
	now := time.Now().UTC().Truncate(time.Second)
	for _, name := range []string{"rsa", "p256", "p384", "p521", "ed25519"} {
		for _, by := range []cms.Signing{{}, {KeyID: who(t, name).cert.SubjectKeyId}, {PSS: true}} {
			by.Extra = []cms.Attribute{cms.SigningTime(now), mark}
			by.Unsigned = []cms.Attribute{mark}
			s, err := cms.ParseSignedData(sign(t, cms.SignedContent{Type: cms.OIDPKIData, Content: content}, by, name))
			if err != nil {
				t.Fatal(err)
			}
			signer := s.Signers[0]
			if got := signer.Certificate(s.Certificates); got == nil || !got.Equal(who(t, name).cert) {
				t.Errorf("%s: the certificate is not found", name)
			}
			if err := s.Verify(0, who(t, name).cert.PublicKey); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if at, ok, err := cms.Time(signer.Signed); !ok || err != nil || !at.Equal(now) {
				t.Errorf("%s: signing-time %v %v %v", name, at, ok, err)
			}
			if cms.Find(signer.Signed, mark.Type) == nil || cms.Find(signer.Unsigned, mark.Type) == nil {
				t.Errorf("%s: an attribute is lost", name)
			}
			if want := 1 + 2*len(by.KeyID)/max(1, len(by.KeyID)); signer.Version != want || s.Version != 3 {
				t.Errorf("%s: versions %d and %d", name, s.Version, signer.Version)
			}
			isKind(t, s.VerifyNoSignature(0, cms.Verification{}), cms.Unverified)
			isKind(t, s.Verify(1, who(t, name).cert.PublicKey), cms.BadValue)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	message := func() *cms.SignedData {
		s, err := cms.ParseSignedData(sign(t, cms.SignedContent{Type: cms.OIDPKIData, Content: content}, cms.Signing{}, "p256"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	key := who(t, "p256").cert.PublicKey
	for name, spoil := range map[string]func(*cms.SignedData){
		"another content":           func(s *cms.SignedData) { s.Content = []byte("other") },
		"another type":              func(s *cms.SignedData) { s.Type = cms.OIDPKIResponse },
		"another signature":         func(s *cms.SignedData) { s.Signers[0].Value[9] ^= 1 },
		"no content-type":           func(s *cms.SignedData) { drop(s, cms.OIDContentType) },
		"no message-digest":         func(s *cms.SignedData) { drop(s, cms.OIDMessageDigest) },
		"an attribute's other form": func(s *cms.SignedData) { s.Signers[0].Signed[0].Values[0] = []byte{5, 0} },
	} {
		s := message()
		if err := s.Verify(0, key); err != nil {
			t.Fatal(err)
		}
		spoil(s)
		err := s.Verify(0, key)
		if name == "an attribute's other form" && err == nil {
			t.Errorf("%s: verified", name)
			continue
		}
		isKind(t, err, cms.Unverified)
	}
	s := message()
	s.Signers[0].Digest.OID = []int{1, 3, 14, 3, 2, 26}
	isKind(t, s.Verify(0, key), cms.Malformed) // not the signature's hash
	s.Signers[0].Signature.OID = []int{1, 2, 840, 10045, 4, 1}
	isKind(t, s.Verify(0, key), cms.Unsupported) // SHA-1
	isKind(t, s.VerifyWith(0, cms.Verification{Key: key, SHA1: true}), cms.Unverified)
	s = message()
	s.Signers[0].Signed = nil
	isKind(t, s.Verify(0, key), cms.Malformed) // a type other than id-data needs attributes
	s.Type, s.Content = cms.OIDData, nil
	isKind(t, s.Verify(0, key), cms.BadValue)
	isKind(t, message().Verify(0, "no key"), cms.BadValue)
	short, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	isKind(t, message().Verify(0, &short.PublicKey), cms.Unverified)
}

func drop(s *cms.SignedData, oid []int) {
	kept := []cms.Attribute{}
	for _, a := range s.Signers[0].Signed {
		if !a.Type.Equal(oid) {
			kept = append(kept, a)
		}
	}
	s.Signers[0].Signed = kept
}

// A message's attributes, put in the place of its content, bear the same signature.
func TestAttributesAreNoContent(t *testing.T) {
	s, err := cms.ParseSignedData(sign(t, cms.SignedContent{Type: cms.OIDData, Content: content}, cms.Signing{}, "p256"))
	if err != nil {
		t.Fatal(err)
	}
	attributes, err := cms.MarshalAttributes(s.Signers[0].Signed)
	if err != nil {
		t.Fatal(err)
	}
	s.Content, s.Signers[0].Signed = attributes, nil
	isKind(t, s.Verify(0, who(t, "p256").cert.PublicKey), cms.Unverified)
}

func TestNoSignature(t *testing.T) {
	der, err := cms.Sign(cms.SignedContent{Type: cms.OIDPKIData, Content: content}, cms.Signing{NoSignature: true, KeyID: []byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := cms.ParseSignedData(der)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Signers[0].NoSignature() || !bytes.Equal(s.Signers[0].Signature.Parameters, []byte{5, 0}) {
		t.Errorf("signature algorithm %v", s.Signers[0].Signature)
	}
	if err := s.VerifyNoSignature(0, cms.Verification{}); err != nil {
		t.Error(err)
	}
	isKind(t, s.Verify(0, who(t, "p256").cert.PublicKey), cms.Unverified)
	s.Signers[0].Value[0] ^= 1
	isKind(t, s.VerifyNoSignature(0, cms.Verification{}), cms.Unverified)
}

func TestSignRefuses(t *testing.T) {
	rsaParty, ed := who(t, "rsa"), who(t, "ed25519")
	some := cms.SignedContent{Type: cms.OIDData, Content: content}
	for name, c := range map[string]struct {
		content cms.SignedContent
		by      cms.Signing
	}{
		"no content":         {cms.SignedContent{Type: cms.OIDData}, cms.Signing{Key: rsaParty.signer(), Certificate: rsaParty.cert}},
		"no key":             {some, cms.Signing{Certificate: rsaParty.cert}},
		"no name":            {some, cms.Signing{Key: rsaParty.signer()}},
		"SHA-1":              {some, cms.Signing{Key: rsaParty.signer(), Certificate: rsaParty.cert, Hash: crypto.SHA1}},
		"Ed25519, SHA-256":   {some, cms.Signing{Key: ed.signer(), Certificate: ed.cert, Hash: crypto.SHA256}},
		"digest twice":       {some, cms.Signing{Key: ed.signer(), Certificate: ed.cert, Extra: []cms.Attribute{{Type: cms.OIDMessageDigest}}}},
		"value is no DER":    {some, cms.Signing{Key: ed.signer(), Certificate: ed.cert, Extra: []cms.Attribute{{Type: cms.OIDSigningTime, Values: [][]byte{{1}}}}}},
		"certificate is not": {cms.SignedContent{Type: cms.OIDData, Content: content, Certificates: [][]byte{{4, 0}}}, cms.Signing{Key: ed.signer(), Certificate: ed.cert}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cms.Sign(c.content, c.by)
			isKind(t, err, cms.BadValue)
		})
	}
}

func TestBagLenient(t *testing.T) {
	der := who(t, "p256").cert.Raw
	bag, err := (cms.Bag{Certificates: [][]byte{der}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	// RFC 8951's form, octet by octet: version 1, no digests, id-data alone, certificates, no signers.
	middle := []byte{2, 1, 1, 0x31, 0, 0x30, 11, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1, 0xa0}
	at := bytes.Index(bag, middle)
	if at < 0 || !bytes.HasSuffix(bag, append(bytes.Clone(der), 0x31, 0)) {
		t.Fatalf("the bag is not as it should be: %x", bag)
	}
	id := []byte{6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7}
	inf := func(tag byte, parts ...[]byte) []byte {
		return append(append([]byte{tag, 0x80}, bytes.Join(parts, nil)...), 0, 0)
	}
	message := func(parts ...[]byte) []byte {
		return inf(0x30, id, []byte{2}, inf(0xa0, inf(0x30, parts...)))
	}
	data := append(bytes.Clone(id), 1)
	for name, c := range map[string]struct {
		in   []byte
		want int
	}{
		"ours":          {bag, 1},
		"empty content": {message([]byte{2, 1, 1, 0x31, 0}, inf(0x30, data, []byte{0xa0, 2, 4, 0}), inf(0xa0, der, der), []byte{0x31, 0}), 2},
		"other content": {message([]byte{2, 1, 3, 0x31, 0}, inf(0x30, data, []byte{0xa0, 2, 0x30, 0}), inf(0xa0, der), inf(0xa1, []byte{0x30, 0}), []byte{0x31, 0}), 1},
		"BER":           {message([]byte{2, 1, 1, 0x31, 0}, inf(0x30, data), inf(0xa0, der), []byte{0x31, 0x80, 0, 0}), 1},
		"other choices": {message([]byte{2, 1, 5, 0x31, 0}, inf(0x30, data), inf(0xa0, []byte{0xa3, 0}, der), []byte{0x31, 0}), 1},
		"nothing":       {message([]byte{2, 1, 1, 0x31, 0}, inf(0x30, data), []byte{0x31, 0}), 0},
	} {
		got, err := cms.ParseBag(c.in)
		if err != nil || len(got.Certificates) != c.want {
			t.Errorf("%s: %d certificates, not %d: %v", name, len(got.Certificates), c.want, err)
			continue
		}
		for _, one := range got.Certificates {
			if !bytes.Equal(one, der) {
				t.Errorf("%s: the certificate is altered", name)
			}
		}
	}
}
