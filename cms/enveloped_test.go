package cms_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"testing"

	"chancery/cms"
)

// recipients are one of each kind, with the key that opens it.
func recipients(t testing.TB) map[string]struct {
	to  cms.Recipient
	key any
} {
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, p, secret := who(t, "rsa"), who(t, "p384"), cms.Secret(bytes.Repeat([]byte{7}, 32))
	return map[string]struct {
		to  cms.Recipient
		key any
	}{
		"v1.5":     {cms.KeyTransport{Certificate: r.cert}, r.key},
		"OAEP":     {cms.KeyTransport{Certificate: r.cert, KeyID: r.cert.SubjectKeyId, OAEP: crypto.SHA256}, r.key},
		"P-384":    {cms.KeyAgreement{Certificate: p.cert}, p.key},
		"X25519":   {cms.KeyAgreement{KeyID: []byte{1}, Key: x.PublicKey()}, x},
		"kekri":    {cms.KeyEncryption{ID: []byte{2}, Key: secret}, secret},
		"password": {cms.Password{Passphrase: cms.Passphrase("x"), Iterations: 1000}, cms.Passphrase("x")},
	}
}

var allCiphers = []cms.Cipher{cms.AES128CBC, cms.AES192CBC, cms.AES256CBC, cms.AES128GCM, cms.AES192GCM, cms.AES256GCM}

func TestEncryptRoundTrip(t *testing.T) {
	for name, r := range recipients(t) {
		for _, cipher := range allCiphers {
			for _, plain := range [][]byte{{}, content, make([]byte, 16)} {
				der, err := cms.Encrypt(cms.Plain{Type: cms.OIDSignedData, Content: plain, Cipher: cipher}, r.to)
				if err != nil {
					t.Fatalf("%s %v: %v", name, cipher, err)
				}
				e, err := cms.ParseEnveloped(der)
				if err != nil {
					t.Fatalf("%s %v: %v", name, cipher, err)
				}
				got, err := e.Decrypt(r.key, 0)
				if err != nil || !bytes.Equal(got, plain) || !e.Type.Equal(cms.OIDSignedData) || e.Cipher != cipher {
					t.Errorf("%s %v: %x %v", name, cipher, got, err)
				}
			}
		}
	}
}

// One message to all; each opens it, and finds itself.
func TestEncryptToAll(t *testing.T) {
	all, to := recipients(t), []cms.Recipient{}
	for _, r := range all {
		to = append(to, r.to)
	}
	der, err := cms.Encrypt(cms.Plain{Type: cms.OIDData, Content: content}, to...)
	if err != nil {
		t.Fatal(err)
	}
	e, err := cms.ParseEnveloped(der)
	if err != nil || len(e.Recipients) != len(all) || e.Cipher != cms.AES256CBC {
		t.Fatalf("%d recipients: %v", len(e.Recipients), err)
	}
	opened, named := 0, 0
	for n := range e.Recipients {
		i := &e.Recipients[n]
		if i.For(who(t, "rsa").cert) || i.For(who(t, "p384").cert) || i.ForKeyID(cms.ByKeyEncryption, []byte{2}) || i.ForKeyID(cms.ByKeyAgreement, []byte{1}) {
			named++
		}
		if i.For(who(t, "p256").cert) || i.ForKeyID(cms.ByKeyEncryption, []byte{1}) {
			t.Error("a recipient is found by another's name")
		}
		for _, r := range all {
			if got, err := e.Decrypt(r.key, n); err == nil && bytes.Equal(got, content) {
				opened++
				break
			}
		}
	}
	if opened != len(all) || named != 5 {
		t.Errorf("%d of %d opened it, %d found themselves", opened, len(all), named)
	}
	_, err = e.Decrypt(cms.Secret("0123456789abcdef"), len(e.Recipients))
	isKind(t, err, cms.NoRecipient)
}

// Whatever is altered, or whichever other key is tried, the error is the same to the letter.
func TestNoOracle(t *testing.T) {
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	wrong := map[string]any{"v1.5": other, "OAEP": other, "P-384": otherP384(t), "kekri": cms.Secret(make([]byte, 32)), "password": cms.Passphrase("y")}
	texts := map[string]bool{}
	for name, r := range recipients(t) {
		for _, cipher := range []cms.Cipher{cms.AES256CBC, cms.AES256GCM} {
			der, err := cms.Encrypt(cms.Plain{Type: cms.OIDData, Content: content, Cipher: cipher}, r.to)
			if err != nil {
				t.Fatal(err)
			}
			e, err := cms.ParseEnveloped(der)
			if err != nil {
				t.Fatal(err)
			}
			if key, ok := wrong[name]; ok {
				got, err := e.Decrypt(key, 0)
				if err == nil && cipher == cms.AES256CBC && !bytes.Equal(got, content) {
					continue // a random key: the padding may come out right
				}
				isKind(t, err, cms.Undecrypted)
				texts[err.Error()] = true
			}
			// The last octets are those of content or tag.
			der[len(der)-1] ^= 1
			if e, err = cms.ParseEnveloped(der); err != nil {
				t.Fatal(err)
			}
			if _, err = e.Decrypt(r.key, 0); err == nil {
				continue // CBC: the padding may come out right
			}
			isKind(t, err, cms.Undecrypted)
			texts[err.Error()] = true
		}
	}
	if len(texts) != 1 {
		t.Errorf("the errors differ: %v", texts)
	}
}

