package cms_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"chancery/cms"
)

// parsers are all that read messages.
var parsers = map[string]func([]byte) error{
	"ContentInfo":       func(in []byte) error { _, err := cms.ParseContentInfo(in); return err },
	"Bag":               func(in []byte) error { _, err := cms.ParseBag(in); return err },
	"SignedData":        func(in []byte) error { _, err := cms.ParseSignedData(in); return err },
	"Enveloped":         func(in []byte) error { _, err := cms.ParseEnveloped(in); return err },
	"AuthenticatedData": func(in []byte) error { _, err := cms.ParseAuthenticated(in); return err },
	"KeyPackage":        func(in []byte) error { _, err := cms.ParseKeyPackage(in); return err },
	"Capabilities":      func(in []byte) error { _, err := cms.ParseCapabilities(in); return err },
	"Attributes":        func(in []byte) error { _, err := cms.ParseAttributes(in); return err },
}

// samples are messages that each parser reads; the fuzz targets begin with them.
func samples(t testing.TB) map[string][]byte {
	t.Helper()
	made := map[string][]byte{}
	put := func(name string, der []byte, err error) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		made[name] = der
	}
	p := who(t, "p256")
	bag, err := (cms.Bag{Certificates: [][]byte{p.cert.Raw, who(t, "root").cert.Raw}}).Marshal()
	put("Bag", bag, err)
	put("SignedData", sign(t, cms.SignedContent{Type: cms.OIDPKIData, Content: content},
		cms.Signing{Unsigned: []cms.Attribute{{Type: cms.OIDSMIMECapabilities, Values: [][]byte{{0x30, 0}, {5, 0}}}}}, "p256"), nil)
	put("SignedData RSA-PSS", sign(t, cms.SignedContent{Type: cms.OIDPKIData, Content: content}, cms.Signing{PSS: true, KeyID: []byte{1}}, "rsa"), nil)
	all := []cms.Recipient{}
	for name, r := range recipients(t) {
		all = append(all, r.to)
		der, err := cms.Encrypt(cms.Plain{Type: cms.OIDSignedData, Content: content, Cipher: cms.AES256GCM}, r.to)
		put("Enveloped "+name, der, err)
	}
	enveloped, err := cms.Encrypt(cms.Plain{Type: cms.OIDSignedData, Content: content}, all...)
	put("Enveloped", enveloped, err)
	authenticated, err := cms.Authenticate(cms.Authentic{Type: cms.OIDPKIData, Content: content}, all...)
	put("AuthenticatedData", authenticated, err)
	key, err := hex.DecodeString("3053020101300506032b6570042204200000000000000000000000000000000000000000000000000000000000000000a000812100" + "0000000000000000000000000000000000000000000000000000000000000000")
	if err != nil {
		t.Fatal(err)
	}
	pack, err := cms.MarshalKeyPackage(key, key)
	put("KeyPackage", pack, err)
	list, err := cms.CapabilitiesOf(who(t, "p384").cert.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	capabilities, err := list.Marshal()
	put("Capabilities", capabilities, err)
	attributes, err := cms.MarshalAttributes([]cms.Attribute{{Type: cms.OIDSigningTime, Values: [][]byte{{5, 0}, {4, 0}}}, {Type: cms.OIDContentType, Values: [][]byte{{5, 0}}}})
	put("Attributes", attributes, err)
	made["ContentInfo"] = []byte{0x30, 3, 6, 1, 42}
	return made
}

// Every message is cut at every octet, and has each octet changed: nothing panics, and each
// error is one of ours.
func TestParsersOfDamagedMessages(t *testing.T) {
	for name, der := range samples(t) {
		for n, parse := range parsers {
			check := func(in []byte, what string) {
				var e *cms.Error
				if err := parse(in); err != nil && !errors.As(err, &e) {
					t.Errorf("%s, %s, read as %s: a %T", name, what, n, err)
				}
			}
			for cut := range der {
				if err := parse(der[:cut]); err == nil {
					t.Errorf("%s, cut after %d octets, is read as %s", name, cut, n)
				}
			}
			for at := 0; at < len(der); at += 1 + len(der)/400 {
				for _, flip := range []byte{1, 0x20, 0x80, 0xff} {
					bad := bytes.Clone(der)
					bad[at] ^= flip
					check(bad, fmt.Sprintf("octet %d changed", at))
				}
			}
		}
		if parse, ok := parsers[name]; ok {
			if err := parse(der); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := parse(append(bytes.Clone(der), 0)); err == nil {
				t.Errorf("%s is read with an octet after it", name)
			}
		}
	}
}

