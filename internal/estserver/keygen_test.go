package estserver_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/cms"
	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/certtest"
	"chancery/internal/estserver"
)

func p256() elliptic.Curve { return elliptic.P256() }

func pemOf(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }

// contentInfo wraps a SignedData, which stands without a wrapper in an EnvelopedData.
func contentInfo(t testing.TB, signed []byte) []byte {
	t.Helper()
	der, err := asn1.Marshal(struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}{cms.OIDSignedData, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: signed}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestServerKeyGenPlain: the public key and the signature of the request are ignored,
// even when they are broken (RFC 7030 §4.4.1), and the key comes as PKCS #8.
func TestServerKeyGenPlain(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(nil))
	key := certtest.Key(t)
	good := like(w.device)
	good.key = key
	der := good.der(t)
	change := func(old, next []byte) []byte {
		if bytes.Count(der, old) != 1 {
			t.Fatal("the test's request has not what is to be changed")
		}
		return bytes.Replace(der, old, next, 1)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	offCurve := slices.Clone(point)
	offCurve[len(offCurve)-1] ^= 1
	unsigned, err := est.Unsigned(good.Request, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	broken := slices.Clone(der)
	broken[len(broken)-1] ^= 1
	seen := map[string]bool{}
	for name, body := range map[string][]byte{
		"as it should be":               der,
		"a broken signature":            broken,
		"a point that is not on P-256":  change(point, offCurve),
		"a curve that nobody knows":     change([]byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}, []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 0x7f}),
		"a signature that nobody knows": change([]byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2}, []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 0x7f}),
		"no signature":                  unsigned,
	} {
		t.Run(name, func(t *testing.T) {
			m := plain(t, w.client(w.device).post("serverkeygen", body))
			if m.key.Public().(*ecdsa.PublicKey).Equal(key.Public()) {
				t.Error("the request's own key was certified")
			}
			if seen[string(m.der)] {
				t.Error("a key was sent twice")
			}
			seen[string(m.der)] = true
			if m.cert.Subject.CommonName != "thing 7" || !slices.Equal(m.cert.DNSNames, []string{"thing-7.iot.example"}) {
				t.Errorf("the certificate is for %s, %v", m.cert.Subject, m.cert.DNSNames)
			}
		})
	}
	if again := w.client(w.device).post("simpleenroll", broken); again.StatusCode == http.StatusOK {
		t.Error("simpleenroll takes a broken signature")
	}
}

// TestServerKeyGenKinds: the key is what csrattrs asks for.
func TestServerKeyGenKinds(t *testing.T) {
	for _, kind := range []string{"ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa", "ed25519"} {
		t.Run(kind, func(t *testing.T) {
			w := newKeyWorld(t, profileOf(t, `keys = ["`+kind+`"]`), keyLabel(func(l *estserver.Label) { l.Profile, l.Holders = "special", []string{"device"} }))
			c := w.client(w.device)
			m := plain(t, w.over(tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, like(w.device).der(t)))
			list, err := est.ParseCSRAttrs(decode(t, c.get("csrattrs")))
			if err != nil {
				t.Fatal(err)
			}
			wanted, err := est.Want(list)
			if err != nil {
				t.Fatal(err)
			}
			spec, err := est.ParseKeySpec(wanted.Key)
			if err != nil || !spec.Fits(m.key.Public()) || !strings.HasPrefix(wanted.Key, kind) {
				t.Errorf("the key is %T, csrattrs asks for %q (%v), the profile for %s", m.key, wanted.Key, err, kind)
			}
		})
	}
}

