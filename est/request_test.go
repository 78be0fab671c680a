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
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"chancery/cms"
)

// pairs are keys of each kind that signs, made once.
var pairs = sync.OnceValue(func() map[string]crypto.Signer {
	all := map[string]crypto.Signer{}
	for name, curve := range map[string]elliptic.Curve{"ecdsa-p256": elliptic.P256(), "ecdsa-p384": elliptic.P384(), "ecdsa-p521": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		all[name] = key
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	all["rsa-2048"], all["ed25519"] = key, edwards
	return all
})

// rich is a request with everything in it.
func rich(t testing.TB) Request {
	t.Helper()
	capabilities := []byte{0x30, 0x0d, 0x30, 0x0b, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 0x2a}
	subject, err := asn1.Marshal(pkix.Name{CommonName: "new", SerialNumber: "7"}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	change, err := NameChange{Subject: subject, SAN: []byte{0x30, 3, 0x82, 1, 'x'}}.Attribute()
	if err != nil {
		t.Fatal(err)
	}
	return Request{
		SubjectName: pkix.Name{CommonName: "device 7", SerialNumber: "PID:W SN:7", Organization: []string{"Ä GmbH"}},
		DNSNames:    []string{"device.example"}, EmailAddresses: []string{"a@device.example"},
		IPAddresses: []net.IP{net.IPv4(192, 0, 2, 7), net.ParseIP("2001:db8::7")},
		URIs:        []*url.URL{{Scheme: "urn", Opaque: "dev:7"}},
		Extensions: []pkix.Extension{
			{Id: oidKeyUsage, Critical: true, Value: []byte{3, 2, 7, 0x80}},
			{Id: oidExtKeyUsage, Value: []byte{0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2}},
		},
		Attributes: []cms.Attribute{
			ChallengePassword("kg3b+Q=="), IdentityLinking("bGluaw=="), OTPChallenge("1 é"), RevocationChallenge("revoke me"),
			UnstructuredName("unit 7"), MACAddress("00:00:92:90:ee:c2"),
			DecryptKeyIdentifier([]byte("key-1")), AsymmetricDecryptKeyIdentifier([]byte{1, 2, 3}),
			SMIMECapabilities(capabilities), change,
		},
	}
}

func TestRequests(t *testing.T) {
	for name, key := range pairs() {
		for _, pss := range []bool{false, true} {
			if pss && !strings.HasPrefix(name, "rsa") {
				continue
			}
			r := rich(t)
			r.PSS = pss
			der, err := r.Sign(key, 0)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			p, err := ParseRequest(der)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := p.CheckSignature(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			checkRich(t, p)
			std, err := x509.ParseCertificateRequest(der)
			if err != nil {
				t.Fatalf("%s: crypto/x509: %v", name, err)
			}
			if err := std.CheckSignature(); err != nil {
				t.Errorf("%s: crypto/x509: %v", name, err)
			}
			if !slices.Equal(std.DNSNames, r.DNSNames) || len(std.IPAddresses) != 2 || std.URIs[0].String() != "urn:dev:7" || std.EmailAddresses[0] != "a@device.example" {
				t.Errorf("%s: crypto/x509 read the names %v %v %v %v", name, std.DNSNames, std.IPAddresses, std.URIs, std.EmailAddresses)
			}
			for i := range p.Signature { // each bit counts
				if i%16 == 0 {
					broken := bytes.Clone(der)
					broken[len(broken)-1-i] ^= 1
					if p, err := ParseRequest(broken); err == nil && p.CheckSignature() == nil {
						t.Fatalf("%s: signature with byte %d changed counts", name, i)
					}
				}
			}
		}
	}
}

func checkRich(t *testing.T, p *Parsed) {
	t.Helper()
	type read struct {
		name string
		get  func() (string, bool, error)
		want string
	}
	octets := func(get func() ([]byte, bool, error)) func() (string, bool, error) {
		return func() (string, bool, error) { b, ok, err := get(); return string(b), ok, err }
	}
	for _, test := range []read{
		{"challengePassword", p.ChallengePassword, "kg3b+Q=="},
		{"estIdentityLinking", p.IdentityLinking, "bGluaw=="},
		{"otpChallenge", p.OTPChallenge, "1 é"},
		{"revocationChallenge", p.RevocationChallenge, "revoke me"},
		{"unstructuredName", p.UnstructuredName, "unit 7"},
		{"macAddress", p.MACAddress, "00:00:92:90:ee:c2"},
		{"decryptKeyID", octets(p.DecryptKeyIdentifier), "key-1"},
		{"asymmDecryptKeyID", octets(p.AsymmetricDecryptKeyIdentifier), "\x01\x02\x03"},
	} {
		if got, ok, err := test.get(); got != test.want || !ok || err != nil {
			t.Errorf("%s: %q, %t, %v", test.name, got, ok, err)
		}
	}
	change, err := p.ChangeSubjectName()
	if err != nil || change == nil || change.Subject == nil || !bytes.Equal(change.SAN, []byte{0x30, 3, 0x82, 1, 'x'}) {
		t.Errorf("change of name %+v, %v", change, err)
	}
	if usage, ok, err := p.KeyUsage(); usage != x509.KeyUsageDigitalSignature || !ok || err != nil {
		t.Errorf("key usage %b, %t, %v", usage, ok, err)
	}
	if usages, err := p.ExtKeyUsage(); len(usages) != 1 || usages[0].String() != "1.3.6.1.5.5.7.3.2" || err != nil {
		t.Errorf("extended key usage %v, %v", usages, err)
	}
	if der, ok, err := p.SMIMECapabilities(); len(der) != 15 || !ok || err != nil {
		t.Errorf("capabilities %x, %t, %v", der, ok, err)
	}
}

// openssl runs the foreign program; without it the test is skipped.
func openssl(t *testing.T, args ...string) string {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestRequestsWithOpenSSL(t *testing.T) {
	for name, key := range pairs() {
		for _, pss := range []bool{false, name == "rsa-2048"} {
			r := rich(t)
			r.PSS = pss
			der, err := r.Sign(key, 0)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "r.der")
			if err := os.WriteFile(file, der, 0o600); err != nil {
				t.Fatal(err)
			}
			text := strings.Join(strings.Fields(openssl(t, "req", "-inform", "DER", "-in", file, "-verify", "-text", "-noout")), " ")
			for _, want := range []string{
				"verify OK", "challengePassword :kg3b+Q==", "unstructuredName :unit 7", "DNS:device.example, URI:urn:dev:7, IP Address:192.0.2.7", "Digital Signature", "serialNumber = PID:W SN:7",
			} {
				if !strings.Contains(text, want) {
					t.Errorf("%s: OpenSSL shows no %q:\n%s", name, want, text)
				}
			}
		}
	}
}

// What OpenSSL writes is read, with PSS and its long salt too.
func TestOpenSSLsRequests(t *testing.T) {
	directory := t.TempDir()
	config := filepath.Join(directory, "c.cnf")
	text := "[req]\nprompt=no\ndistinguished_name=dn\nattributes=at\nreq_extensions=ex\n[dn]\nCN=by openssl\n[at]\nchallengePassword=a_b*c\nunstructuredName=u\n[ex]\nsubjectAltName=DNS:a.example\nkeyUsage=critical,keyAgreement,decipherOnly\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"ec":      {"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha384"},
		"rsa":     {"-newkey", "rsa:2048", "-sha512"},
		"pss":     {"-newkey", "rsa:2048", "-sha256", "-sigopt", "rsa_padding_mode:pss"},
		"pss 20":  {"-newkey", "rsa:2048", "-sha384", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:20"},
		"ed25519": {"-newkey", "ed25519"},
	} {
		file := filepath.Join(directory, name)
		openssl(t, append([]string{"req", "-new", "-nodes", "-config", config, "-keyout", file + ".key", "-out", file}, args...)...)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		der, err := Decode(text, RequestMax)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParseRequest(der)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := p.CheckSignature(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if text, ok, err := p.ChallengePassword(); text != "a_b*c" || !ok || err != nil {
			t.Errorf("%s: challengePassword %q, %t, %v", name, text, ok, err)
		}
		if usage, ok, err := p.KeyUsage(); usage != x509.KeyUsageKeyAgreement|x509.KeyUsageDecipherOnly || !ok || err != nil {
			t.Errorf("%s: key usage %b, %v", name, usage, err)
		}
		if len(p.SAN()) == 0 {
			t.Errorf("%s: no names", name)
		}
	}
}

// A key that cannot sign has a request all the same (RFC 5272 App. C.1).
func TestUnsigned(t *testing.T) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := Unsigned(Request{SubjectName: pkix.Name{CommonName: "x"}}, key.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParseRequest(der)
	if err != nil || !p.NoSignature() || !p.PublicKey.(*ecdh.PublicKey).Equal(key.PublicKey()) {
		t.Fatalf("%v", err)
	}
	if err := p.CheckSignature(); !Is(err, Unsupported) {
		t.Errorf("it proves possession: %v", err)
	}
	if p.SignatureHash() != 0 {
		t.Error("it has a hash")
	}
	if _, err := x509.ParseCertificateRequest(der); err != nil {
		t.Errorf("crypto/x509: %v", err)
	}
}

func TestSigningChoices(t *testing.T) {
	all := pairs()
	for name, want := range map[string]crypto.Hash{"ecdsa-p256": crypto.SHA256, "ecdsa-p384": crypto.SHA384, "ecdsa-p521": crypto.SHA512, "rsa-2048": crypto.SHA256, "ed25519": 0} {
		der, err := Request{}.Sign(all[name], 0)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParseRequest(der)
		if err != nil || p.SignatureHash() != want || !bytes.Equal(p.RawSubject, []byte{0x30, 0}) || len(p.Attributes) != 0 {
			t.Errorf("%s: %v, %v", name, p.SignatureHash(), err)
		}
	}
	for name, try := range map[string]func() error{
		"SHA-1":            func() error { _, err := Request{}.Sign(all["rsa-2048"], crypto.SHA1); return err },
		"PSS with a curve": func() error { _, err := Request{PSS: true}.Sign(all["ecdsa-p256"], 0); return err },
	} {
		if err := try(); !Is(err, Unsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, r := range map[string]Request{
		"extension twice":         {Extensions: []pkix.Extension{{Id: oidKeyUsage, Value: []byte{5, 0}}, {Id: oidKeyUsage, Value: []byte{5, 0}}}},
		"names twice":             {DNSNames: []string{"a"}, Extensions: []pkix.Extension{{Id: oidSAN, Value: []byte{0x30, 3, 0x82, 1, 'x'}}}},
		"attribute twice":         {Attributes: []cms.Attribute{ChallengePassword("a"), ChallengePassword("b")}},
		"attribute without value": {Attributes: []cms.Attribute{{Type: OIDChallengePassword}}},
		"subject":                 {Subject: []byte{0x31, 0}},
		"subject without value":   {Subject: []byte{0x30, 9, 0x31, 7, 0x30, 5, 6, 3, 0x55, 4, 3}},
		"challenge too long":      {Attributes: []cms.Attribute{ChallengePassword(strings.Repeat("x", 256))}},
		"challenge empty":         {Attributes: []cms.Attribute{IdentityLinking("")}},
		"empty name":              {DNSNames: []string{""}},
		"names":                   {RawSAN: []byte{0x30, 0}},
		"name not ASCII":          {DNSNames: []string{"ä.example"}},
		"identifier":              {Attributes: []cms.Attribute{{Type: asn1.ObjectIdentifier{9, 9}, Values: [][]byte{{5, 0}}}}},
	} {
		if _, err := r.Sign(all["ecdsa-p256"], 0); !Is(err, Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (Request{Attributes: []cms.Attribute{UnstructuredName(strings.Repeat("x", RequestMax))}}).Sign(all["ecdsa-p256"], 0); !Is(err, TooLarge) {
		t.Errorf("a large one: %v", err)
	}
	der, err := Request{DNSNames: []string{"a.example"}}.Sign(all["ecdsa-p256"], 0)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParseRequest(der)
	if e, ok := p.Extension(oidSAN); err != nil || !ok || !e.Critical {
		t.Error("without a subject the names have to be critical (RFC 5280 §4.2.1.6)")
	}
}

// A signature counts only under the algorithm that its key has.
func TestMislabelledSignature(t *testing.T) {
	for name, algorithm := range map[string][]byte{
		"rsa-2048": identifier(OIDECDSAWithSHA256, nil), "ecdsa-p256": identifier(OIDSHA256WithRSA, null), "ed25519": identifier(OIDECDSAWithSHA256, nil),
	} {
		der, err := Request{}.Sign(pairs()[name], 0)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParseRequest(der)
		if err != nil {
			t.Fatal(err)
		}
		p.Algorithm = algorithm
		if err := p.CheckSignature(); !Is(err, Unsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := Parsed{Algorithm: identifier(oid(1, 2, 840, 113549, 1, 1, 5), null)}
	if err := p.CheckSignature(); !Is(err, Unsupported) {
		t.Errorf("SHA-1: %v", err)
	}
}

// X.690 §11.6: what is in a SET stands in order, whatever order it was given in.
func TestAttributesAreSorted(t *testing.T) {
	one := Request{Attributes: []cms.Attribute{MACAddress("a"), ChallengePassword("b"), {Type: oid(1, 2, 3), Values: [][]byte{{4, 1, 9}, {4, 1, 2}}}}}
	two := one
	two.Attributes = slices.Clone(one.Attributes)
	slices.Reverse(two.Attributes)
	key := pairs()["ecdsa-p256"].Public()
	a, err := Unsigned(one, key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Unsigned(two, key)
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("%x and %x, %v", a, b, err)
	}
	p, err := ParseRequest(a)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := p.Attribute(oid(1, 2, 3)); !ok || !bytes.Equal(got.Values[0], []byte{4, 1, 2}) || len(p.Attributes) != 3 {
		t.Errorf("values %x", got.Values)
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, r := range []Request{{}, rich(f), {DNSNames: []string{"a.example"}}} {
		der, err := r.Sign(pairs()["ecdsa-p256"], 0)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Add(vector(f, "rfc7030-a3-request.b64"))
	f.Fuzz(func(t *testing.T, der []byte) {
		p, err := ParseRequest(der)
		if err != nil {
			if p != nil {
				t.Fatal("an error and a request")
			}
			return
		}
		again, err := assemble(p.RawTBS, p.Algorithm, p.Signature)
		if !Is(err, TooLarge) && (err != nil || !bytes.Equal(again, p.DER)) {
			t.Fatalf("%x came back as %x", p.DER, again)
		}
		_ = p.CheckSignature()
		for _, get := range []func() (string, bool, error){p.ChallengePassword, p.IdentityLinking, p.OTPChallenge, p.RevocationChallenge, p.UnstructuredName, p.MACAddress} {
			if text, ok, err := get(); ok && (err != nil || text == "") {
				t.Fatalf("%q, %v", text, err)
			}
		}
		if c, err := p.ChangeSubjectName(); c != nil && err == nil {
			a, err := c.Attribute()
			if err != nil || !bytes.Equal(a.Values[0], p.mustSingle(OIDChangeSubjectName)) {
				t.Fatalf("the change of name came back as %x, %v", a.Values, err)
			}
		}
		_, _, _ = p.KeyUsage()
		_, _ = p.ExtKeyUsage()
		_, _, _ = p.DecryptKeyIdentifier()
		_ = p.SAN()
	})
}

func (p *Parsed) mustSingle(kind asn1.ObjectIdentifier) []byte {
	value, _, _ := p.single(kind)
	return value
}
