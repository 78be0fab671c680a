package est

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"

	"chancery/cms"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// parsed signs and reads a request with attributes.
func parsed(t *testing.T, attributes ...cms.Attribute) *Parsed {
	t.Helper()
	// A stranger may send what Sign refuses: the attributes are put in by hand.
	p, err := ParseRequest(handmade(t, attributes...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// handmade is a request with attributes, in their order and with a signature that is none.
func handmade(t *testing.T, attributes ...cms.Attribute) []byte {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(pairs()["ecdsa-p256"].Public())
	if err != nil {
		t.Fatal(err)
	}
	set, err := encode(func(b *cryptobyte.Builder) {
		b.AddASN1(tag.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			for _, a := range attributes {
				addAttribute(b, a)
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	tbs := primitive(tag.SEQUENCE, string(bytes.Join([][]byte{{2, 1, 0}, {0x30, 0}, spki, set}, nil)))
	der, err := assemble(tbs, identifier(OIDECDSAWithSHA256, nil), []byte{0})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// RFC 7894 §3: PrintableString where it can, UTF8String where it cannot; and readers
// take all choices.
func TestChallengeTexts(t *testing.T) {
	if v := ChallengePassword("abc+/=").Values[0]; v[0] != 0x13 {
		t.Errorf("base64 is written with the tag %x", v[0])
	}
	if v := ChallengePassword("a_b").Values[0]; v[0] != 0x0c {
		t.Errorf("an underscore is written with the tag %x", v[0])
	}
	for name, test := range map[string]struct {
		value []byte
		want  string
	}{
		"PrintableString":        {[]byte{0x13, 2, 'a', 'b'}, "ab"},
		"PrintableString with _": {[]byte{0x13, 2, 'a', '_'}, "a_"},
		"UTF8String":             {[]byte{0x0c, 2, 0xc3, 0xa4}, "ä"},
		"IA5String":              {[]byte{0x16, 1, '@'}, "@"},
		"TeletexString":          {[]byte{0x14, 1, 0xe4}, "ä"},
		"BMPString":              {[]byte{0x1e, 4, 0, 'a', 0, 0xe4}, "aä"},
		"255":                    {append([]byte{0x13, 0x81, 255}, strings.Repeat("x", 255)...), strings.Repeat("x", 255)},
	} {
		p := parsed(t, attribute(OIDChallengePassword, test.value))
		if got, ok, err := p.ChallengePassword(); got != test.want || !ok || err != nil {
			t.Errorf("%s: %q, %t, %v", name, got, ok, err)
		}
	}
	for name, a := range map[string]cms.Attribute{
		"empty":           attribute(OIDChallengePassword, []byte{0x13, 0}),
		"256":             attribute(OIDChallengePassword, append([]byte{0x0c, 0x82, 1, 0}, strings.Repeat("x", 256)...)),
		"not UTF-8":       attribute(OIDChallengePassword, []byte{0x0c, 1, 0xff}),
		"not ASCII":       attribute(OIDChallengePassword, []byte{0x13, 1, 0xe4}),
		"odd BMPString":   attribute(OIDChallengePassword, []byte{0x1e, 1, 0}),
		"an octet string": attribute(OIDChallengePassword, []byte{4, 1, 'a'}),
		"two values":      {Type: OIDChallengePassword, Values: [][]byte{{0x13, 1, 'a'}, {0x13, 1, 'b'}}},
	} {
		if got, ok, err := parsed(t, a).ChallengePassword(); ok || !Is(err, Malformed) {
			t.Errorf("%s: %q, %t, %v", name, got, ok, err)
		}
	}
	if got, ok, err := parsed(t).ChallengePassword(); ok || err != nil || got != "" {
		t.Errorf("without: %q, %t, %v", got, ok, err)
	}
	for name, a := range map[string]cms.Attribute{
		"empty": DecryptKeyIdentifier(nil), "text": attribute(OIDDecryptKeyIdentifier, []byte{0x13, 1, 'a'}),
	} {
		if got, ok, err := parsed(t, a).DecryptKeyIdentifier(); ok || !Is(err, Malformed) {
			t.Errorf("%s: %x, %t, %v", name, got, ok, err)
		}
	}
}

// RFC 6402 §2.8: each field may be absent, but not both.
func TestNameChanges(t *testing.T) {
	name, err := asn1.Marshal(pkix.Name{CommonName: "new"}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	empty, san := []byte{0x30, 0}, []byte{0x30, 3, 0x82, 1, 'x'}
	for i, want := range []NameChange{{Subject: name}, {SAN: san}, {Subject: name, SAN: san}, {Subject: empty, SAN: san}, {Subject: empty}} {
		a, err := want.Attribute()
		if err != nil {
			t.Fatal(err)
		}
		got, err := parsed(t, a).ChangeSubjectName()
		if err != nil || !bytes.Equal(got.Subject, want.Subject) || !bytes.Equal(got.SAN, want.SAN) ||
			(got.Subject == nil) != (want.Subject == nil) || (got.SAN == nil) != (want.SAN == nil) {
			t.Errorf("%d: %+v, %v", i, got, err)
		}
	}
	for i, bad := range []NameChange{{}, {Subject: san}, {SAN: name}, {SAN: empty}} {
		if _, err := bad.Attribute(); !Is(err, Malformed) {
			t.Errorf("%d: %v", i, err)
		}
	}
	wrap := func(parts ...[]byte) []byte {
		body := bytes.Join(parts, nil)
		return append([]byte{0x30, byte(len(body))}, body...)
	}
	for i, bad := range [][]byte{nil, empty, wrap(san, name), wrap(name, name), wrap(san, san), wrap([]byte{5, 0}), wrap(name, san, san), append(wrap(name), 0), wrap([]byte{0x30, 2, 5, 0})} {
		if c, err := ParseNameChange(bad); !Is(err, Malformed) {
			t.Errorf("%d: %+v, %v", i, c, err)
		}
	}
	if c, err := parsed(t).ChangeSubjectName(); c != nil || err != nil {
		t.Errorf("without: %+v, %v", c, err)
	}
}

// What a stranger may not send.
func TestRefusedRequests(t *testing.T) {
	der, err := rich(t).Sign(pairs()["ecdsa-p256"], 0)
	if err != nil {
		t.Fatal(err)
	}
	good, err := ParseRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	// request puts a CertificationRequestInfo together by hand.
	request := func(version byte, subject, spki, attributes []byte) []byte {
		tbs := primitive(tag.SEQUENCE, string(bytes.Join([][]byte{{2, 1, version}, subject, spki, attributes}, nil)))
		out, err := assemble(tbs, good.Algorithm, good.Signature)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	set := func(values ...string) []byte {
		body := strings.Join(values, "")
		return append([]byte{0xa0, byte(len(body))}, body...)
	}
	const (
		challenge = "\x30\x10\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x07\x31\x03\x13\x01a"
		noValue   = "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x07\x31\x00"
		extension = "\x30\x16\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e\x31\x09"
	)
	name, key := []byte{0x30, 0}, good.RawSPKI
	if _, err := ParseRequest(request(0, name, key, set(challenge))); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	for what, bad := range map[string][]byte{
		"empty":                    {},
		"trailing":                 append(bytes.Clone(der), 0),
		"cut":                      der[:len(der)-1],
		"version":                  request(1, name, key, set()),
		"no attributes":            request(0, name, key, nil),
		"attribute twice":          request(0, name, key, set(challenge, challenge)),
		"attribute without values": request(0, name, key, set(noValue)),
		"attribute of no kind":     request(0, name, key, set("\x30\x02\x31\x00")),
		"something else":           request(0, name, key, set("\x05\x00")),
		"subject":                  request(0, []byte{0x30, 2, 5, 0}, key, set()),
		"subject without a value":  request(0, []byte{0x30, 9, 0x31, 7, 0x30, 5, 6, 3, 0x55, 4, 3}, key, set()),
		"key":                      request(0, name, []byte{0x30, 2, 0x30, 0}, set()),
		"extension without value":  request(0, name, key, set(extension+"\x30\x07\x30\x05\x06\x03\x55\x1d\x0f")),
		"long length":              append([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, der...),
		"indefinite":               append([]byte{0x30, 0x80}, der...),
		"length not minimal":       append([]byte{0x30, 0x83, 0, der[2], der[3]}, der[4:]...),
	} {
		if p, err := ParseRequest(bad); !Is(err, Malformed) {
			t.Errorf("%s: %v, %v", what, p != nil, err)
		}
	}
	if _, err := ParseRequest(make([]byte, RequestMax+1)); !Is(err, TooLarge) {
		t.Errorf("too long: %v", err)
	}
	var many []cms.Attribute
	for i := range attributesMax + 1 {
		many = append(many, attribute(oid(1, 2, 3, i), []byte{5, 0}))
	}
	der, err = Request{Attributes: many}.Sign(pairs()["ecdsa-p256"], 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseRequest(der); !Is(err, TooLarge) {
		t.Errorf("many attributes: %v", err)
	}
}

func FuzzParseNameChange(f *testing.F) {
	f.Add([]byte{0x30, 5, 0x30, 3, 0x82, 1, 'x'})
	f.Add([]byte{0x30, 7, 0x30, 0, 0x30, 3, 0x82, 1, 'x'})
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := ParseNameChange(der)
		if err != nil {
			return
		}
		if a, err := c.Attribute(); err != nil || !bytes.Equal(a.Values[0], der) {
			t.Fatalf("%x came back as %x, %v", der, a.Values, err)
		}
	})
}