// profileOf adds the profile "special" with some lines of its own.
func profileOf(t testing.TB, lines string) func(*estserver.Config) {
	t.Helper()
	text := `rooms = ["est", "admin"]
identifiers = ["dns", "ip"]
evidence = ["client-certificate", "approval", "password", "registration-authority"]
life = "10d"
subject.take = ["common_name", "serial_number"]
` + lines
	p, err := ca.ParseProfile("special", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return func(c *estserver.Config) { c.Authority.Profiles["special"] = p }
}

// TestServerKeyGenSymmetric: kekri, with keys of every length, and the content's cipher
// is no weaker than that (RFC 7030 §4.4.2).
func TestServerKeyGenSymmetric(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(func(l *estserver.Label) { l.ServerKeys.Encrypted = true }))
	for _, octets := range []int{16, 24, 32} {
		t.Run(fmt.Sprint(8*octets), func(t *testing.T) {
			kek, id := make([]byte, octets), []byte(fmt.Sprintf("shelf %d", octets))
			rand.Read(kek)
			w.register(estserver.Symmetric, id, kek)
			part, cert := parts(t, w.generate(est.DecryptKeyIdentifier(id), able(t, cms.Secret(kek))))
			fits(t, w.unlock(part, "-secretkey", hex.EncodeToString(kek), "-secretkeyid", hex.EncodeToString(id)), cert)
			e, err := cms.ParseEnveloped(part.Body)
			if err != nil {
				t.Fatal(err)
			}
			if r := e.Recipients[0]; len(e.Recipients) != 1 || r.Kind != cms.ByKeyEncryption || !bytes.Equal(r.KeyID, id) {
				t.Errorf("the recipient is %s %q", r.Kind, r.KeyID)
			}
			if e.Cipher.Bits() < 8*octets || e.Cipher.GCM() || !e.Type.Equal(cms.OIDSignedData) {
				t.Errorf("the content %v is encrypted with %d bits", e.Type, e.Cipher.Bits())
			}
		})
	}
}

var (
	oaep1     = cms.Algorithm{OID: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 7}}
	rsa15     = cms.Algorithm{OID: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}}
	aes128    = cms.Algorithm{OID: cms.AES128CBC.OID()}
	aes256    = cms.Algorithm{OID: cms.AES256CBC.OID()}
	gcm256    = cms.Algorithm{OID: cms.AES256GCM.OID()}
	tripleDES = cms.Algorithm{OID: asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 7}}
	wrap128   = cms.Algorithm{OID: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 5}}
	wrap256   = cms.Algorithm{OID: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 45}}
)

// TestServerKeyGenTransport: ktri by OAEP or v1.5, as the request can (RFC 7030 §4.4.2).
func TestServerKeyGenTransport(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(nil))
	key := newRSA(t, 2048)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	id := []byte("pump 1")
	w.register(estserver.Asymmetric, id, spki)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := newFiles(t).put(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	for name, c := range map[string]struct {
		able cms.Attribute
		want string
	}{
		"all":      {able(t, key.Public()), "1.2.840.113549.1.1.7"},
		"v1.5":     {ableTo(t, aes256, rsa15), "1.2.840.113549.1.1.1"},
		"default":  {ableTo(t, aes256, oaep1), "1.2.840.113549.1.1.7"}, // with SHA-1, which is no weakness there
		"key only": {ableTo(t, rsa15), "1.2.840.113549.1.1.1"},         // all that RFC 7030 §4.4.1 asks for
	} {
		t.Run(name, func(t *testing.T) {
			part, cert := parts(t, w.generate(est.AsymmetricDecryptKeyIdentifier(id), c.able))
			fits(t, w.unlock(part, "-inkey", file), cert)
			e, err := cms.ParseEnveloped(part.Body)
			if err != nil {
				t.Fatal(err)
			}
			r := e.Recipients[0]
			if r.Kind != cms.ByKeyTransport || !bytes.Equal(r.KeyID, id) || r.Algorithm.OID.String() != c.want {
				t.Errorf("the recipient is %s %q by %s", r.Kind, r.KeyID, r.Algorithm.OID)
			}
		})
	}
}

