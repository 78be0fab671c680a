package est

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"chancery/cms"
)

// vector gives a published message, decoded from the base64 that was printed.
func vector(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	der, err := Decode(text, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func bagOf(t *testing.T, der []byte) []*x509.Certificate {
	t.Helper()
	bag, err := cms.ParseBag(der)
	if err != nil {
		t.Fatal(err)
	}
	var all []*x509.Certificate
	for _, raw := range bag.Certificates {
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// RFC 7030 §A.1: a root with its successor. Its names are no model (RFC 4210 §4.4 wants
// one for all four), so that what it shows is no rollover here.
func TestAppendixA1(t *testing.T) {
	all := bagOf(t, vector(t, "rfc7030-a1-cacerts.b64"))
	var names []string
	for _, c := range all {
		names = append(names, c.Subject.CommonName)
	}
	if len(all) != 4 || names[0] != "estExampleCA OwO" || names[1] != "estExampleCA NwO" || names[2] != "estExampleCA OwN" || names[3] != "estExampleCA NwN" {
		t.Fatalf("got %q", names)
	}
	now := all[0].NotBefore.AddDate(0, 1, 0)
	a, err := Rollover(all[:1], all, now)
	if err != nil || len(a.Added) != 0 {
		t.Errorf("%d roots were added, %v", len(a.Added), err)
	}
}

// RFC 7030 §A.3.
func TestAppendixA3(t *testing.T) {
	p, err := ParseRequest(vector(t, "rfc7030-a3-request.b64"))
	if err != nil {
		t.Fatal(err)
	}
	text, ok, err := p.ChallengePassword()
	if err != nil || !ok || text != "+rrCir/7+EYu50T4" {
		t.Errorf("challengePassword %q, %t, %v", text, ok, err)
	}
	if err := p.CheckSignature(); !Is(err, Unsupported) {
		t.Errorf("SHA-1 counted: %v", err)
	}
	issued := bagOf(t, vector(t, "rfc7030-a3-response.b64"))
	if len(issued) != 1 || !p.PublicKey.(*rsa.PublicKey).Equal(issued[0].PublicKey) {
		t.Error("the certificate is not of the request's key")
	}
}

// RFC 7030 §A.4.
func TestAppendixA4(t *testing.T) {
	p, err := ParseRequest(vector(t, "rfc7030-a4-request.b64"))
	if err != nil {
		t.Fatal(err)
	}
	if text, ok, err := p.ChallengePassword(); err != nil || !ok || text != "dFsAXmJnjokBtDvr" {
		t.Errorf("challengePassword %q, %t, %v", text, ok, err)
	}
	if _, ok, err := p.DecryptKeyIdentifier(); ok || err != nil {
		t.Errorf("a key identifier was found: %v", err)
	}
	body, err := os.ReadFile("testdata/rfc7030-a4-response.txt")
	if err != nil {
		t.Fatal(err)
	}
	parts, err := ParseMultipart("multipart/mixed ; boundary=estServerExampleBoundary", body)
	if err != nil || len(parts) != 2 || parts[0].Media.Type != PKCS8 || parts[1].Media != (Media{Type: PKCS7Mime, SMIMEType: CertsOnly}) {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	key, err := ParseServerKey(parts[0].Body)
	if err != nil {
		t.Fatal(err)
	}
	issued := bagOf(t, parts[1].Body)
	if len(issued) != 1 || !key.Public().(*rsa.PublicKey).Equal(issued[0].PublicKey) {
		t.Error("the key is not the certificate's")
	}
}

// RFC 7030 §4.5.2: the base64 is that of the bytes that are printed beside it.
func TestExampleOfCSRAttributes(t *testing.T) {
	want, err := hex.DecodeString("304106092a864886f70d010907301206072a8648ce3d0201310706052b81040022301606092a864886f70d01090e310906072b0601010101160608" + "2a8648ce3d040303")
	der := vector(t, "rfc7030-4.5.2-csrattrs.b64")
	if err != nil || !bytes.Equal(der, want) {
		t.Fatalf("%x, %v", der, err)
	}
}
