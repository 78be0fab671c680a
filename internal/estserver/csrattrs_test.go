package estserver_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/http"
	"slices"
	"strings"
	"testing"

	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/certtest"
	"chancery/internal/estserver"
)

// wishes gives what csrattrs answers, and how our own client reads it. OpenSSL reads
// it, too, to its end.
func wishes(t testing.TB, r *reply) (est.CSRAttrs, est.Wanted) {
	t.Helper()
	der := decode(t, r)
	if got := r.Header.Get("Content-Type"); got != "application/csrattrs" {
		t.Errorf("the answer's type is %q", got)
	}
	if got := r.Header.Get("Content-Transfer-Encoding"); got != "base64" {
		t.Errorf("Content-Transfer-Encoding is %q, without which clients of the field take the body for DER", got)
	}
	f := newFiles(t)
	f.openssl("asn1parse", "-inform", "DER", "-in", f.put(der))
	list, err := est.ParseCSRAttrs(der)
	if err != nil {
		t.Fatal(err)
	}
	strict(t, der)
	wanted, err := est.Want(list)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := list.Marshal(); err != nil || !bytes.Equal(again, der) {
		t.Errorf("read and written, the list is another: %v", err)
	}
	return list, wanted
}

// strict reads CsrAttrs as a parser without mercy does (RFC 8951 §4): a SEQUENCE of
// OBJECT IDENTIFIERs and Attributes; one id-ExtensionReq at most, with one value, an
// Extensions of which every extension is whole and there once (RFC 9908 §3.2).
func strict(t testing.TB, der []byte) {
	t.Helper()
	var list []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &list); err != nil || len(rest) > 0 {
		t.Fatalf("no SEQUENCE: %v", err)
	}
	requests, keys := 0, 0
	for _, one := range list {
		if one.Tag == asn1.TagOID {
			continue
		}
		var a struct {
			Type   asn1.ObjectIdentifier
			Values []asn1.RawValue `asn1:"set"`
		}
		if rest, err := asn1.Unmarshal(one.FullBytes, &a); err != nil || len(rest) > 0 {
			t.Fatalf("neither an identifier nor an attribute: %x, %v", one.FullBytes, err)
		}
		switch {
		case a.Type.Equal(est.OIDEC), a.Type.Equal(est.OIDRSA), a.Type.Equal(est.OIDEd25519):
			keys++
		case a.Type.Equal(est.OIDExtensionRequest):
			requests++
			var extensions []pkix.Extension
			if len(a.Values) != 1 {
				t.Fatalf("%d values in the extension request", len(a.Values))
			}
			if rest, err := asn1.Unmarshal(a.Values[0].FullBytes, &extensions); err != nil || len(rest) > 0 || len(extensions) == 0 {
				t.Errorf("the extension request is no Extensions: %v", err)
			}
			for i, e := range extensions {
				if len(e.Value) == 0 || slices.ContainsFunc(extensions[:i], func(f pkix.Extension) bool { return f.Id.Equal(e.Id) }) {
					t.Errorf("the extension %s has no value, or is there twice", e.Id)
				}
			}
		}
	}
	if requests > 1 || keys > 1 {
		t.Errorf("%d extension requests and %d kinds of key", requests, keys)
	}
}

