package cms_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/cms"
)

var content = []byte("Know all men by these presents.\x00\xff\r\n")

// longContent does not fit into one piece of openssl's stream.
var longContent = bytes.Repeat(content, 1000)

// OpenSSL 3.0 has no Ed25519 in CMS; Bouncy Castle has.
func TestOpenSSLVerifiesOurs(t *testing.T) {
	d := newDesk(t)
	for _, c := range []struct {
		name    string
		who     string
		signing cms.Signing
	}{
		{"RSA", "rsa", cms.Signing{}},
		{"RSA with SHA-512", "rsa", cms.Signing{Hash: crypto.SHA512}},
		{"PSS", "rsa", cms.Signing{PSS: true}},
		{"PSS with SHA-384", "rsa", cms.Signing{PSS: true, Hash: crypto.SHA384}},
		{"P-256", "p256", cms.Signing{}},
		{"P-384 by key identifier", "p384", cms.Signing{KeyID: []byte("key of p384")}},
		{"P-521", "p521", cms.Signing{}},
	} {
		for _, detached := range []bool{false, true} {
			t.Run(c.name+map[bool]string{true: " detached"}[detached], func(t *testing.T) {
				d := desk{t, d.openssl, d.dir}
				p := who(t, c.who)
				c.signing.Key, c.signing.Certificate = p.signer(), p.cert
				der, err := cms.Sign(cms.SignedContent{Type: cms.OIDKeyPackage, Content: longContent, Detached: detached,
					Certificates: [][]byte{p.cert.Raw, who(t, "root").cert.Raw}}, c.signing)
				if err != nil {
					t.Fatal(err)
				}
				d.put("signed", der)
				d.put("content", longContent)
				args := []string{"cms", "-verify", "-binary", "-inform", "DER", "-in", "signed", "-CAfile", "root.pem", "-purpose", "any"}
				if detached {
					args = append(args, "-content", "content")
				}
				if got := d.run(args...); !bytes.Equal(got, longContent) {
					t.Errorf("openssl read %d octets, not %d", len(got), len(longContent))
				}
			})
		}
	}
}

func TestWeVerifyOpenSSL(t *testing.T) {
	d := newDesk(t)
	d.put("content", longContent)
	for _, c := range []struct {
		name, who string
		args      []string
	}{
		{"RSA", "rsa", nil},
		{"RSA, SHA-384", "rsa", []string{"-md", "sha384"}},
		{"RSA by key identifier", "rsa", []string{"-keyid"}},
		{"RSA in a stream", "rsa", []string{"-stream"}},
		{"RSA without attributes", "rsa", []string{"-noattr"}},
		{"RSA without S/MIME capabilities", "rsa", []string{"-nosmimecap"}},
		{"PSS", "rsa", []string{"-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:32"}},
		{"PSS with the longest salt", "rsa", []string{"-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:-2"}},
		{"P-256", "p256", nil},
		{"P-384 in a stream", "p384", []string{"-stream", "-md", "sha384"}},
		{"P-521", "p521", []string{"-md", "sha512", "-keyid"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := desk{t, d.openssl, d.dir}
			args := []string{"cms", "-sign", "-nodetach", "-binary", "-in", "content", "-outform", "DER", "-signer", c.who + ".pem", "-inkey", c.who + ".key"}
			want := cms.OIDData
			if !slices.Contains(c.args, "-noattr") {
				want = cms.OIDKeyPackage
				args = append(args, "-econtent_type", want.String())
			}
			der := d.run(append(args, c.args...)...)
			s, err := cms.ParseSignedData(der)
			if err != nil {
				t.Fatal(err)
			}
			if !s.Type.Equal(want) || !bytes.Equal(s.Content, longContent) || len(s.Signers) != 1 {
				t.Fatalf("read type %v, %d octets, %d signers", s.Type, len(s.Content), len(s.Signers))
			}
			cert := s.Signers[0].Certificate(s.Certificates)
			if cert == nil || !cert.Equal(who(t, c.who).cert) {
				t.Fatal("the signer's certificate is not found")
			}
			if err := s.Verify(0, cert.PublicKey); err != nil {
				t.Error(err)
			}
			isKind(t, s.Verify(0, who(t, "root").cert.PublicKey), cms.Unverified)
			s.Content[7] ^= 1
			isKind(t, s.Verify(0, cert.PublicKey), cms.Unverified)
			if strings.Contains(c.name, "stream") && bytes.Equal(der, mustDER(t, der)) {
				t.Error("openssl did not stream: the test tests nothing")
			}
		})
	}
}

