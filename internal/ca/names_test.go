package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// part is one attribute of a name, in the string type that the test wants.
type part struct {
	oid   asn1.ObjectIdentifier
	tag   casn1.Tag
	value string
}

var cn, org, email = asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.ObjectIdentifier{2, 5, 4, 10}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}

func utf8CN(value string) []part { return []part{{cn, casn1.UTF8String, value}} }

// distinguished makes a DER Name with an RDN for each list.
func distinguished(rdns ...[]part) []byte {
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, rdn := range rdns {
			b.AddASN1(casn1.SET, func(b *cryptobyte.Builder) {
				for _, p := range rdn {
					b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1ObjectIdentifier(p.oid)
						b.AddASN1(p.tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(p.value)) })
					})
				}
			})
		}
	})
	return b.BytesOrPanic()
}

func TestSameName(t *testing.T) {
	printable := func(s string) []byte { return distinguished([]part{{cn, casn1.PrintableString, s}}) }
	text := func(s string) []byte { return distinguished(utf8CN(s)) }
	both := []part{{cn, casn1.UTF8String, "a"}, {org, casn1.UTF8String, "b"}}
	turned := []part{{org, casn1.UTF8String, "b"}, {cn, casn1.UTF8String, "a"}}
	for name, test := range map[string]struct {
		a, b []byte
		same bool
	}{
		"equal":                   {text("Device 7"), text("Device 7"), true},
		"empty":                   {distinguished(), distinguished(), true},
		"empty and not":           {distinguished(), text("a"), false},
		"case":                    {text("DEVICE 7"), text("device 7"), true},
		"case beyond ASCII":       {text("MÜNCHEN"), text("münchen"), true},
		"sharp s":                 {text("Straße"), text("STRASSE"), true},
		"final sigma":             {text("ΟΔΟΣ"), text("οδος"), true},
		"white space":             {text("  Device   7 "), text("device 7"), true},
		"other white space":       {text("Device\u00a0\u20037"), text("device 7"), true},
		"no white space":          {text("Device7"), text("device 7"), false},
		"soft hyphen":             {text("De\u00advice"), text("device"), true},
		"composed or not":         {text("mu\u0308nchen"), text("m\u00fcnchen"), true},
		"wide letters":            {text("\uff24evice"), text("device"), true},
		"types of string":         {printable("Device"), text("device"), true},
		"Latin 1":                 {distinguished([]part{{cn, tagTeletex, "M\xfcller"}}), text("müller"), true},
		"BMPString":               {distinguished([]part{{cn, tagBMP, "\x00M\x00\xfc"}}), text("mü"), true},
		"UniversalString":         {distinguished([]part{{cn, tagUniversal, "\x00\x00\x00M\x00\x01\xf6\x00"}}), text("m\U0001f600"), true},
		"odd BMPString":           {distinguished([]part{{cn, tagBMP, "\x00M\x00"}}), text("m"), false},
		"mail address":            {distinguished([]part{{email, casn1.IA5String, "A@B.example"}}), distinguished([]part{{email, casn1.IA5String, "a@b.EXAMPLE"}}), true},
		"sets":                    {distinguished(both), distinguished(turned), true},
		"order":                   {distinguished(both[:1], both[1:]), distinguished(both[1:], both[:1]), false},
		"set or sequence":         {distinguished(both), distinguished(both[:1], both[1:]), false},
		"other attribute":         {text("a"), distinguished([]part{{org, casn1.UTF8String, "a"}}), false},
		"one more":                {distinguished(utf8CN("a"), utf8CN("b")), distinguished(utf8CN("a")), false},
		"broken UTF-8, same":      {text("a\xff"), text("a\xff"), true},
		"broken UTF-8, not same":  {text("a\xff"), text("A\xff"), false},
		"bits":                    {distinguished([]part{{cn, casn1.BIT_STRING, "\x00a"}}), distinguished([]part{{cn, casn1.BIT_STRING, "\x00A"}}), false},
		"no name":                 {[]byte("a"), []byte("a"), false},
		"nothing":                 {nil, nil, false},
		"trailing":                {append(text("a"), 0), append(text("a"), 0), false},
		"empty RDN":               {[]byte{0x30, 2, 0x31, 0}, []byte{0x30, 2, 0x31, 0}, false},
		"text and what is sorted": {text("a\x00b"), text("ab"), true},
	} {
		if got := SameName(test.a, test.b); got != test.same {
			t.Errorf("%s: %v", name, got)
		}
		if a := NameKey(test.a); test.same && a == nil || (a != nil && bytes.Equal(a, NameKey(test.b))) != test.same {
			t.Errorf("%s: the keys differ otherwise than the names", name)
		}
		if SameName(test.a, test.b) != SameName(test.b, test.a) {
			t.Errorf("%s: not the same both ways", name)
		}
	}
}