// obey makes a request as the answer wants it, with what the client knows itself.
func obey(t testing.TB, wanted est.Wanted, r est.Request) []byte {
	t.Helper()
	if len(wanted.Unmet) > 0 {
		t.Errorf("our client cannot meet %v", wanted.Unmet)
	}
	if err := wanted.Apply(&r); err != nil {
		t.Fatal(err)
	}
	var key crypto.Signer = certtest.Key(t)
	if wanted.Key != "" {
		key = keyOf(t, wanted.Key)
	}
	der, err := r.Sign(key, wanted.Hash)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// keyOf makes a key as a client does that is told a kind.
func keyOf(t testing.TB, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "ecdsa-p256":
		key = certtest.Key(t)
	case "ecdsa-p384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ecdsa-p521":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "rsa-3072":
		key = newRSA(t, 3072)
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("the kind %q is asked for", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// estProfiles are the shipped profiles that this room can serve.
func estProfiles() []string {
	var names []string
	for name, p := range ca.Shipped() {
		if p.Serves(estserver.Room) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// TestCSRAttrsObeyed: a request that is made from the answer is accepted, for each
// shipped profile, and says what the certificate then says.
func TestCSRAttrsObeyed(t *testing.T) {
	profiles := estProfiles()
	if len(profiles) < 3 {
		t.Fatalf("the shipped profiles for EST are %v", profiles)
	}
	for _, name := range profiles {
		t.Run(name, func(t *testing.T) {
			w := newKeyWorld(t, nil, keyLabel(func(l *estserver.Label) {
				l.Profile, l.Holders, l.Names = name, []string{"device"}, []string{"own", "*.iot.example", "CN=*", "SN=*"}
			}))
			c := w.client(w.device)
			_, wanted := wishes(t, c.get("csrattrs"))
			der := obey(t, wanted, est.Request{SubjectName: pkix.Name{CommonName: "a.iot.example"}, DNSNames: []string{"a.iot.example"}})
			cert := granted(t, c.post("simpleenroll", der))
			p, err := est.ParseRequest(der)
			if err != nil {
				t.Fatal(err)
			}
			usage, asked, err := p.KeyUsage()
			if err != nil || asked && usage != cert.KeyUsage {
				t.Errorf("the request asks for key usage %b as it was told, the certificate has %b, %v", usage, cert.KeyUsage, err)
			}
			extended, err := p.ExtKeyUsage()
			if err != nil || len(extended) == 0 {
				t.Errorf("extended key usages that are asked for: %v, %v", extended, err)
			}
			for _, oid := range extended {
				if !slices.Contains(usagesOf(cert), oid.String()) {
					t.Errorf("the request asks for %s as it was told, the certificate has %v", oid, usagesOf(cert))
				}
			}
		})
	}
}

func usagesOf(cert *x509.Certificate) []string {
	var all []string
	for _, e := range cert.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 37}) {
			var oids []asn1.ObjectIdentifier
			if _, err := asn1.Unmarshal(e.Value, &oids); err == nil {
				for _, oid := range oids {
					all = append(all, oid.String())
				}
			}
		}
	}
	return all
}

// TestCSRAttrsRenewal: who holds a certificate is told to ask for the same names, and
// the request made so renews it (RFC 7030 §4.2.2).
func TestCSRAttrsRenewal(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(nil))
	c := w.client(w.device)
	_, wanted := wishes(t, c.get("csrattrs"))
	der := obey(t, wanted, est.Request{})
	p, err := est.ParseRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	if !ca.SameName(p.RawSubject, w.device.cert.RawSubject) {
		t.Errorf("the subject is %x, not that of the certificate", p.RawSubject)
	}
	cert := granted(t, c.post("simplereenroll", der))
	if !slices.Equal(cert.DNSNames, w.device.cert.DNSNames) {
		t.Errorf("the names are %v", cert.DNSNames)
	}
	// Who is nobody hears what is asked of everybody, without anybody's names.
	_, everybody := wishes(t, w.client(nil).get("csrattrs"))
	if everybody.Subject != nil || slices.ContainsFunc(everybody.Extensions, func(e est.ExtensionTemplate) bool {
		return e.ID.Equal(asn1.ObjectIdentifier{2, 5, 29, 17})
	}) {
		t.Errorf("nobody is told %+v", everybody)
	}
}

// TestCSRAttrsOfProfiles: the list says what the profile does, and nothing that it does
// not.
func TestCSRAttrsOfProfiles(t *testing.T) {
	for name, c := range map[string]struct {
		lines string
		edit  func(*estserver.Label)
		check func(*testing.T, est.CSRAttrs, est.Wanted)
	}{
		"one curve": {`keys = ["ecdsa-p384"]`, nil, func(t *testing.T, l est.CSRAttrs, w est.Wanted) {
			if w.Key != "ecdsa-p384" || !l.Has(est.OIDECDSAWithSHA384) {
				t.Errorf("key %q; the list %v", w.Key, l)
			}
			if a, ok := l.Attribute(est.OIDEC); !ok || len(a.Values) != 1 {
				t.Error("the curve is no attribute of its algorithm")
			}
		}},
		"RSA": {`keys = ["rsa"]`, nil, func(t *testing.T, l est.CSRAttrs, w est.Wanted) {
			if w.Key != "rsa-3072" || !l.Has(est.OIDSHA256WithRSA) {
				t.Errorf("key %q; the list %v", w.Key, l)
			}
		}},
		"Ed25519": {`keys = ["ed25519"]`, nil, func(t *testing.T, l est.CSRAttrs, w est.Wanted) {
			if w.Key != "ed25519" {
				t.Errorf("key %q; the list %v", w.Key, l)
			}
		}},
		"several kinds": {"keys = [\"ecdsa-p256\", \"rsa\"]\nkey_usage = [\"digital-signature\"]\nkey_usage_rsa = [\"key-encipherment\"]\next_key_usage = [\"client-auth\"]", nil,
			func(t *testing.T, l est.CSRAttrs, w est.Wanted) {
				if w.Key != "" || w.Hash != 0 {
					t.Errorf("one kind of two is demanded: %q", w.Key)
				}
				if len(w.Extensions) != 1 || !w.Extensions[0].ID.Equal(asn1.ObjectIdentifier{2, 5, 29, 37}) {
					t.Errorf("a key usage that depends on the key is demanded: %v", w.Extensions)
				}
			}},
		"subject": {"keys = [\"ecdsa-p256\", \"rsa\"]\nsubject.require = [\"serial_number\", \"organization\"]", nil, func(t *testing.T, l est.CSRAttrs, w est.Wanted) {
			if len(w.Subject) != 2 || !w.Subject[0][0].Type.Equal(asn1.ObjectIdentifier{2, 5, 4, 10}) || w.Subject[1][0].Value != nil {
				t.Errorf("the subject is %v", w.Subject)
			}
			if !l.Has(asn1.ObjectIdentifier{2, 5, 4, 5}) {
				t.Error("who reads no templates does not hear of the serial number")
			}
		}},
		"names": {"keys = [\"ecdsa-p256\", \"rsa\"]\nmin_names = 1", nil, func(t *testing.T, l est.CSRAttrs, w est.Wanted) {
			if len(w.Extensions) != 1 || !w.Extensions[0].ID.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) || w.Extensions[0].Value != nil {
				t.Errorf("the extensions are %v", w.Extensions)
			}
			if _, ok := l.Attribute(est.OIDExtensionRequest); ok {
				t.Error("an extension without value is in an extension request, which RFC 9908 section 3.2 forbids")
			}
		}},
		"linking": {`keys = ["ecdsa-p256", "rsa"]`, func(l *estserver.Label) { l.RequireLinking = true }, func(t *testing.T, l est.CSRAttrs, w est.Wanted) {
			if !w.ChallengePassword || !w.IdentityLinking || !l.Has(est.OIDChallengePassword) || !l.Has(est.OIDIdentityLinking) {
				t.Errorf("linking is not demanded: %v", l)
			}
		}},
		"linking beside a secret": {`keys = ["ecdsa-p256", "rsa"]`, func(l *estserver.Label) { l.RequireLinking, l.ChallengeSecret = true, true }, func(t *testing.T, l est.CSRAttrs, w est.Wanted) {
			if w.ChallengePassword || !w.IdentityLinking {
				t.Errorf("challengePassword, which is a secret here, is demanded for linking: %v", l)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newKeyWorld(t, profileOf(t, c.lines), keyLabel(func(l *estserver.Label) {
				l.Profile, l.Holders = "special", []string{"device"}
				if c.edit != nil {
					c.edit(l)
				}
			}))
			list, wanted := wishes(t, w.client(nil).get("csrattrs"))
			c.check(t, list, wanted)
			// RFC 9908 calls RFC 7030's own example incorrect: no bare curve or hash, and
			// nothing but Extensions in an extension request; strict checks the latter.
			for _, one := range list {
				if one.Values == nil && slices.Contains([]string{"1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35", "2.16.840.1.101.3.4.2.1"}, one.Type.String()) {
					t.Errorf("%s stands alone", one.Type)
				}
			}
		})
	}
}

// TestCSRAttrsNothing: a profile that demands nothing has no list (RFC 7030 §4.5.2).
func TestCSRAttrsNothing(t *testing.T) {
	w := newKeyWorld(t, profileOf(t, `keys = ["ecdsa-p256", "rsa"]`), keyLabel(func(l *estserver.Label) { l.Profile = "special" }))
	if r := w.client(nil).get("csrattrs"); r.StatusCode != http.StatusNoContent || len(r.body) > 0 || r.Header.Get("Content-Length") != "" {
		t.Errorf("%s, %q", r.Status, r.head)
	}
}

// TestCSRAttrsOfMakers: who shows a maker's certificate is told which of its names to
// repeat.
func TestCSRAttrsOfMakers(t *testing.T) {
	device := func(w *keyWorld) *holder {
		return w.maker.device(t, pkix.Name{CommonName: "X 1", SerialNumber: "4711", Organization: []string{"Acme"}}, func(c *x509.Certificate) {
			c.DNSNames, c.EmailAddresses = []string{"x.acme.example"}, []string{"x@acme.example"}
		})
	}
	edit := profileOf(t, "keys = [\"ecdsa-p256\", \"rsa\"]\nmin_names = 1\nsubject.require = [\"serial_number\"]")
	label := keyLabel(func(l *estserver.Label) {
		l.Profile, l.Makers, l.Accept = "special", []string{"acme"}, []estserver.Way{{estserver.ByMaker}}
	})
	w := newKeyWorld(t, edit, label)
	c := w.client(device(w))
	_, wanted := wishes(t, c.get("csrattrs"))
	cert := granted(t, c.post("simpleenroll", obey(t, wanted, est.Request{})))
	if cert.Subject.SerialNumber != "4711" || cert.Subject.CommonName != "" || !slices.Equal(cert.DNSNames, []string{"x.acme.example"}) || len(cert.EmailAddresses) > 0 {
		t.Errorf("the certificate is for %s, %v %v", cert.Subject, cert.DNSNames, cert.EmailAddresses)
	}
	// Where other names may be had, the client says which.
	label.Names = []string{"own", "*.iot.example"}
	w = newKeyWorld(t, edit, label)
	_, wanted = wishes(t, w.client(device(w)).get("csrattrs"))
	if e := wanted.Extensions[0]; e.Value != nil {
		t.Errorf("the names are dictated: %x", e.Value)
	}
}

// TestCSRAttrsOfPolicies: where the label's patterns leave one value, it is dictated to
// who asks, and nothing where they leave several.
func TestCSRAttrsOfPolicies(t *testing.T) {
	edit := profileOf(t, "keys = [\"ecdsa-p256\", \"rsa\"]\nmin_names = 1\nsubject.require = [\"serial_number\"]")
	for name, c := range map[string]struct {
		names, user []string
		ip          bool
		sn, san     string // "": left to the client
	}{
		"fields":      {[]string{"SN={user}", "{user}.iot.example"}, nil, false, "gate-1", "gate-1.iot.example"},
		"the user's":  {[]string{"own"}, []string{"SN=9", "192.0.2.7"}, true, "9", "192.0.2.7"},
		"stars":       {[]string{"SN=*", "*.iot.example"}, nil, false, "", ""},
		"several":     {[]string{"SN=1", "SN=2", "a.example", "b.example"}, nil, false, "", ""},
		"everything":  {[]string{"*"}, nil, false, "", ""},
		"not a name":  {[]string{"SN={cn}"}, nil, false, "", ""},
		"one and any": {[]string{"SN=1", "*"}, nil, false, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newKeyWorld(t, edit, keyLabel(func(l *estserver.Label) {
				l.Profile, l.Holders, l.Names = "special", []string{"device"}, c.names
			}))
			w.standing("gate-1", "secret word", c.user...)
			asker := w.basic("gate-1", "secret word")
			_, wanted := wishes(t, asker.get("csrattrs"))
			sn, san := wanted.Subject[0][0].Value, wanted.Extensions[0].Value
			if (sn != nil) != (c.sn != "") || (san != nil) != (c.san != "") {
				t.Fatalf("serial number %q, names %q", sn, san)
			}
			if c.sn == "" {
				return
			}
			cert := granted(t, asker.post("simpleenroll", obey(t, wanted, est.Request{})))
			if cert.Subject.SerialNumber != c.sn {
				t.Errorf("the serial number is %q", cert.Subject.SerialNumber)
			}
			if c.ip && (len(cert.IPAddresses) != 1 || cert.IPAddresses[0].String() != c.san) || !c.ip && !slices.Equal(cert.DNSNames, []string{c.san}) {
				t.Errorf("the names are %v %v", cert.DNSNames, cert.IPAddresses)
			}
			_, everybody := wishes(t, w.client(nil).get("csrattrs"))
			if strings.Contains(c.names[0], "{user}") && everybody.Subject[0][0].Value != nil {
				t.Errorf("nobody is told %q", everybody.Subject[0][0].Value)
			}
		})
	}
}

// TestCSRAttrsAnybody: neither a wrong certificate nor a wrong password hurts (RFC 7030
// §4.5: the server SHOULD NOT require authentication), and HEAD is answered alike.
func TestCSRAttrsAnybody(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(nil))
	want := w.client(nil).get("csrattrs")
	wishes(t, want)
	stranger := w.maker.device(t, pkix.Name{CommonName: "X"}, nil)
	for name, c := range map[string]*client{"a stranger's certificate": w.client(stranger), "a wrong password": w.basic("a", "b")} {
		if r := c.get("csrattrs"); r.StatusCode != http.StatusOK || !bytes.Equal(r.body, want.body) {
			t.Errorf("%s: %s %s", name, r.Status, r.words())
		}
	}
	if r := w.client(nil).send(http.MethodHead, root+"csrattrs", nil); r.StatusCode != http.StatusOK || len(r.body) > 0 {
		t.Errorf("HEAD: %s", r.Status)
	}
	if r := w.client(nil).post("csrattrs", []byte{0x30, 0}); r.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(r.Header.Get("Allow"), "GET") {
		t.Errorf("POST: %s", r.Status)
	}
}