func mustDER(t *testing.T, in []byte) []byte {
	t.Helper()
	out, err := cms.DER(in, cms.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const kek128, kek192, kek256 = "000102030405060708090a0b0c0d0e0f", "000102030405060708090a0b0c0d0e0f1011121314151617",
	"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	out, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOpenSSLDecryptsOurs(t *testing.T) {
	d := newDesk(t)
	recip := func(name string) []string { return []string{"-recip", name + ".pem", "-inkey", name + ".key"} }
	cert := func(name string) *x509.Certificate { return who(t, name).cert }
	for _, c := range []struct {
		name string
		to   cms.Recipient
		args []string
	}{
		{"ktri v1.5", cms.KeyTransport{Certificate: cert("rsa")}, recip("rsa")},
		{"ktri v1.5 by key identifier", cms.KeyTransport{KeyID: cert("rsa").SubjectKeyId, Key: cert("rsa").PublicKey}, recip("rsa")},
		{"ktri OAEP SHA-1", cms.KeyTransport{Certificate: cert("rsa"), OAEP: crypto.SHA1}, recip("rsa")},
		{"ktri OAEP SHA-256", cms.KeyTransport{Certificate: cert("rsa"), OAEP: crypto.SHA256}, recip("rsa")},
		{"ktri OAEP SHA-512", cms.KeyTransport{Certificate: cert("rsa"), OAEP: crypto.SHA512}, recip("rsa")},
		{"kari P-256", cms.KeyAgreement{Certificate: cert("p256")}, recip("p256")},
		{"kari P-256 SHA-512 wrap 128", cms.KeyAgreement{Certificate: cert("p256"), Hash: crypto.SHA512, Wrap: 128}, recip("p256")},
		{"kari P-384", cms.KeyAgreement{Certificate: cert("p384")}, recip("p384")},
		{"kari P-521 by key identifier", cms.KeyAgreement{KeyID: cert("p521").SubjectKeyId, Key: cert("p521").PublicKey}, recip("p521")},
		{"kekri 128", cms.KeyEncryption{ID: []byte{1, 2}, Key: unhex(t, kek128)}, []string{"-secretkey", kek128, "-secretkeyid", "0102"}},
		{"kekri 192", cms.KeyEncryption{ID: []byte{1, 2}, Key: unhex(t, kek192)}, []string{"-secretkey", kek192, "-secretkeyid", "0102"}},
		{"kekri 256", cms.KeyEncryption{ID: []byte{1, 2}, Key: unhex(t, kek256)}, []string{"-secretkey", kek256, "-secretkeyid", "0102"}},
		{"pwri", cms.Password{Passphrase: cms.Passphrase("open sesame"), Iterations: 2000}, []string{"-pwri_password", "open sesame"}},
	} {
		for _, cipher := range []cms.Cipher{cms.AES128CBC, cms.AES192CBC, cms.AES256CBC, cms.AES128GCM, cms.AES256GCM} {
			t.Run(c.name+" "+cipher.String(), func(t *testing.T) {
				d := desk{t, d.openssl, d.dir}
				der, err := cms.Encrypt(cms.Plain{Type: cms.OIDData, Content: longContent, Cipher: cipher}, c.to)
				if err != nil {
					t.Fatal(err)
				}
				d.put("sealed", der)
				got := d.run(append([]string{"cms", "-decrypt", "-binary", "-inform", "DER", "-in", "sealed"}, c.args...)...)
				if !bytes.Equal(got, longContent) {
					t.Errorf("openssl read %d octets, not %d", len(got), len(longContent))
				}
			})
		}
	}
}

func TestWeDecryptOpenSSL(t *testing.T) {
	d := newDesk(t)
	d.put("content", longContent)
	for _, c := range []struct {
		name string
		args []string // -recip's options come before their certificate's
		key  any
		kind cms.RecipientKind
	}{
		{"ktri v1.5", []string{"-recip", "rsa.pem"}, who(t, "rsa").key, cms.ByKeyTransport},
		{"ktri by key identifier", []string{"-keyid", "-recip", "rsa.pem"}, who(t, "rsa").key, cms.ByKeyTransport},
		{"ktri OAEP", []string{"-recip", "rsa.pem", "-keyopt", "rsa_padding_mode:oaep"}, who(t, "rsa").key, cms.ByKeyTransport},
		{"ktri OAEP SHA-256", []string{"-recip", "rsa.pem", "-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"}, who(t, "rsa").key, cms.ByKeyTransport},
		{"ktri OAEP SHA-256, MGF1 SHA-1", []string{"-recip", "rsa.pem", "-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256", "-keyopt", "rsa_mgf1_md:sha1"}, who(t, "rsa").key, cms.ByKeyTransport},
		{"ktri OAEP with a label", []string{"-recip", "rsa.pem", "-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_label:6c6162656c"}, who(t, "rsa").key, cms.ByKeyTransport},
		{"kari P-256 SHA-1", []string{"-recip", "p256.pem"}, who(t, "p256").key, cms.ByKeyAgreement},
		{"kari P-256 SHA-256", []string{"-recip", "p256.pem", "-keyopt", "ecdh_kdf_md:sha256"}, who(t, "p256").key, cms.ByKeyAgreement},
		{"kari P-256 cofactor", []string{"-recip", "p256.pem", "-keyopt", "ecdh_kdf_md:sha256", "-keyopt", "ecdh_cofactor_mode:1"}, who(t, "p256").key, cms.ByKeyAgreement},
		{"kari P-384 by key identifier", []string{"-keyid", "-recip", "p384.pem", "-keyopt", "ecdh_kdf_md:sha384"}, who(t, "p384").key, cms.ByKeyAgreement},
		{"kari P-521", []string{"-recip", "p521.pem", "-keyopt", "ecdh_kdf_md:sha512"}, who(t, "p521").key, cms.ByKeyAgreement},
		{"kekri", []string{"-secretkey", kek256, "-secretkeyid", "0102"}, cms.Secret(unhex(t, kek256)), cms.ByKeyEncryption},
		{"pwri", []string{"-pwri_password", "open sesame"}, cms.Passphrase("open sesame"), cms.ByPassword},
	} {
		for _, more := range [][]string{{"-aes128"}, {"-aes192"}, {"-aes256"}, {"-aes-128-gcm"}, {"-aes-256-gcm"}, {"-aes256", "-stream"}, {"-aes-256-gcm", "-stream"}} {
			if c.kind == cms.ByPassword && strings.Contains(more[0], "gcm") {
				continue // openssl wraps with the content's cipher, and cannot with this one
			}
			t.Run(c.name+" "+strings.Join(more, " "), func(t *testing.T) {
				d := desk{t, d.openssl, d.dir}
				args := append([]string{"cms", "-encrypt", "-binary", "-in", "content", "-outform", "DER"}, more...)
				e, err := cms.ParseEnveloped(d.run(append(args, c.args...)...))
				if err != nil {
					t.Fatal(err)
				}
				if len(e.Recipients) != 1 || e.Recipients[0].Kind != c.kind || !e.Type.Equal(cms.OIDData) {
					t.Fatalf("read %d recipients, type %v", len(e.Recipients), e.Type)
				}
				got, err := e.Decrypt(c.key, 0)
				if err != nil || !bytes.Equal(got, longContent) {
					t.Fatalf("decrypted %d octets, not %d: %v", len(got), len(longContent), err)
				}
			})
		}
	}
}

func TestBagWithOpenSSL(t *testing.T) {
	d := newDesk(t)
	bag := cms.Bag{}
	args := []string{"crl2pkcs7", "-nocrl", "-outform", "DER"}
	for _, name := range []string{"rsa", "p256", "ed25519", "root"} {
		bag.Certificates = append(bag.Certificates, who(t, name).cert.Raw)
		args = append(args, "-certfile", name+".pem")
	}
	bag.CRLs = [][]byte{revocations(t)}
	theirs, err := cms.ParseBag(d.run(args...))
	if err != nil || !sameSet(theirs.Certificates, bag.Certificates) {
		t.Errorf("crl2pkcs7's bag has %d certificates: %v", len(theirs.Certificates), err)
	}
	der, err := bag.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	d.put("bag", der)
	words := string(d.run("pkcs7", "-inform", "DER", "-in", "bag", "-print_certs", "-noout"))
	for _, name := range []string{"rsa", "p256", "ed25519", "root"} {
		if !strings.Contains(words, "subject=CN = "+name+"\n") {
			t.Errorf("openssl does not list %s:\n%s", name, words)
		}
	}
	if read, err := cms.ParseBag(der); err != nil || !sameSet(read.CRLs, bag.CRLs) {
		t.Errorf("%d CRLs: %v", len(read.CRLs), err)
	}
	if again := d.run("cms", "-cmsout", "-inform", "DER", "-in", "bag", "-outform", "DER"); !bytes.Equal(again, der) {
		t.Error("openssl writes the bag otherwise: it is not DER")
	}
}

func sameSet(a, b [][]byte) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, bytes.Compare)
	slices.SortFunc(b, bytes.Compare)
	return slices.EqualFunc(a, b, bytes.Equal)
}

