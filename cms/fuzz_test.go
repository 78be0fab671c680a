package cms_test

import (
	"bytes"
	"testing"

	"chancery/cms"
)

func seed(f *testing.F) {
	all := samples(f)
	if len(all) == 0 {
		f.Fatal("there is nothing to begin with")
	}
	for _, der := range all {
		f.Add(der)
	}
}

func FuzzParseContentInfo(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		info, err := cms.ParseContentInfo(in)
		if err != nil {
			return
		}
		again, err := info.Marshal()
		if err != nil || !bytes.Equal(again, mustDER(t, in)) {
			t.Fatalf("%x became %x: %v", in, again, err)
		}
	})
}

// What a bag's Marshal writes is read as the same and written as the same.
func FuzzParseBag(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		bag, err := cms.ParseBag(in)
		if err != nil {
			return
		}
		der, err := bag.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		read, err := cms.ParseBag(der)
		if err != nil || !sameSet(read.Certificates, bag.Certificates) || !sameSet(read.CRLs, bag.CRLs) {
			t.Fatalf("%x became another: %v", der, err)
		}
		if again, err := read.Marshal(); err != nil || !bytes.Equal(again, der) {
			t.Fatalf("%x became %x: %v", der, again, err)
		}
	})
}

func FuzzParseSignedData(f *testing.F) {
	seed(f)
	key := who(f, "p256").cert.PublicKey
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := cms.ParseSignedData(in)
		if err != nil {
			return
		}
		for n, signer := range s.Signers {
			signer.Certificate(s.Certificates)
			valid := s.VerifyWith(n, cms.Verification{Key: key, SHA1: true, Content: content}) == nil
			if valid && !bytes.Equal(s.Content, content) && s.Content != nil {
				t.Fatalf("%q is verified", s.Content)
			}
		}
	})
}

func FuzzParseEnveloped(f *testing.F) {
	seed(f)
	secret := cms.Secret(bytes.Repeat([]byte{7}, 32))
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := cms.ParseEnveloped(in)
		if err != nil {
			return
		}
		for n := range min(4, len(e.Recipients)) {
			for _, key := range []any{secret, who(t, "p384").key} {
				if out, err := e.Decrypt(key, n); err == nil && len(out) > len(in) {
					t.Fatalf("%d octets came of %d", len(out), len(in))
				}
			}
		}
	})
}

func FuzzParseAuthenticated(f *testing.F) {
	seed(f)
	secret := cms.Secret(bytes.Repeat([]byte{7}, 32))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := cms.ParseAuthenticated(in)
		if err != nil {
			return
		}
		for n := range min(4, len(a.Recipients)) {
			if err := a.VerifySHA1(secret, n); err == nil && !bytes.Equal(a.Content, content) {
				t.Fatalf("%q is verified", a.Content)
			}
		}
	})
}

func FuzzParseKeyPackage(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		keys, err := cms.ParseKeyPackage(in)
		if err != nil {
			return
		}
		if again, err := cms.MarshalKeyPackage(keys...); err != nil || !bytes.Equal(again, mustDER(t, in)) {
			t.Fatalf("%x became %x: %v", in, again, err)
		}
	})
}

func FuzzParseCapabilities(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := cms.ParseCapabilities(in)
		if err != nil {
			return
		}
		if again, err := c.Marshal(); err != nil || !bytes.Equal(again, mustDER(t, in)) {
			t.Fatalf("%x became %x: %v", in, again, err)
		}
		for _, name := range []string{"rsa", "p256"} {
			if s, err := c.Choose(who(t, name).cert.PublicKey); err == nil && s.Cipher.Bits() < cms.Strength(who(t, name).cert.PublicKey) {
				t.Fatalf("%s: %+v", name, s)
			}
		}
	})
}

func FuzzParseAttributes(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		list, err := cms.ParseAttributes(in)
		if err != nil {
			return
		}
		der, err := cms.MarshalAttributes(list)
		if err != nil {
			t.Fatal(err)
		}
		read, err := cms.ParseAttributes(der)
		if err != nil || len(read) != len(list) {
			t.Fatalf("%x: %d attributes, not %d: %v", der, len(read), len(list), err)
		}
		if again, err := cms.MarshalAttributes(read); err != nil || !bytes.Equal(again, der) {
			t.Fatalf("%x became %x: %v", der, again, err)
		}
		if _, _, err := cms.Time(list); err == nil {
			_, _ = cms.One(list, cms.OIDContentType)
		}
	})
}