func otherP384(t *testing.T) *ecdh.PrivateKey {
	t.Helper()
	key, err := ecdh.P384().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestDecryptRefusesKeysOfAnotherSort(t *testing.T) {
	for name, r := range recipients(t) {
		der, err := cms.Encrypt(cms.Plain{Type: cms.OIDData, Content: content}, r.to)
		if err != nil {
			t.Fatal(err)
		}
		e, err := cms.ParseEnveloped(der)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []any{nil, 7, who(t, "ed25519").key} {
			_, err := e.Decrypt(key, 0)
			if !errors.Is(err, &cms.Error{Kind: cms.BadValue}) {
				t.Errorf("%s with a %T: %v", name, key, err)
			}
		}
	}
}

func TestEncryptRefuses(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string][]cms.Recipient{
		"nobody":                  nil,
		"a short RSA key":         {cms.KeyTransport{KeyID: []byte{1}, Key: &short.PublicKey}},
		"transport to EC":         {cms.KeyTransport{Certificate: who(t, "p256").cert}},
		"agreement with RSA":      {cms.KeyAgreement{Certificate: who(t, "rsa").cert}},
		"agreement with SHA-1":    {cms.KeyAgreement{Certificate: who(t, "p256").cert, Hash: crypto.SHA1}},
		"a wrap of 64 bits":       {cms.KeyAgreement{Certificate: who(t, "p256").cert, Wrap: 64}},
		"nobody's name":           {cms.KeyTransport{Key: who(t, "rsa").cert.PublicKey}},
		"nobody's name agreed":    {cms.KeyAgreement{Key: who(t, "p256").cert.PublicKey}},
		"OAEP with MD5":           {cms.KeyTransport{Certificate: who(t, "rsa").cert, OAEP: crypto.MD5}},
		"a short shared key":      {cms.KeyEncryption{ID: []byte{1}, Key: make([]byte, 8)}},
		"a shared key, no id":     {cms.KeyEncryption{Key: make([]byte, 16)}},
		"an empty password":       {cms.Password{}},
		"a password, one round":   {cms.Password{Passphrase: cms.Passphrase("x"), Iterations: 1}},
		"a password, many rounds": {cms.Password{Passphrase: cms.Passphrase("x"), Iterations: 1 << 40}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cms.Encrypt(cms.Plain{Type: cms.OIDData, Content: content}, to...)
			isKind(t, err, cms.BadValue)
			_, err = cms.Authenticate(cms.Authentic{Type: cms.OIDData, Content: content}, to...)
			isKind(t, err, cms.BadValue)
		})
	}
	_, err = cms.Encrypt(cms.Plain{Type: cms.OIDData, Cipher: 99}, cms.KeyEncryption{ID: []byte{1}, Key: make([]byte, 16)})
	isKind(t, err, cms.BadValue)
}

func TestAuthenticateRoundTrip(t *testing.T) {
	for name, r := range recipients(t) {
		for _, hash := range []crypto.Hash{0, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			der, err := cms.Authenticate(cms.Authentic{Type: cms.OIDPKIData, Content: content, Hash: hash}, r.to)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			a, err := cms.ParseAuthenticated(der)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := a.Verify(r.key, 0); err != nil {
				t.Errorf("%s %v: %v", name, hash, err)
			}
			if !a.Type.Equal(cms.OIDPKIData) || !bytes.Equal(a.Content, content) || cms.Find(a.Attributes, cms.OIDContentType) == nil {
				t.Errorf("%s: read %v %q %v", name, a.Type, a.Content, a.Attributes)
			}
			isKind(t, a.Verify(r.key, 1), cms.NoRecipient)
			a.Content = []byte("other")
			isKind(t, a.Verify(r.key, 0), cms.Unverified)
			der[len(der)-1] ^= 1 // the code
			if a, err = cms.ParseAuthenticated(der); err != nil {
				t.Fatal(err)
			}
			isKind(t, a.Verify(r.key, 0), cms.Unverified)
		}
	}
	_, err := cms.Authenticate(cms.Authentic{Type: cms.OIDData, Content: content, Hash: crypto.SHA1}, recipients(t)["kekri"].to)
	isKind(t, err, cms.BadValue)
	_, err = cms.Authenticate(cms.Authentic{Type: cms.OIDData}, recipients(t)["kekri"].to)
	isKind(t, err, cms.BadValue)
}

func TestAuthenticatedWrongKey(t *testing.T) {
	all := recipients(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]bool{}
	for name, key := range map[string]any{"v1.5": other, "OAEP": other, "kekri": cms.Secret(make([]byte, 32)), "P-384": otherP384(t)} {
		der, err := cms.Authenticate(cms.Authentic{Type: cms.OIDData, Content: content}, all[name].to)
		if err != nil {
			t.Fatal(err)
		}
		a, err := cms.ParseAuthenticated(der)
		if err != nil {
			t.Fatal(err)
		}
		err = a.Verify(key, 0)
		isKind(t, err, cms.Unverified)
		texts[err.Error()] = true
	}
	if len(texts) != 1 {
		t.Errorf("the errors differ: %v", texts)
	}
}
