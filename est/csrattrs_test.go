package est

import (
	"bytes"
	"crypto"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"slices"
	"testing"

	"chancery/cms"

	"golang.org/x/crypto/cryptobyte"
)

// The published lists decode, come back byte for byte, and mean what is written there.
func TestPublishedCSRAttributes(t *testing.T) {
	name := func(kinds ...string) string { return joinText(kinds) }
	for file, want := range map[string]struct {
		key                         string
		hash                        crypto.Hash
		challenge                   bool
		describe, ignored, extended string
	}{
		"rfc7030-4.5.2-csrattrs.b64": {"ecdsa-p384", crypto.SHA384, true, name("1.3.6.1.1.1.1.22"), "", ""},
		"rfc7030-a2-csrattrs.b64":    {"", crypto.SHA384, true, name("1.3.6.1.1.1.1.22"), name("2.999.1", "2.999.2", "1.3.36.3.3.2.8.1.1.11"), ""},
		"rfc9908-acp.b64":            {"", 0, false, "", "", name("2.5.29.17")},
		"rfc9908-macaddress.b64":     {"ecdsa-p384", crypto.SHA384, true, name("1.3.6.1.1.1.1.22"), "", ""},
		"rfc9908-rsa4096.b64":        {"rsa-4096", crypto.SHA256, true, "", "", ""},
		"rfc9908-p384.b64":           {"ecdsa-p384", crypto.SHA384, true, name("2.5.4.5"), "", ""},
		"rfc9908-p521.b64":           {"ecdsa-p521", crypto.SHA512, true, name("2.5.4.5"), name("1.2.840.113549.1.9.20", "0.9.2342.19200300.100.1.5"), ""},
	} {
		der := vector(t, file)
		list, err := ParseCSRAttrs(der)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if again, err := list.Marshal(); err != nil || !bytes.Equal(again, der) {
			t.Errorf("%s: came back as %x, %v", file, again, err)
		}
		w, err := Want(list)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		var extended []asn1.ObjectIdentifier
		for _, e := range w.Extensions {
			extended = append(extended, e.ID)
		}
		if w.Template || w.Key != want.key || w.Hash != want.hash || w.ChallengePassword != want.challenge || joinOIDs(w.Describe) != want.describe ||
			joinOIDs(w.Ignored) != want.ignored || joinOIDs(extended) != want.extended || len(w.Unmet) != 0 {
			t.Errorf("%s: %+v", file, w)
		}
	}
}

func joinText(kinds []string) string {
	text := ""
	for i, k := range kinds {
		if i > 0 {
			text += ", "
		}
		text += k
	}
	return text
}

