package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
)

// What is said of a name that is refused can be read, whatever the name is.
func TestRefusedNamesAreReadable(t *testing.T) {
	for name, want := range map[string]string{"münchen.example": "'ü' is not allowed", strings.Repeat("ü", 60) + ".example": "63 characters", "b\xff.example": "is not allowed"} {
		_, err := DNS(name)
		if err == nil || !strings.Contains(err.Error(), want) || !utf8.ValidString(err.Error()) || strings.Contains(err.Error(), "Ã") || strings.Contains(err.Error(), `\xc3`) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestIdentifiers(t *testing.T) {
	for _, test := range []struct{ kind, in, want string }{
		{"dns", "Printer.Corp.Internal", "printer.corp.internal"},
		{"dns", "*.Example.org", "*.example.org"},
		{"dns", "localhost", "localhost"},
		{"dns", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"dns", "", ""},
		{"dns", "a..b", ""},
		{"dns", "example.org.", ""},
		{"dns", "-a.example", ""},
		{"dns", "a_b.example", ""},
		{"dns", "bücher.example", ""},
		{"dns", "ab--cd.example", ""},
		{"dns", "xn--a.example", ""},
		{"dns", "*.*.example", ""},
		{"dns", "a.*.example", ""},
		{"dns", "*", ""},
		{"dns", "10.0.0.1", ""},
		{"dns", "\u212a8s.corp", ""}, // the Kelvin sign folds to k
		{"dns", "c\u0130sco.example", ""},
		{"dns", "127.0.0.0x1", ""},
		{"dns", "a." + strings.Repeat("1", 30), ""},
		{"dns", "a.0xyz", "a.0xyz"},
		{"dns", "*." + strings.Repeat("a.", 125) + "bb", ""},
		{"dns", "1.2.3", ""},
		{"dns", strings.Repeat("a", 64) + ".example", ""},
		{"dns", strings.Repeat("a.", 127) + "a", ""},
		{"dns", "a.example\x00.evil", ""},
		{"ip", "10.0.0.1", "10.0.0.1"},
		{"ip", "2001:DB8:0::1", "2001:db8::1"},
		{"ip", "::ffff:10.0.0.1", ""},
		{"ip", "fe80::1%eth0", ""},
		{"ip", "10.0.0.1:80", ""},
		{"ip", "010.0.0.1", ""},
		{"email", "Alice@Example.ORG", "Alice@example.org"},
		{"email", "a..b@example.org", ""},
		{"email", "@example.org", ""},
		{"email", "a b@example.org", ""},
		{"uri", "SIP:example.org", "sip:example.org"},
		{"uri", "no-scheme", ""},
		{"uri", "http://a b", ""},
		{"hardware-module", "SN1/1.3.6.1.4.1.5", "SN1/1.3.6.1.4.1.5"},
		{"hardware-module", "SN1", ""},
		{"hardware-module", "SN1/1", ""},
		{"permanent-identifier", "dev-7", "dev-7"},
		{"permanent-identifier", "dev-7/1.2.x", ""},
		{"planet", "earth", ""},
	} {
		got, err := ParseIdentifier(test.kind, test.in)
		if (err == nil) != (test.want != "") || got.Value() != test.want {
			t.Errorf("%s %q gave %q, %v; want %q", test.kind, test.in, got.Value(), err, test.want)
		}
		if err != nil && KindOf(err) != BadName {
			t.Errorf("%s %q: kind %s; want %s", test.kind, test.in, KindOf(err), BadName)
		}
	}
}

func request(t testing.TB, template *x509.CertificateRequest) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func altNames(value []byte) pkix.Extension {
	return pkix.Extension{Id: oidSubjectAltName, Value: value}
}

func TestParseCSR(t *testing.T) {
	der := request(t, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "A.example", Organization: []string{"Org"}},
		DNSNames: []string{"A.example", "a.example", "b.example"}, IPAddresses: []net.IP{net.ParseIP("10.0.0.1")}, EmailAddresses: []string{"x@y.example"},
	})
	csr, err := ParseCSR(der)
	if err != nil {
		t.Fatal(err)
	}
	if len(csr.Names) != 4 || csr.Subject.CommonName != "A.example" || csr.Subject.Organization != "Org" {
		t.Fatalf("got %+v", csr)
	}
	broken := bytes.Clone(der)
	broken[len(broken)-1] ^= 1
	for name, bad := range map[string][]byte{
		"empty": nil, "not DER": []byte("-----BEGIN"), "trailing": append(bytes.Clone(der), 0),
		"huge": make([]byte, maxCSR+1), "signature": broken,
		"unknown kind of name": request(t, &x509.CertificateRequest{ExtraExtensions: []pkix.Extension{altNames([]byte{0x30, 3, 0x88, 1, 42})}}),
		"names twice": request(t, &x509.CertificateRequest{ExtraExtensions: []pkix.Extension{
			altNames([]byte{0x30, 3, 0x82, 1, 'a'}), altNames([]byte{0x30, 3, 0x82, 1, 'b'})}}),
		"NUL in a name": request(t, &x509.CertificateRequest{ExtraExtensions: []pkix.Extension{altNames([]byte{0x30, 5, 0x82, 3, 'a', 0, 'b'})}}),
	} {
		if csr, err := ParseCSR(bad); err == nil || (KindOf(err) != BadCSR && KindOf(err) != BadName) {
			t.Errorf("%s: got %+v, %v", name, csr, err)
		}
	}
}