func FuzzSameName(f *testing.F) {
	f.Add(distinguished(utf8CN("Device 7")), distinguished(utf8CN("device  7")))
	f.Add(distinguished([]part{{cn, tagBMP, "\xd8\x00"}}), distinguished())
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if SameName(a, b) != SameName(b, a) {
			t.Fatal("not symmetric")
		}
		if key := NameKey(a); (key != nil && bytes.Equal(key, NameKey(b))) != SameName(a, b) {
			t.Errorf("%x and %x: the keys differ otherwise than the names", a, b)
		}
		if SameName(a, b) && !(SameName(a, a) && SameName(b, b)) {
			t.Fatal("same as another, not as itself")
		}
	})
}

func TestSubjectOf(t *testing.T) {
	got, err := SubjectOf(distinguished(utf8CN("a"), []part{{org, casn1.PrintableString, "b"}}, []part{{email, casn1.IA5String, "c@d.example"}}))
	if err != nil || got != (Subject{CommonName: "a", Organization: "b"}) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if got, err := SubjectOf(distinguished()); err != nil || !got.IsZero() {
		t.Fatalf("got %+v, %v", got, err)
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "no name": []byte("name"), "trailing": append(distinguished(), 0), "twice": distinguished(utf8CN("a"), utf8CN("b")),
		"huge": distinguished(utf8CN(strings.Repeat("a", maxCSR))),
	} {
		if got, err := SubjectOf(bad); KindOf(err) != BadCSR {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

// What is asked for beside names, and a signature of other octets.
func TestCSRUsage(t *testing.T) {
	usage := pkix.Extension{Id: oidKeyUsage, Critical: true, Value: usageBits(x509.KeyUsageKeyAgreement | x509.KeyUsageDecipherOnly)}
	der := request(t, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "a"}, DNSNames: []string{"a.example"}, ExtraExtensions: []pkix.Extension{usage}})
	csr, err := ParseCSR(der)
	if err != nil {
		t.Fatal(err)
	}
	if csr.KeyUsage != x509.KeyUsageKeyAgreement|x509.KeyUsageDecipherOnly || len(csr.Names) != 1 || csr.Subject.CommonName != "a" || !SameName(csr.RawSubject, distinguished(utf8CN("A"))) {
		t.Fatalf("got %+v", csr)
	}
	forged := slices.Clone(der)
	forged[len(forged)-1] ^= 1
	for name, bad := range map[string][]byte{
		"forged":      forged,
		"trailing":    append(slices.Clone(der), 0),
		"usage twice": request(t, &x509.CertificateRequest{ExtraExtensions: []pkix.Extension{usage, usage}}),
		"no usage":    request(t, &x509.CertificateRequest{ExtraExtensions: []pkix.Extension{{Id: oidKeyUsage, Value: []byte("no")}}}),
	} {
		if got, err := ParseCSR(bad); KindOf(err) != BadCSR {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestNamesOf(t *testing.T) {
	for _, bad := range [][]byte{nil, {0x30}, {0x04, 0}, {0x30, 3, 0x88, 1, 42}, {0x30, 3, 0x82, 1, 'a', 0}, make([]byte, maxCSR+1)} {
		if got, err := NamesOf(bad); KindOf(err) != BadCSR {
			t.Errorf("%x: got %v, %v", bad, got, err)
		}
	}
	got, err := NamesOf([]byte{0x30, 6, 0x82, 1, 'A', 0x82, 1, 'a'})
	if err != nil || len(got) != 1 || got[0].Value() != "a" {
		t.Fatalf("got %v, %v", got, err)
	}
}

// module is an otherName as a maker writes it (RFC 4108 §5).
func module(serial []byte) func(*cryptobyte.Builder) {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(contextTag(tagOther).Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidHardwareModuleName)
			b.AddASN1(contextTag(0).Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1})
					b.AddASN1OctetString(serial)
				})
			})
		})
	}
}