// TestServerKeyGenAgreement: kari on every curve, to a certificate that was registered.
func TestServerKeyGenAgreement(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(nil))
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		t.Run(curve.Params().Name, func(t *testing.T) {
			key, err := ecdsa.GenerateKey(curve, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			id := []byte("pump on " + curve.Params().Name)
			cert := selfSigned(t, key, id, x509.KeyUsageKeyAgreement)
			w.register(estserver.Asymmetric, id, cert.Raw)
			part, issued := parts(t, w.generate(est.AsymmetricDecryptKeyIdentifier(id), able(t, key.Public())))
			f := newFiles(t)
			fits(t, w.unlock(part, "-inkey", f.put(keyPEM(t, key)), "-recip", f.put(pemOf(cert.Raw))), issued)
			e, err := cms.ParseEnveloped(part.Body)
			if err != nil {
				t.Fatal(err)
			}
			if r := e.Recipients[0]; r.Kind != cms.ByKeyAgreement || e.Cipher.Bits() < min(256, curve.Params().BitSize/2) {
				t.Errorf("%s, content with %d bits", r.Kind, e.Cipher.Bits())
			}
		})
	}
	t.Run("X25519", func(t *testing.T) {
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		spki, err := x509.MarshalPKIXPublicKey(key.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		w.register(estserver.Asymmetric, []byte("x"), spki)
		part, issued := parts(t, w.generate(est.AsymmetricDecryptKeyIdentifier([]byte("x")), able(t, key.PublicKey())))
		e, err := cms.ParseEnveloped(part.Body)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := e.Decrypt(key, 0)
		if err != nil {
			t.Fatal(err)
		}
		s, err := cms.ParseSignedData(contentInfo(t, signed))
		if err != nil {
			t.Fatal(err)
		}
		keys, err := cms.ParseKeyPackage(s.Content)
		if err != nil {
			t.Fatal(err)
		}
		fits(t, keys[0], issued)
	})
}

func keyPEM(t testing.TB, key crypto.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func selfSigned(t testing.TB, key crypto.Signer, id []byte, use x509.KeyUsage) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(9), Subject: pkix.Name{CommonName: "recipient"}, SubjectKeyId: id, KeyUsage: use,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, der)
}

// TestServerKeyGenOwnCertificate: a certificate of ours is found by its subject key
// identifier, and its key usage must allow it (RFC 7030 §4.4.1.2).
func TestServerKeyGenOwnCertificate(t *testing.T) {
	w := newKeyWorld(t, func(c *estserver.Config) {
		profileOf(t, "keys = [\"rsa\", \"ecdsa-p256\"]\nkey_usage = [\"key-agreement\"]\nkey_usage_rsa = [\"key-encipherment\"]\n")(c)
	}, keyLabel(nil))
	able := able(t, w.device.key.Public())
	signing := w.generate(est.AsymmetricDecryptKeyIdentifier(w.device.cert.SubjectKeyId), able)
	refused(t, signing, http.StatusForbidden, "keyAgreement")
	h := w.certify("special", ca.Subject{CommonName: "decrypts"})
	part, issued := parts(t, w.generate(est.AsymmetricDecryptKeyIdentifier(h.cert.SubjectKeyId), able))
	f := newFiles(t)
	fits(t, w.unlock(part, "-inkey", f.put(keyPEM(t, h.key)), "-recip", f.put(pemOf(h.cert.Raw))), issued)
	w.revoke(h.cert)
	refused(t, w.generate(est.AsymmetricDecryptKeyIdentifier(h.cert.SubjectKeyId), able), http.StatusForbidden, "not known")
}