// A signature by a key of 32000 bits takes seconds to check: it must not be.
func TestMonstrousKey(t *testing.T) {
	der := request(t, &x509.CertificateRequest{})
	info, err := asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}{
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, Parameters: asn1.NullRawValue},
		bitString(t, rsaKey{new(big.Int).SetBit(big.NewInt(1), 32000, 1), 65537}),
	})
	if err != nil {
		t.Fatal(err)
	}
	in, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	tbs := bytes.Replace(in.RawTBSCertificateRequest, in.RawSubjectPublicKeyInfo, info, 1)
	forged, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{
		reframe(t, tbs), pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, Parameters: asn1.NullRawValue},
		asn1.BitString{Bytes: make([]byte, 4001), BitLength: 8 * 4001},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseCSR(forged); KindOf(err) != BadKey {
		t.Fatalf("got %v; want kind %s, before any signature is checked", err, BadKey)
	}
}

type rsaKey struct {
	N *big.Int
	E int
}

func bitString(t *testing.T, key rsaKey) asn1.BitString {
	t.Helper()
	der, err := asn1.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	return asn1.BitString{Bytes: der, BitLength: 8 * len(der)}
}

// reframe gives a SEQUENCE whose contents were changed its right length.
func reframe(t *testing.T, der []byte) asn1.RawValue {
	t.Helper()
	contents := cryptobyte.String(der[2:])
	if der[1] == 0x81 {
		contents = der[3:]
	}
	return asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true, Bytes: contents}
}

func TestShippedProfiles(t *testing.T) {
	all := Shipped()
	for _, name := range []string{
		"tls-server", "tls-client", "ev", "ov", "device", "person", "code-signing", "ev-code-signing", "ldevid", "sip-domain", "ocsp-responder",
		"timestamping", "est-server", "cmc-responder", "ra", "key-generation", "voucher-signer", "crl-issuer", "attestation-key", "device-decryption",
		"idevid-8021ar", "idevid-brski", "idevid-tcg-tpm", "idevid-tls-iot",
	} {
		if p := all[name]; p == nil || p.Summary == "" {
			t.Errorf("profile %s is not shipped, or says nothing of itself", name)
		}
	}
	used := map[string]bool{} // each word is known, else there would be no profile
	for _, p := range all {
		for _, word := range p.Evidence {
			used[word] = true
		}
	}
	for _, word := range []string{"http-01", "dns-01", "tls-alpn-01", "device-attest-01", "email-reply-00", "client-certificate", "password", "registration-authority", "approval", "manifest", "own-service"} {
		if !used[word] {
			t.Errorf("no shipped profile takes %q as evidence", word)
		}
	}
}