// RFC 9908 §3.4's example, which OpenSSL encoded.
func TestPublishedTemplate(t *testing.T) {
	der := vector(t, "rfc9908-template.b64")
	list, err := ParseCSRAttrs(der)
	if err != nil {
		t.Fatal(err)
	}
	w, err := Want(list)
	if err != nil {
		t.Fatal(err)
	}
	if !w.Template || w.Key != "ecdsa-p256" || len(w.Subject) != 3 || w.Subject[0][0].Value != nil || string(w.Subject[2][0].Value) != "\x0c\x07myGroup" ||
		len(w.Extensions) != 3 || !w.Extensions[1].Critical || w.Extensions[2].Value != nil {
		t.Fatalf("%+v", w)
	}
	d := Demand{Key: w.Key, Subject: w.Subject, Extensions: w.Extensions, Template: true}
	ours, err := d.CSRAttrs()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ours[len(ours)-1:].Marshal(); err != nil || !bytes.Equal(again, der) {
		t.Errorf("written as %x, %v", again, err)
	}

	usage := pkix.Extension{Id: oidExtKeyUsage, Value: []byte{0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1}}
	r := Request{SubjectName: pkix.Name{CommonName: "mine"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 9)}, Extensions: []pkix.Extension{usage}}
	if err := w.Apply(&r); err != nil {
		t.Fatal(err)
	}
	request, err := r.Sign(pairs()["ecdsa-p256"], w.Hash)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParseRequest(request)
	if err != nil {
		t.Fatal(err)
	}
	var subject pkix.RDNSequence
	if _, err := asn1.Unmarshal(p.RawSubject, &subject); err != nil || subject.String() != "OU=myGroup,OU=myDept,CN=mine" {
		t.Errorf("subject %s, %v", subject, err)
	}
	names, err := readGeneralNames(p.SAN())
	if err != nil || len(names) != 2 || names[0].value != "www.myServer.com" || names[1].value != "\xc0\x00\x02\x09" {
		t.Errorf("names %q, %v", names, err)
	}
	if e, ok := p.Extension(oidKeyUsage); !ok || !e.Critical || !bytes.Equal(e.Value, []byte{3, 2, 3, 0x88}) {
		t.Errorf("key usage %+v", e)
	}
	if e, ok := p.Extension(oidExtKeyUsage); !ok || !bytes.Equal(e.Value, usage.Value) {
		t.Errorf("extended key usage %+v", e)
	}

	for what, short := range map[string]Request{
		"common name":        {IPAddresses: r.IPAddresses, Extensions: []pkix.Extension{usage}},
		"address":            {SubjectName: pkix.Name{CommonName: "mine"}, Extensions: []pkix.Extension{usage}},
		"extended key usage": {SubjectName: pkix.Name{CommonName: "mine"}, IPAddresses: []net.IP{{192, 0, 2, 9}}},
		"no place for this":  {SubjectName: pkix.Name{CommonName: "mine", Country: []string{"DE"}}, IPAddresses: []net.IP{{192, 0, 2, 9}}, Extensions: []pkix.Extension{usage}},
		"another unit":       {SubjectName: pkix.Name{CommonName: "mine", OrganizationalUnit: []string{"else"}}, IPAddresses: []net.IP{{192, 0, 2, 9}}, Extensions: []pkix.Extension{usage}},
		"another name":       {SubjectName: pkix.Name{CommonName: "mine"}, DNSNames: []string{"else.example"}, IPAddresses: []net.IP{{192, 0, 2, 9}}, Extensions: []pkix.Extension{usage}},
		"another key usage": {SubjectName: pkix.Name{CommonName: "mine"}, IPAddresses: []net.IP{{192, 0, 2, 9}},
			Extensions: []pkix.Extension{usage, {Id: oidKeyUsage, Value: []byte{3, 2, 7, 0x80}}}},
	} {
		if err := w.Apply(&short); !Is(err, Unmet) {
			t.Errorf("%s: %v", what, err)
		}
		if short.Subject != nil || short.RawSAN != nil {
			t.Errorf("%s: the request was changed all the same", what)
		}
	}
}

// TestOneExtensionTemplate: RFC 9908 §3.4's text has a single one where its module has a
// list; what is complete is a list in any case.
func TestOneExtensionTemplate(t *testing.T) {
	one, err := encode(func(b *cryptobyte.Builder) { addExtension(b, ExtensionTemplate{ID: oidExtKeyUsage, Critical: true}) })
	if err != nil {
		t.Fatal(err)
	}
	of := func(kind asn1.ObjectIdentifier) error {
		a, err := Template{Attributes: []cms.Attribute{attribute(kind, one)}}.Attribute()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseTemplate(a.Values[0])
		if err == nil && (len(got.Extensions) != 1 || !got.Extensions[0].ID.Equal(oidExtKeyUsage) || !got.Extensions[0].Critical || got.Extensions[0].Value != nil) {
			t.Errorf("%+v", got)
		}
		return err
	}
	if err := of(OIDExtensionRequestTemplate); err != nil {
		t.Error(err)
	}
	if err := of(OIDExtensionRequest); !Is(err, Malformed) {
		t.Errorf("an extension request of no list: %v", err)
	}
}