// TestServerKeyGenRefusals: what cannot be done as asked is an error, and neither a key
// nor a certificate is made (RFC 7030 §4.4.1, §4.4.2).
func TestServerKeyGenRefusals(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(nil), keyLabel(func(l *estserver.Label) { l.Name, l.ServerKeys.Encrypted = "sealed", true }), plainLabelNamed("off"))
	kek, id, rsaID, signID, weakID := make([]byte, 32), []byte("shelf"), []byte("rsa"), []byte("signs"), []byte("weak")
	w.register(estserver.Symmetric, id, kek)
	key := newRSA(t, 2048)
	w.register(estserver.Asymmetric, rsaID, selfSigned(t, key, rsaID, 0).Raw)
	w.register(estserver.Asymmetric, signID, selfSigned(t, key, signID, x509.KeyUsageDigitalSignature).Raw)
	spki, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	w.register(estserver.Asymmetric, weakID, spki)
	sym, asym := est.DecryptKeyIdentifier, est.AsymmetricDecryptKeyIdentifier
	everything := ableTo(t, aes256, aes128, rsa15, wrap256, wrap128)
	before := w.issued()
	for name, c := range map[string]struct {
		path   string
		attrs  []cms.Attribute
		status int
		words  string
	}{
		"both identifiers":          {"", []cms.Attribute{sym(id), asym(rsaID), everything}, 400, "name one"},
		"no capabilities":           {"", []cms.Attribute{sym(id)}, 400, "no SMIMECapabilities"},
		"no capabilities for RSA":   {"", []cms.Attribute{asym(rsaID)}, 400, "no SMIMECapabilities"},
		"unknown symmetric":         {"", []cms.Attribute{sym([]byte("nobody's")), everything}, 403, "not known"},
		"unknown asymmetric":        {"", []cms.Attribute{asym([]byte("nobody's")), everything}, 403, "not known"},
		"of the other kind":         {"", []cms.Attribute{asym(id), everything}, 403, "not known"},
		"a wrap for shorter keys":   {"", []cms.Attribute{sym(id), ableTo(t, aes256, wrap128)}, 400, "key wrap"},
		"a cipher too weak":         {"", []cms.Attribute{sym(id), ableTo(t, aes128, wrap256)}, 400, "256 bits"},
		"only ciphers that we lack": {"", []cms.Attribute{sym(id), ableTo(t, tripleDES, gcm256, wrap256)}, 400, "SMIMECapabilities"},
		"no transport":              {"", []cms.Attribute{asym(rsaID), ableTo(t, aes256, wrap256)}, 400, "RSA"},
		"a key that signs":          {"", []cms.Attribute{asym(signID), everything}, 403, "keyEncipherment"},
		"a weak key":                {"", []cms.Attribute{asym(weakID), everything}, 403, "weaker"},
		"empty capabilities":        {"", []cms.Attribute{sym(id), ableTo(t)}, 400, "SMIMECapabilities"},
		"garbage for capabilities":  {"", []cms.Attribute{sym(id), est.SMIMECapabilities([]byte{4, 1, 0})}, 400, "SMIMECapabilities"},
		"two identifiers":           {"", []cms.Attribute{{Type: est.OIDDecryptKeyIdentifier, Values: [][]byte{{4, 1, 1}, {4, 1, 2}}}, everything}, 400, "more than one"},
		"an identifier of text":     {"", []cms.Attribute{{Type: est.OIDDecryptKeyIdentifier, Values: [][]byte{{12, 1, 'a'}}}, everything}, 400, "octet string"},
		"plain where it is refused": {"sealed/", nil, 403, "encrypted"},
		"not offered":               {"off/", nil, 501, "serverkeygen"},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.client(w.device).post(c.path+"serverkeygen", like(w.device).with(c.attrs...).der(t))
			refused(t, r, c.status, c.words)
		})
	}
	t.Run("other names", func(t *testing.T) {
		refused(t, w.client(w.device).post("serverkeygen", asking("thing 8").der(t)), http.StatusForbidden, "thing 8")
	})
	t.Run("no request at all", func(t *testing.T) {
		refused(t, w.client(w.device).post("serverkeygen", []byte{0x30, 3, 2, 1, 0}), http.StatusBadRequest, "PKCS")
	})
	t.Run("nobody", func(t *testing.T) {
		refused(t, w.client(nil).post("serverkeygen", like(w.device).der(t)), http.StatusUnauthorized)
	})
	if w.issued() != before {
		t.Error("a refused request left a certificate")
	}
}

func plainLabelNamed(name string) estserver.Label {
	l := plainLabel()
	l.Name = name
	return l
}