// openssl reads AuthenticatedData's form, though it does not verify it.
func TestOpenSSLReadsAuthenticated(t *testing.T) {
	d := newDesk(t)
	der, err := cms.Authenticate(cms.Authentic{Type: cms.OIDPKIData, Content: content}, cms.KeyTransport{Certificate: who(t, "rsa").cert})
	if err != nil {
		t.Fatal(err)
	}
	d.put("authenticated", der)
	words := string(d.run("cms", "-cmsout", "-print", "-inform", "DER", "-in", "authenticated"))
	for _, want := range []string{"authenticatedData", "hmacWithSHA256", "1.3.6.1.5.5.7.12.2", "messageDigest"} {
		if !strings.Contains(words, want) {
			t.Errorf("openssl does not see %q:\n%s", want, words)
		}
	}
}

// revocations makes a CRL of the root's.
func revocations(t *testing.T) []byte {
	t.Helper()
	root := who(t, "root")
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)},
		crlIssuer(root.cert), root.signer())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// crlIssuer is the certificate with the key usage that CreateRevocationList asks for.
func crlIssuer(c *x509.Certificate) *x509.Certificate {
	with := *c
	with.KeyUsage |= x509.KeyUsageCRLSign
	return &with
}

// SHA-1 is read by those who say so.
func TestSHA1OfOpenSSL(t *testing.T) {
	d := newDesk(t)
	d.put("content", content)
	for _, name := range []string{"rsa", "p256"} {
		s, err := cms.ParseSignedData(d.run("cms", "-sign", "-nodetach", "-binary", "-in", "content", "-outform", "DER", "-md", "sha1", "-signer", name+".pem", "-inkey", name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		key := who(t, name).cert.PublicKey
		isKind(t, s.Verify(0, key), cms.Unsupported)
		if err := s.VerifyWith(0, cms.Verification{Key: key, SHA1: true}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A private key as RFC 7030 §4.4.2 sends it, taken apart by openssl.
func TestOpenSSLReadsServerKey(t *testing.T) {
	d := newDesk(t)
	maker, holder := who(t, "p256"), who(t, "rsa")
	key, err := x509.MarshalPKCS8PrivateKey(who(t, "p384").key)
	if err != nil {
		t.Fatal(err)
	}
	pack, err := cms.MarshalKeyPackage(key)
	if err != nil {
		t.Fatal(err)
	}
	signed := sign(t, cms.SignedContent{Type: cms.OIDKeyPackage, Content: pack}, cms.Signing{}, "p256")
	info, err := cms.ParseContentInfo(signed)
	if err != nil {
		t.Fatal(err)
	}
	for name, within := range map[string][]byte{"SignedData": info.Content, "ContentInfo": signed} {
		sealed, err := cms.Encrypt(cms.Plain{Type: cms.OIDSignedData, Content: within}, cms.KeyTransport{Certificate: holder.cert, OAEP: crypto.SHA256})
		if err != nil {
			t.Fatal(err)
		}
		d.put("sealed", sealed)
		plain := d.run("cms", "-decrypt", "-binary", "-inform", "DER", "-in", "sealed", "-recip", "rsa.pem", "-inkey", "rsa.key")
		whole, err := cms.ContentInfo{Type: cms.OIDSignedData, Content: plain}.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		s, err := cms.ParseSignedData(whole)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := s.Verify(0, maker.cert.PublicKey); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "ContentInfo" {
			continue
		}
		d.put("signed", whole)
		keys, err := cms.ParseKeyPackage(d.run("cms", "-verify", "-binary", "-inform", "DER", "-in", "signed", "-CAfile", "root.pem", "-purpose", "any"))
		if err != nil || len(keys) != 1 || !bytes.Equal(keys[0], key) {
			t.Errorf("%d keys: %v", len(keys), err)
		}
	}
}