func TestDemands(t *testing.T) {
	cn := [][]NameAttribute{{{Type: oid(2, 5, 4, 3)}}}
	usage := ExtensionTemplate{ID: oidKeyUsage, Critical: true, Value: []byte{3, 2, 7, 0x80}}
	if list, err := (Demand{Template: true}).CSRAttrs(); err != nil || len(list) != 0 {
		t.Errorf("nothing is demanded by %v, %v", list, err)
	}
	for name, hash := range map[string]crypto.Hash{"ecdsa-p256": crypto.SHA256, "ecdsa-p384": crypto.SHA384, "ecdsa-p521": crypto.SHA512, "rsa-3072": crypto.SHA384, "rsa": 0, "ed25519": 0, "x25519": 0, "ecdsa": crypto.SHA256} {
		for _, template := range []bool{false, true} {
			d := Demand{
				Key: name, Hash: hash, Ask: []asn1.ObjectIdentifier{OIDChallengePassword, OIDIdentityLinking, OIDMACAddress},
				Subject: cn, Extensions: []ExtensionTemplate{usage}, Attributes: []cms.Attribute{UnstructuredName("u")}, Template: template,
			}
			list, err := d.CSRAttrs()
			if err != nil {
				t.Fatal(err)
			}
			der, err := list.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if list, err = ParseCSRAttrs(der); err != nil {
				t.Fatal(err)
			}
			w, err := Want(list)
			if err != nil {
				t.Fatal(err)
			}
			if w.Key != name || !w.ChallengePassword || !w.IdentityLinking || w.OTPChallenge || len(w.Extensions) != 1 || !w.Extensions[0].Critical || len(w.Attributes) != 1 || w.Template != template {
				t.Errorf("%s: %+v", name, w)
			}
			if !template && (w.Hash != hash || joinOIDs(w.Describe) != "1.3.6.1.1.1.1.22, 2.5.4.3") || template && len(w.Subject) != 1 {
				t.Errorf("%s: %+v", name, w)
			}
			if found, ok, err := TemplateOf(list); ok != template || err != nil || ok && found.Key.Name() != name {
				t.Errorf("%s: template %+v, %v", name, found, err)
			}
			if list.Has(OIDExtensionRequestTemplate) || !list.Has(OIDExtensionRequest) {
				t.Errorf("%s: complete extensions belong into an extension request", name)
			}
			if !list[0].Type.Equal(OIDChallengePassword) || list[0].Values != nil || !list[3].Type.Equal(d.spec(t).Algorithm) || list[3].Values == nil {
				t.Errorf("%s: order or form: %v", name, list)
			}
		}
	}
	for what, d := range map[string]Demand{"hash without key": {Hash: crypto.SHA256}, "key": {Key: "dsa"}, "hash": {Key: "ed25519", Hash: crypto.SHA256}, "size": {Key: "rsa-512"}, "SHA-1": {Key: "rsa", Hash: crypto.SHA1}} {
		if list, err := d.CSRAttrs(); err == nil {
			t.Errorf("%s: %v", what, list)
		}
	}
}