// TestServerKeyGenWithoutSigner: a server that cannot sign keys sends none encrypted.
func TestServerKeyGenWithoutSigner(t *testing.T) {
	w := newKeyWorld(t, func(c *estserver.Config) { c.Delegate = nil }, keyLabel(nil))
	w.register(estserver.Symmetric, []byte("a"), make([]byte, 16))
	refused(t, w.generate(est.DecryptKeyIdentifier([]byte("a")), ableTo(t, aes128, wrap128)), http.StatusNotImplemented, "sign")
	plain(t, w.generate())
}

// TestServerKeyGenCipher: a connection that is weaker than the key is refused, unless
// the key is encrypted besides or the label allows it, and that is recorded.
func TestServerKeyGenCipher(t *testing.T) {
	special := func(l *estserver.Label) { l.Profile, l.Holders = "special", []string{"device"} }
	const weak, strong = tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
	for name, c := range map[string]struct {
		keys  string
		suite uint16
		edit  func(*estserver.Label)
		seal  bool
		want  int
		note  string
	}{
		"P-256 over AES-128":            {"ecdsa-p256", weak, special, false, 200, "TLS alone, over"},
		"P-384 over AES-128":            {"ecdsa-p384", weak, special, false, 403, ""},
		"P-384 over AES-256":            {"ecdsa-p384", strong, special, false, 200, "TLS alone, over"},
		"P-521 over AES-256":            {"ecdsa-p521", strong, special, false, 200, "TLS alone, over"},
		"P-384 over AES-128, sealed":    {"ecdsa-p384", weak, special, true, 200, "too weak"},
		"P-384 over AES-128, permitted": {"ecdsa-p384", weak, func(l *estserver.Label) { special(l); l.ServerKeys.WeakCipher = true }, false, 200, "WEAKER"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newKeyWorld(t, profileOf(t, `keys = ["`+c.keys+`"]`), keyLabel(c.edit))
			kek := make([]byte, 32)
			w.register(estserver.Symmetric, []byte("a"), kek)
			ask := like(w.device)
			if c.seal {
				ask = ask.with(est.DecryptKeyIdentifier([]byte("a")), able(t, cms.Secret(kek)))
			}
			r := w.over(c.suite, ask.der(t))
			if c.want != http.StatusOK {
				refused(t, r, c.want, "AES-256")
				return
			}
			_, cert := parts(t, r)
			if e := w.intended(cert); !strings.Contains(e["delivery"], c.note) || !strings.Contains(e["delivery"], "AES_") {
				t.Errorf("it is recorded as %q", e["delivery"])
			}
		})
	}
}

// TestServerKeyGenTerminated: behind a terminator nothing is known of the cipher, so
// that a key goes encrypted or not at all.
func TestServerKeyGenTerminated(t *testing.T) {
	for name, c := range map[string]struct {
		weak, seal bool
		want       int
	}{"plain": {false, false, 403}, "sealed": {false, true, 200}, "permitted": {true, false, 200}} {
		t.Run(name, func(t *testing.T) {
			w := newKeyWorld(t, nil, keyLabel(func(l *estserver.Label) {
				l.Accept, l.Names, l.ServerKeys.WeakCipher = []estserver.Way{{estserver.BySRP}}, []string{"CN={user}"}, c.weak
			}))
			kek := make([]byte, 16)
			w.register(estserver.Symmetric, []byte("a"), kek)
			ask := asking("meter")
			if c.seal {
				ask = ask.with(est.DecryptKeyIdentifier([]byte("a")), able(t, cms.Secret(kek)))
			}
			asker := w.client(nil)
			asker.front, asker.header = w.serve(w.server.Terminated()), http.Header{estserver.SRPUser: {"meter"}}
			r := asker.post("serverkeygen", ask.der(t))
			if c.want != http.StatusOK {
				refused(t, r, c.want, "terminator")
				return
			}
			if _, cert := parts(t, r); cert.Subject.CommonName != "meter" {
				t.Errorf("the certificate is for %s", cert.Subject)
			}
		})
	}
}