func dnsName(name string) func(*cryptobyte.Builder) {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(contextTag(tagDNS), func(b *cryptobyte.Builder) { b.AddBytes([]byte(name)) })
	}
}

// made gives a certificate with the names, which is critical as an IDevID's is.
func made(t *testing.T, names ...func(*cryptobyte.Builder)) *x509.Certificate {
	t.Helper()
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, add := range names {
			add(b)
		}
	})
	return madeWith(t, b.BytesOrPanic())
}

func madeWith(t *testing.T, san []byte) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: endless}
	if san != nil {
		template.ExtraExtensions = []pkix.Extension{{Id: oidSubjectAltName, Critical: true, Value: san}}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestCertificateNames(t *testing.T) {
	directory := func(b *cryptobyte.Builder) {
		b.AddASN1(contextTag(4).Constructed(), func(b *cryptobyte.Builder) { b.AddBytes(distinguished(utf8CN("a"))) })
	}
	for name, test := range map[string]struct {
		cert *x509.Certificate
		want []string
		kind Kind
	}{
		"none":              {madeWith(t, nil), nil, ""},
		"hardware module":   {made(t, module([]byte("SN 7"))), []string{"hardware-module:SN 7/1.3.6.1.4.1.99999.1"}, ""},
		"binary serial":     {made(t, module([]byte{0, 1, 0xff})), []string{"hardware-module:hex:0001ff/1.3.6.1.4.1.99999.1"}, ""},
		"slash in a serial": {made(t, module([]byte("A/7"))), []string{"hardware-module:hex:412f37/1.3.6.1.4.1.99999.1"}, ""},
		"twice":             {made(t, dnsName("A.example"), dnsName("a.example")), []string{"dns:a.example"}, ""},
		"directory name":    {made(t, dnsName("a.example"), directory), []string{"dns:a.example"}, BadName},
		"underscore":        {made(t, dnsName("a_b.example"), module([]byte("7"))), []string{"hardware-module:7/1.3.6.1.4.1.99999.1"}, BadName},
	} {
		got, err := CertificateNames(test.cert)
		var words []string
		for _, n := range got {
			words = append(words, n.String())
		}
		if !slices.Equal(words, test.want) || KindOf(err) != test.kind {
			t.Errorf("%s: got %q, %v", name, words, err)
		}
	}
	broken := &x509.Certificate{Extensions: []pkix.Extension{{Id: oidSubjectAltName, Value: []byte{0x30, 2, 0x82, 9}}}}
	if got, err := CertificateNames(broken); got != nil || KindOf(err) != Invalid {
		t.Errorf("broken: got %v, %v", got, err)
	}
}

// Whatever octets a device's name has, there is one way to write them.
func TestDeviceNamesOfAnyOctets(t *testing.T) {
	for _, octets := range []string{"SN7", "a/b", "hex:41", "\x00", "\xff\xfe", " ", "ü", "\u200b", strings.Repeat("x", 400)} {
		cert := made(t, module([]byte(octets)))
		got, err := CertificateNames(cert)
		if err != nil || len(got) != 1 || !utf8.ValidString(got[0].Value()) {
			t.Errorf("%q: %v, %v", octets, got, err)
			continue
		}
		again, err := ParseIdentifier("hardware-module", got[0].Value())
		if err != nil || again != got[0] {
			t.Errorf("%q: %v became %v, %v", octets, got[0], again, err)
		}
		if value, err := encodeNames(got); err != nil || string(value) != string(cert.Extensions[len(cert.Extensions)-1].Value) {
			t.Errorf("%q: encoded as %x, %v", octets, value, err)
		}
	}
	for text, want := range map[string]string{"hex:534e37/1.2.3": "SN7/1.2.3", "hex:FF/1.2.3": "hex:ff/1.2.3", "hex:f/1.2.3": "", "hex:/1.2.3": "", "\xff/1.2.3": ""} {
		if got, err := ParseIdentifier("hardware-module", text); got.Value() != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	if got, err := ParseIdentifier("permanent-identifier", "hex:ff"); err == nil {
		t.Errorf("a permanent identifier that is no UTF-8: %v", got)
	}
}

func TestDetailsAreBounded(t *testing.T) {
	req := Request{Detail: map[string]string{"label": "iot", "profile": "forged", "long": strings.Repeat("ü", 1000), strings.Repeat("k", 100): "\x00\xff"}}
	for i := range 100 {
		req.Detail["x"+string(rune('a'+i%26))+strings.Repeat("y", i/26)] = "z"
	}
	got := req.details(map[string]string{"profile": "device", "evidence": "e"})
	if got["label"] != "iot" || got["profile"] != "device" || got["evidence"] != "e" {
		t.Errorf("got %v", slices.Sorted(maps.Keys(got)))
	}
	if len(got) > maxDetails+2 {
		t.Errorf("%d entries", len(got))
	}
	for word, text := range got {
		if len(word) > maxDetailWord+8 || len(text) > maxDetailText+8 || !utf8.ValidString(word+text) || strings.ContainsRune(word+text, 0) {
			t.Errorf("%q: %q", word, text)
		}
	}
}

func TestDemands(t *testing.T) {
	p, err := ParseProfile("x", []byte(`rooms = ["est"]
keys = ["rsa", "ecdsa-p256"]
key_usage = ["digital-signature"]
key_usage_rsa = ["key-encipherment"]
ext_key_usage = ["client-auth", "1.2.3.4"]
identifiers = ["dns"]
min_names = 1
evidence = ["password"]
life = "1d"
subject.take = ["organization"]
subject.require = ["common_name"]
`))
	if err != nil {
		t.Fatal(err)
	}
	d := p.Demands()
	if !slices.Equal(d.Keys, []string{"rsa", "ecdsa-p256"}) || d.MinNames != 1 || !slices.Equal(d.Identifiers, []IdentifierType{TypeDNS}) ||
		!slices.Equal(d.SubjectTake, []string{"organization"}) || !slices.Equal(d.SubjectRequire, []string{"common_name"}) || !slices.Equal(d.Evidence, []string{"password"}) {
		t.Errorf("got %+v", d)
	}
	if d.Usage("rsa") != x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment || d.Usage("ecdsa-p256") != x509.KeyUsageDigitalSignature {
		t.Errorf("usages %v, %v", d.Usage("rsa"), d.Usage("ecdsa-p256"))
	}
	if len(d.ExtKeyUsage) != 2 || !d.ExtKeyUsage[1].Equal(asn1.ObjectIdentifier{1, 2, 3, 4}) {
		t.Errorf("extended usages %v", d.ExtKeyUsage)
	}
	d.Keys[0], d.ExtKeyUsage[0][0] = "none", 9
	if again := p.Demands(); again.Keys[0] != "rsa" || again.ExtKeyUsage[0][0] != 1 {
		t.Error("the profile was changed through its demands")
	}
}

// What EST wants of the shipped profiles.
func TestShippedProfilesForEST(t *testing.T) {
	all := Shipped()
	for _, name := range []string{"device", "ldevid", "tls-client"} {
		p := all[name]
		if !p.Serves("est") {
			t.Errorf("%s does not serve the room est", name)
		}
		for _, method := range []string{"client-certificate", "password", "registration-authority", "approval"} {
			if !slices.Contains(p.Evidence, method) {
				t.Errorf("%s does not take evidence by %s", name, method)
			}
		}
	}
	for name, usage := range map[string]asn1.ObjectIdentifier{"est-server": {1, 3, 6, 1, 5, 5, 7, 3, 28}, "cmc-responder": {1, 3, 6, 1, 5, 5, 7, 3, 27}, "key-generation": nil} {
		p := all[name]
		if p == nil || !p.Serves("core") || !slices.Contains(p.Evidence, "own-service") {
			t.Fatalf("%s is not for the core to ask for", name)
		}
		if usage != nil && !slices.ContainsFunc(p.extKeyUsage, usage.Equal) {
			t.Errorf("%s has no %v", name, usage)
		}
	}
}