func TestParsersRefuse(t *testing.T) {
	const signed, enveloped = "06092a864886f70d010702", "06092a864886f70d010703"
	const data = "06092a864886f70d010701"
	message := func(oid string, parts ...string) []byte { // of indefinite length, which spares counting
		in := "3080" + oid + "a0803080"
		for _, part := range parts {
			in += part
		}
		return unhex(t, in+"000000000000")
	}
	const gcm, cbc = "301e0609608648016503040106" + "3011040c000000000000000000000000020110", "301d0609608648016503040102" + "041000000000000000000000000000000000"
	const kek = "a218020104" + "3003040101" + "300b0609608648016503040105" + "040101"
	for name, c := range map[string]struct {
		parser string
		in     []byte
		kind   cms.Kind
	}{
		"bag that is enveloped":        {"Bag", message(enveloped), cms.Unsupported},
		"bag without content":          {"Bag", unhex(t, "300b"+signed), cms.Malformed},
		"bag without version":          {"Bag", message(signed, "3100"), cms.Malformed},
		"bag of a negative version":    {"Bag", message(signed, "0201ff", "3100", "300b"+data, "3100"), cms.Malformed},
		"bag without signers":          {"Bag", message(signed, "020101", "3100", "300b"+data), cms.Malformed},
		"bag with something else":      {"Bag", message(signed, "020101", "3100", "300b"+data, "3100", "0500"), cms.Malformed},
		"content that is no string":    {"SignedData", message(signed, "020101", "3100", "300f"+data+"a0023000", "3100"), cms.Unsupported},
		"content with more":            {"SignedData", message(signed, "020101", "3100", "3011"+data+"a00404000400", "3100"), cms.Malformed},
		"signer that is none":          {"SignedData", message(signed, "020101", "3100", "300b"+data, "31023000"), cms.Malformed},
		"nobody to open it":            {"Enveloped", message(enveloped, "020100", "3100", "303080"), cms.Malformed},
		"GCM outside its place":        {"Enveloped", message(enveloped, "020102", "31"+"1a"+kek, "3080"+data+gcm+"800101"+"0000"), cms.Malformed},
		"no encrypted content":         {"Enveloped", message(enveloped, "020102", "31"+"1a"+kek, "3080"+data+cbc+"0000"), cms.Malformed},
		"a piece that is no string":    {"Enveloped", message(enveloped, "020102", "31"+"1a"+kek, "3080"+data+cbc+"a0800500"+"0000"+"0000"), cms.Malformed},
		"capability without algorithm": {"Capabilities", unhex(t, "30023000"), cms.Malformed},
		"attribute without values":     {"Attributes", unhex(t, "3105300306012a"), cms.Malformed},
		"attributes, cut off":          {"Attributes", unhex(t, "3105"), cms.Malformed},
	} {
		t.Run(name, func(t *testing.T) { isKind(t, parsers[c.parser](c.in), c.kind) })
	}
	good := message(enveloped, "020102", "31"+"1a"+kek, "3080"+data+cbc+"800101"+"0000")
	e, err := cms.ParseEnveloped(good)
	if err != nil {
		t.Fatalf("the table's parts are wrong: %v", err)
	}
	_, err = e.Decrypt(cms.Secret(make([]byte, 16)), 0)
	isKind(t, err, cms.Undecrypted)
}

// Lists that are too long are refused before they cost much.
func TestParsersBoundLists(t *testing.T) {
	list := func(tag byte, element string, n int) []byte {
		return append([]byte{tag, 0x80}, append(bytes.Repeat(unhex(t, element), n), 0, 0)...)
	}
	_, err := cms.ParseCapabilities(list(0x30, "300306012a", 4097))
	isKind(t, err, cms.TooLarge)
	if _, err = cms.ParseCapabilities(list(0x30, "300306012a", 4096)); err != nil {
		t.Error(err)
	}
	certificates := make([][]byte, 4097)
	for i := range certificates {
		certificates[i] = []byte{0x30, 0}
	}
	bag, err := (cms.Bag{Certificates: certificates}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	_, err = cms.ParseBag(bag)
	isKind(t, err, cms.TooLarge)
	_, err = cms.ParseBag(make([]byte, 5<<20))
	isKind(t, err, cms.TooLarge)
	p := who(t, "p256")
	by := make([]cms.Signing, 65)
	for i := range by {
		by[i] = cms.Signing{Key: p.signer(), Certificate: p.cert}
	}
	many, err := cms.Sign(cms.SignedContent{Type: cms.OIDData, Content: content}, by...)
	if err != nil {
		t.Fatal(err)
	}
	_, err = cms.ParseSignedData(many)
	isKind(t, err, cms.TooLarge)
}