func TestProfileMistakes(t *testing.T) {
	const good = "rooms = [\"acme\"]\nkeys = [\"ecdsa-p256\"]\nlife = \"90d\"\n"
	if _, err := ParseProfile("good", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for want, text := range map[string]string{
		"lifetime":        good + "lifetime = \"1d\"\n",
		"life":            "rooms = [\"acme\"]\nkeys = [\"rsa\"]\n",
		"ecdsa-p224":      "rooms = [\"acme\"]\nkeys = [\"ecdsa-p224\"]\nlife = \"1d\"\n",
		"cert-sign":       good + "key_usage = [\"cert-sign\"]\n",
		"nobody":          "keys = [\"rsa\"]\nlife = \"1d\"\n",
		"planet":          good + "identifiers = [\"planet\"]\n",
		"server_auth":     good + "ext_key_usage = [\"server_auth\"]\n",
		"shoe_size":       good + "subject.take = [\"shoe_size\"]\n",
		"client_cert":     good + "evidence = [\"approval\", \"client_cert\"]\n",
		"email-reply-00":  good + "evidence = [\"email-reply\"]\n",
		"ten":             "rooms = [\"acme\"]\nkeys = [\"rsa\"]\nlife = \"ten\"\n",
		"e_no_such_thing": good + "lints = [\"e_no_such_thing\"]\n",
	} {
		if _, err := ParseProfile("bad", []byte(text)); err == nil || KindOf(err) != Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("the error must name %q; got %v", want, err)
		}
	}
}

func FuzzParseCSR(f *testing.F) {
	f.Add(request(f, &x509.CertificateRequest{DNSNames: []string{"a.example"}, IPAddresses: []net.IP{net.ParseIP("::1")}}))
	f.Add(request(f, &x509.CertificateRequest{ExtraExtensions: []pkix.Extension{altNames([]byte{0x30, 3, 0x88, 1, 42})}}))
	f.Fuzz(func(t *testing.T, der []byte) {
		csr, err := ParseCSR(der)
		if err != nil {
			return
		}
		// What is read is what would be written: no second spelling of a name.
		value, err := encodeNames(csr.Names)
		if err != nil {
			t.Fatal(err)
		}
		again, err := requestedNames(&x509.CertificateRequest{Extensions: []pkix.Extension{altNames(value)}})
		if err != nil || len(again) != len(csr.Names) {
			t.Fatalf("%v became %v, %v", csr.Names, again, err)
		}
		for i := range again {
			if again[i] != csr.Names[i] {
				t.Fatalf("%v became %v", csr.Names, again)
			}
		}
	})
}

func FuzzParseIdentifier(f *testing.F) {
	f.Add("dns", "*.xn--bcher-kva.example")
	f.Add("ip", "2001:db8::1")
	f.Add("email", "a@b.example")
	f.Add("hardware-module", "x/1.2.3")
	f.Add("hardware-module", "hex:00ff/1.2.3")
	f.Add("permanent-identifier", "a\tb")
	f.Fuzz(func(t *testing.T, kind, value string) {
		n, err := ParseIdentifier(kind, value)
		if err != nil {
			return
		}
		if again, err := ParseIdentifier(string(n.Type()), n.Value()); err != nil || again != n {
			t.Fatalf("%s became %s, %v", n, again, err)
		}
	})
}

func FuzzParseProfile(f *testing.F) {
	f.Add(ShippedText("tls-server"))
	f.Add(ShippedText("idevid-8021ar"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, err := ParseProfile("fuzzed", text); err == nil && p.lints == nil {
			t.Fatal("a profile without lints")
		}
	})
}