func (d Demand) spec(t *testing.T) KeySpec {
	t.Helper()
	spec, err := ParseKeySpec(d.Key)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestKeySpecs(t *testing.T) {
	for want, key := range pairs() {
		for name := range pairs() {
			spec, err := ParseKeySpec(name)
			if err != nil {
				t.Fatal(err)
			}
			if spec.Name() != name || spec.Fits(key.Public()) != (name == want) {
				t.Errorf("%s is %s and fits a key %s: %t", name, spec.Name(), want, spec.Fits(key.Public()))
			}
			if err := (Wanted{Key: name}).CheckKey(key.Public()); (err == nil) != (name == want) {
				t.Errorf("%s for %s: %v", name, want, err)
			}
		}
		if !(KeySpec{}).Fits(key.Public()) || (Wanted{}).CheckKey(key.Public()) != nil {
			t.Errorf("%s does not fit where nothing is demanded", want)
		}
	}
	if !anyEC.Fits(pairs()["ecdsa-p521"].Public()) || !anyRSA.Fits(pairs()["rsa-2048"].Public()) || anyRSA.Fits(pairs()["ecdsa-p256"].Public()) {
		t.Error("kinds without a size")
	}
	if (KeySpec{Algorithm: OIDEC, Parameters: oidDER(oid(1, 3, 36, 3, 3, 2, 8, 1, 1, 11))}).Name() != "" || (KeySpec{Algorithm: OIDRSA, Parameters: null, Bits: 512}).Name() != "" {
		t.Error("a key of no known kind has a name")
	}
}

// A key of each kind can be made; what a name leaves open is decided in one way.
func TestKeysOfKinds(t *testing.T) {
	for name, definite := range map[string]string{
		"": "ecdsa-p256", "ecdsa": "ecdsa-p256", "ecdsa-p256": "ecdsa-p256", "ecdsa-p384": "ecdsa-p384", "ecdsa-p521": "ecdsa-p521",
		"rsa": "rsa-2048", "rsa-2048": "rsa-2048", "ed25519": "ed25519",
	} {
		var spec KeySpec
		if name != "" {
			var err error
			if spec, err = ParseKeySpec(name); err != nil {
				t.Fatal(err)
			}
		}
		key, err := spec.NewKey()
		if got := spec.Definite(); got.Name() != definite || err != nil || !got.Fits(key.Public()) || !spec.Fits(key.Public()) {
			t.Errorf("%q is %q, and the key is %T, %v", name, got.Name(), key, err)
		}
	}
	for _, spec := range []KeySpec{keyNames["x25519"], {Algorithm: OIDRSA, Parameters: null, Bits: 512}, {Algorithm: OIDRSA, Bits: -1}, {Algorithm: oid(1, 2, 3)}} {
		if key, err := spec.NewKey(); !Is(err, Unsupported) {
			t.Errorf("%+v: %T, %v", spec, key, err)
		}
	}
}

// What contradicts itself, and what is known but cannot be had.
func TestWishes(t *testing.T) {
	request := func(values ...[]byte) AttrOrOID { return AttrOrOID{Type: OIDExtensionRequest, Values: values} }
	usage := []byte{0x30, 11, 0x30, 9, 6, 3, 0x55, 0x1d, 0x0f, 4, 2, 3, 0}
	template, err := Template{}.Attribute()
	if err != nil {
		t.Fatal(err)
	}
	asWish := AttrOrOID{Type: template.Type, Values: template.Values}
	for what, list := range map[string]CSRAttrs{
		"two extension requests": {request(usage), request(usage)},
		"two values":             {request(usage, usage)},
		"extension twice":        {request(append([]byte{0x30, 22}, append(bytes.Clone(usage[2:]), usage[2:]...)...))},
		"no extensions":          {request([]byte{5, 0})},
		"two templates":          {asWish, asWish},
		"template of two values": {{Type: template.Type, Values: [][]byte{template.Values[0], template.Values[0]}}},
		"bare template":          {{Type: template.Type}},
		"template of nothing":    {{Type: template.Type, Values: [][]byte{{0x30, 0}}}},
		"template of version 2":  {{Type: template.Type, Values: [][]byte{{0x30, 5, 2, 1, 1, 0xa1, 0}}}},
	} {
		if w, err := Want(list); !Is(err, Malformed) {
			t.Errorf("%s: %+v, %v", what, w, err)
		}
	}

	brainpool := AttrOrOID{Type: OIDEC, Values: [][]byte{oidDER(oid(1, 3, 36, 3, 3, 2, 8, 1, 1, 11))}}
	w, err := Want(CSRAttrs{brainpool})
	if err != nil || len(w.Unmet) != 1 || !Is(w.Apply(&Request{}), Unmet) {
		t.Errorf("a curve that nobody has here: %+v, %v", w, err)
	}
	if w, err = Want(CSRAttrs{brainpool, {Type: OIDP256}}); err != nil || len(w.Unmet) != 0 || w.Key != "ecdsa-p256" {
		t.Errorf("with another to choose: %+v, %v", w, err)
	}
	if w, err = Want(CSRAttrs{{Type: OIDECDSAWithSHA384}}); err != nil || w.Key != "ecdsa" || w.Hash != crypto.SHA384 {
		t.Errorf("a signature: %+v, %v", w, err)
	}
	for _, value := range [][]byte{{5, 0}, {2, 2, 0x08, 0}, {2, 2, 2, 0}, {6, 1, 0x2a}, {2, 1, 0xff}} {
		w, err := Want(CSRAttrs{{Type: OIDRSA, Values: [][]byte{value}}})
		want := map[string]string{"\x05\x00": "rsa", "\x02\x02\x08\x00": "rsa-2048"}[string(value)]
		if err != nil || w.Key != want || (len(w.Unmet) == 0) != (want != "") {
			t.Errorf("RSA with the value %x: %+v, %v", value, w, err)
		}
	}
	if w, err = Want(CSRAttrs{{Type: OIDPSS}, {Type: OIDSHA512}}); err != nil || w.Key != "rsa" || !w.PSS || w.Hash != crypto.SHA512 {
		t.Errorf("PSS: %+v, %v", w, err)
	}
	// A template goes before all else, but for what RFC 7894 §4 demands.
	w, err = Want(CSRAttrs{{Type: OIDMACAddress}, {Type: OIDOTPChallenge}, {Type: OIDRevocationChallenge}, {Type: OIDRSA, Values: [][]byte{}}, request(usage), asWish})
	if err != nil || !w.Template || w.Key != "" || len(w.Extensions)+len(w.Describe) != 0 || !w.OTPChallenge || !w.RevocationChallenge {
		t.Errorf("beside a template: %+v, %v", w, err)
	}

	w, err = Want(CSRAttrs{{Type: OIDMACAddress}, {Type: oid(2, 5, 4, 5)}, {Type: oidSAN}, {Type: oid(1, 2, 3)}})
	if err != nil {
		t.Fatal(err)
	}
	full := Request{SubjectName: pkix.Name{SerialNumber: "1"}, DNSNames: []string{"a.example"}, Attributes: []cms.Attribute{MACAddress("0:0:92:90:ee:c2")}}
	if err := w.Apply(&full); err != nil {
		t.Error(err)
	}
	// RFC 9908 §5.2: the MAC address as an attribute of the subject.
	extension, err := SubjectDirectoryAttributes(MACAddress("0:0:92:90:ee:c3"))
	if err != nil {
		t.Fatal(err)
	}
	other := Request{SubjectName: full.SubjectName, DNSNames: full.DNSNames, Extensions: []pkix.Extension{extension}}
	if err := w.Apply(&other); err != nil {
		t.Error(err)
	}
	der, err := other.Sign(pairs()["ecdsa-p256"], 0)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := ParseRequest(der); err != nil {
		t.Error(err)
	} else if text, ok, err := p.MACAddress(); text != "0:0:92:90:ee:c3" || !ok || err != nil {
		t.Errorf("%q, %t, %v", text, ok, err)
	}
	for what, r := range map[string]Request{
		"address": {SubjectName: full.SubjectName, DNSNames: full.DNSNames},
		"serial":  {DNSNames: full.DNSNames, Attributes: full.Attributes},
		"names":   {SubjectName: full.SubjectName, Attributes: full.Attributes},
	} {
		if err := w.Apply(&r); !Is(err, Unmet) {
			t.Errorf("without %s: %v", what, err)
		}
	}
	held := Wanted{Attributes: []cms.Attribute{UnstructuredName("u")}}
	other = Request{Attributes: []cms.Attribute{UnstructuredName("v")}}
	if err := held.Apply(&other); !Is(err, Unmet) {
		t.Errorf("another value: %v", err)
	}
}

func TestRefusedCSRAttributes(t *testing.T) {
	for what, der := range map[string][]byte{
		"no sequence": {0x31, 0}, "trailing": {0x30, 0, 0}, "integer": {0x30, 3, 2, 1, 1}, "cut": {0x30, 5, 6, 3},
		"attribute without set": {0x30, 6, 0x30, 4, 6, 2, 0x2a, 3}, "attribute's tail": {0x30, 10, 0x30, 8, 6, 2, 0x2a, 3, 0x31, 0, 5, 0},
	} {
		if list, err := ParseCSRAttrs(der); !Is(err, Malformed) {
			t.Errorf("%s: %v, %v", what, list, err)
		}
	}
	if _, err := ParseCSRAttrs(make([]byte, RequestMax+1)); !Is(err, TooLarge) {
		t.Error(err)
	}
	for _, der := range [][]byte{nil, {0x30, 0}} {
		if list, err := ParseCSRAttrs(der); err != nil || len(list) != 0 {
			t.Errorf("%x: %v, %v", der, list, err)
		}
	}
	// 2.25 with a UUID, bare and with a value: nobody knows it, so it is left out.
	long := append([]byte{6, 20, 0x69}, append(bytes.Repeat([]byte{0x83}, 18), 5)...)
	inner := append(slices.Clone(long), 0x31, 2, 5, 0)
	der := append([]byte{0x30, byte(len(long) + 2 + len(inner) + 4)}, long...)
	der = append(append(append(der, 0x30, byte(len(inner))), inner...), 6, 2, 0x2a, 3)
	if list, err := ParseCSRAttrs(der); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

func FuzzCSRAttrs(f *testing.F) {
	for _, file := range []string{"rfc7030-4.5.2-csrattrs.b64", "rfc7030-a2-csrattrs.b64", "rfc9908-acp.b64", "rfc9908-rsa4096.b64", "rfc9908-p521.b64", "rfc9908-template.b64"} {
		f.Add(vector(f, file))
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		list, err := ParseCSRAttrs(der)
		if err != nil {
			return
		}
		again, err := list.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if other, err := ParseCSRAttrs(again); err != nil || len(other) != len(list) {
			t.Fatalf("%x came back as %x, %v", der, again, err)
		}
		w, err := Want(list)
		if err != nil {
			return
		}
		r := Request{SubjectName: pkix.Name{CommonName: "x"}, DNSNames: []string{"a.example"}}
		if w.Apply(&r) != nil {
			return
		}
		if _, err := r.Sign(pairs()["ecdsa-p256"], 0); err != nil {
			t.Fatalf("%x asks for a request that cannot be encoded: %v", der, err)
		}
	})
}

func FuzzParseTemplate(f *testing.F) {
	list, err := ParseCSRAttrs(vector(f, "rfc9908-template.b64"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(list[0].Values[0])
	f.Add([]byte{0x30, 5, 2, 1, 0, 0xa1, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		template, err := ParseTemplate(der)
		if err != nil {
			return
		}
		if a, err := template.Attribute(); err == nil {
			if _, err := ParseTemplate(a.Values[0]); err != nil {
				t.Fatalf("%x came back as %x, %v", der, a.Values[0], err)
			}
		}
	})
}
