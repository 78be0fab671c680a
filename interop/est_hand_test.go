package interop_test

import (
	"crypto"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/cms"
	"chancery/est"
)

// TestESTByHand does by curl and OpenSSL what RFC 7030's appendix shows and what its text
// says of errors. curl cannot link a request to the connection: it tells nobody its
// channel binding; Bouncy Castle and libest do that.
func TestESTByHand(t *testing.T) {
	lab := newESTLab(t, estServer)
	on := func(do func(*testing.T, *estLab)) func(*testing.T) {
		return func(t *testing.T) { do(t, lab.on(t)) }
	}
	t.Run("cacerts", on(handCACerts))
	t.Run("csrattrs", on(handAttributes))
	t.Run("Digest", on(handDigest))
	t.Run("one-time password", on(handOneTime))
	t.Run("serverkeygen", on(handKeys))
	t.Run("sealed keys", on(handSealedKeys))
	t.Run("large bodies", on(handLarge))
	t.Run("wrong requests", on(handWrong))
	t.Run("certificates", on(handCertificates))
	t.Run("TLS", on(handTLS))
}

func handCACerts(t *testing.T, l *estLab) {
	if c := l.get("cacerts", "--http2").is(t, http.StatusOK); c.version != "2" {
		t.Errorf("HTTP %s was spoken, not 2", c.version)
	}
	// A wrong password and a stranger's certificate do not hurt (RFC 7030 §4.1.1).
	l.idevid("nobody", nil)
	l.get("cacerts", "-u", "nobody:wrong", "--cert", "nobody.pem", "--key", "nobody.key").certs(t)
	for label, want := range map[string]bool{"": true, "manual/": true, "nowhere/": false} {
		if c := l.get(label + "cacerts"); (c.status == http.StatusOK) != want {
			t.Errorf("label %q: HTTP %d", label, c.status)
		}
	}
	wrapped, bare := l.get("cacerts"), l.get("cacerts", "-H", "User-Agent:")
	if lines := strings.Split(wrapped.body, "\n"); len(lines) < 3 || len(lines[0]) != 64 {
		t.Errorf("who names a User-Agent gets lines of %d", len(lines[0]))
	}
	if strings.Contains(strings.TrimSpace(bare.body), "\n") || strings.Join(strings.Fields(wrapped.body), "") != strings.TrimSpace(bare.body) {
		t.Errorf("who names none gets %q", bare.body)
	}
	for _, root := range l.above() {
		l.write("one.pem", encodePEM(root))
		l.ssl("verify", "-CAfile", l.root, "-no-CApath", "-partial_chain", "one.pem")
	}
}

func handAttributes(t *testing.T, l *estLab) {
	c := l.get("bound/csrattrs").is(t, http.StatusOK)
	if kind := c.field("Content-Type"); len(kind) != 1 || kind[0] != "application/csrattrs" {
		t.Errorf("Content-Type is %q", kind)
	}
	l.write("attrs.b64", c.body)
	l.ssl("base64", "-d", "-A", "-in", l.flat("attrs.b64"), "-out", "attrs.der")
	said := l.ssl("asn1parse", "-inform", "DER", "-in", "attrs.der")
	for _, want := range []string{"challengePassword", "1.2.840.113549.1.9.16.2.58"} {
		if !strings.Contains(said, want) && !strings.Contains(said, "id-smime-aa-58") {
			t.Errorf("a label that demands linking does not ask for %s:\n%s", want, said)
		}
	}
}

func handDigest(t *testing.T, l *estLab) {
	l.request("digest")
	c := l.post("simpleenroll", "digest").is(t, http.StatusUnauthorized)
	// The field's name as libest compares it; MD5 first, without a word of it, as Bouncy
	// Castle reads it; an empty body, which it closes unread.
	ways := c.field("WWW-Authenticate")
	if len(ways) != 2 || !strings.HasPrefix(ways[0], `Digest qop="auth", realm="estrealm", nonce="`) || strings.Contains(ways[0], "algorithm") ||
		!strings.HasSuffix(ways[1], ", algorithm=SHA-256") || c.body != "" {
		t.Errorf("challenged by %q with the body %q", ways, c.body)
	}
	c = l.post("simpleenroll", "digest", "--digest", "-v", "-u", estUser+":"+estPassword).certs(t)
	if !strings.Contains(c.said, "algorithm=SHA-256") {
		t.Errorf("curl did not take the stronger algorithm:\n%s", c.said)
	}
	l.unwrap(c.body, "digest")
	l.sound("digest.pem", "digest.key", "digest.iot.example")
	l.post("simpleenroll", "digest", "--digest", "-u", estUser+":wrong").is(t, http.StatusUnauthorized)
}

// An empty user name and a password that is good for one certificate (RFC 7030 §3.2.3, §6).
func handOneTime(t *testing.T, l *estLab) {
	password := l.oneTime("--name", "*.iot.example")
	l.request("once1")
	l.post("simpleenroll", "once1", "-u", ":"+"not"+password).is(t, http.StatusUnauthorized)
	l.unwrap(l.post("simpleenroll", "once1", "-u", ":"+password).certs(t).body, "once1")
	l.sound("once1.pem", "once1.key", "once1.iot.example")
	// The same request again, whose answer may have been lost, gets the same certificate.
	l.unwrap(l.post("simpleenroll", "once1", "-u", ":"+password).certs(t).body, "once2")
	if !l.read("once1.pem").Equal(l.read("once2.pem")) {
		t.Error("the password got two certificates")
	}
	l.request("once3")
	if c := l.post("simpleenroll", "once3", "-u", ":"+password); c.status < 400 || c.status >= 500 {
		t.Errorf("a password that is spent gives HTTP %d: %s", c.status, c.body)
	}
}

// taken takes an answer to serverkeygen apart with another's reader of multipart, and
// leaves NAME.pem and the first part's DER in NAME.part, whose media type it gives.
func (l *estLab) taken(t *testing.T, name string, c curlSaid) string {
	t.Helper()
	c.is(t, http.StatusOK)
	kind, with, err := mime.ParseMediaType(strings.Join(c.field("Content-Type"), ","))
	if err != nil || kind != "multipart/mixed" || len(c.field("Content-Transfer-Encoding")) != 0 {
		t.Fatalf("%v\n%s", err, c.head)
	}
	parts := multipart.NewReader(strings.NewReader(c.body), with["boundary"])
	var kinds []string
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part)
		if err != nil || part.Header.Get("Content-Transfer-Encoding") != "base64" {
			t.Fatalf("%v, %v", err, part.Header)
		}
		if len(kinds) == 0 {
			l.write(name+".part.b64", string(body))
			l.ssl("base64", "-d", "-A", "-in", l.flat(name+".part.b64"), "-out", name+".part")
		} else {
			l.unwrap(string(body), name)
		}
		kinds = append(kinds, part.Header.Get("Content-Type"))
	}
	if len(kinds) != 2 || kinds[1] != "application/pkcs7-mime; smime-type=certs-only" {
		t.Fatalf("the parts are %q", kinds)
	}
	return kinds[0]
}

func handKeys(t *testing.T, l *estLab) {
	l.request("made")
	// RFC 7030 A.4 has the client wait for 100 Continue. Its signature counts for nothing.
	c := l.post("serverkeygen", "made", "-H", "Expect: 100-continue", "-u", estUser+":"+estPassword)
	if !strings.HasPrefix(c.head, "HTTP/1.1 100 Continue") {
		t.Errorf("no 100 Continue came:\n%s", c.head)
	}
	if kind := l.taken(t, "made", c); kind != "application/pkcs8" {
		t.Errorf("the key is %q", kind)
	}
	l.ssl("pkcs8", "-nocrypt", "-inform", "DER", "-in", "made.part", "-out", "made.own.key")
	l.sound("made.pem", "made.own.key", "made.iot.example")
	l.request("sealed")
	l.post("sealed/serverkeygen", "sealed", "-u", estUser+":"+estPassword).says(t, http.StatusForbidden, "encrypted")
}

// Keys that are encrypted besides TLS, opened by OpenSSL (RFC 7030 §4.4.2): by a shared
// key, to an RSA key and to one on a curve.
func handSealedKeys(t *testing.T, l *estLab) {
	const id, secret = "0011aabb", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	l.chancery(secret+"\n", "est", "key", "add", "--symmetric", "--id", id)
	octets, err := hex.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := hex.DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	l.sealed(t, "shared", cms.Secret(shared), est.DecryptKeyIdentifier(octets), "-secretkey", secret, "-secretkeyid", id)
	for name, how := range map[string][]string{
		"rsa": {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"}, "curve": {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"},
	} {
		l.ssl(append([]string{"genpkey", "-out", name + ".own"}, how...)...)
		l.ssl("req", "-x509", "-new", "-key", name+".own", "-subj", "/CN="+name, "-days", "30", "-out", name+".cert")
		l.chancery("", "est", "key", "add", name+".cert")
		cert := l.read(name + ".cert")
		sum := sha1.Sum(cert.RawSubjectPublicKeyInfo[len(cert.RawSubjectPublicKeyInfo)-len(publicBits(t, cert)):])
		l.sealed(t, name, cert.PublicKey, est.AsymmetricDecryptKeyIdentifier(sum[:]), "-recip", name+".cert", "-inkey", name+".own")
	}
	l.ordered(t, "unknown", cms.Secret(shared), est.DecryptKeyIdentifier([]byte{9, 9}))
	l.post("serverkeygen", "unknown", "-u", estUser+":"+estPassword).says(t, http.StatusForbidden, "0909", "not known")
}

// publicBits is what a subject key identifier is the hash of (RFC 5280 §4.2.1.2).
func publicBits(t *testing.T, cert *x509.Certificate) []byte {
	t.Helper()
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(cert.RawSubjectPublicKeyInfo, &info); err != nil {
		t.Fatal(err)
	}
	return info.Key.Bytes
}

// ordered writes NAME.b64, a request that names a key to encrypt with.
func (l *estLab) ordered(t *testing.T, name string, key any, names cms.Attribute) {
	t.Helper()
	able, err := cms.CapabilitiesOf(key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := able.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	order := est.Request{SubjectName: pkix.Name{CommonName: name + ".iot.example"}, DNSNames: []string{name + ".iot.example"},
		Attributes: []cms.Attribute{names, est.SMIMECapabilities(der)}}
	csr, err := order.Sign(ecKey(t), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	l.write(name+".b64", base64.StdEncoding.EncodeToString(csr))
}

// sealed has a key made, and OpenSSL decrypt it, check who signed it, and find it to be
// the certificate's.
func (l *estLab) sealed(t *testing.T, name string, key any, names cms.Attribute, open ...string) {
	t.Helper()
	l.ordered(t, name, key, names)
	kind := l.taken(t, name, l.post("sealed/serverkeygen", name, "-u", estUser+":"+estPassword))
	if kind != "application/pkcs7-mime; smime-type=server-generated-key" {
		t.Errorf("%s: the key is %q", name, kind)
	}
	l.ssl(append([]string{"cms", "-decrypt", "-inform", "DER", "-in", name + ".part", "-out", name + ".signed"}, open...)...)
	// What was encrypted is the SignedData without its ContentInfo (RFC 5652 §6.1, by its
	// contentType), so it gets one for OpenSSL.
	inner, err := cms.ContentInfo{Type: cms.OIDSignedData, Content: []byte(l.text(name + ".signed"))}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	l.write(name+".wrapped", string(inner))
	l.ssl("cms", "-verify", "-inform", "DER", "-in", name+".wrapped", "-CAfile", l.root, "-purpose", "any", "-out", name+".package")
	var keys []asn1.RawValue
	if rest, err := asn1.Unmarshal([]byte(l.text(name+".package")), &keys); err != nil || len(rest) > 0 || len(keys) != 1 {
		t.Fatalf("%s: %d keys, %v", name, len(keys), err)
	}
	l.write(name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keys[0].FullBytes})))
	l.sound(name+".pem", name+".key", name+".iot.example")
}

// A body that is too long is refused in words, whether or not the client asked first, and
// on a connection that it has to close.
func handLarge(t *testing.T, l *estLab) {
	l.write("large.b64", strings.Repeat("A", 300<<10))
	user := []string{"-u", estUser + ":" + estPassword}
	l.post("simpleenroll", "large", user...).says(t, http.StatusRequestEntityTooLarge, "too long")
	l.post("simpleenroll", "large", append(user, "-H", "Expect: 100-continue")...).says(t, http.StatusRequestEntityTooLarge, "too long")
	l.post("simpleenroll", "large", append(user, "-H", "Transfer-Encoding: chunked")...).says(t, http.StatusRequestEntityTooLarge, "too long")
	l.request("chunked")
	l.post("simpleenroll", "chunked", append(user, "-H", "Transfer-Encoding: chunked")...).certs(t)
	l.post("simpleenroll", "chunked", append(user, "-H", "Expect: 100-continue")...).certs(t)
}

func handWrong(t *testing.T, l *estLab) {
	l.request("fine")
	user := []string{"-u", estUser + ":" + estPassword}
	l.get("simpleenroll", append(user, "-H", "Content-Type: text/plain", "--data-binary", "@fine.b64")...).says(t, http.StatusUnsupportedMediaType, "application/pkcs10")
	l.get("simpleenroll", append(user, "-H", "Content-Type: APPLICATION/PKCS10; x=\"y\"", "--data-binary", "@fine.b64")...).certs(t)
	for path, allow := range map[string]string{"simpleenroll": "POST", "cacerts": "GET, HEAD", "csrattrs": "GET, HEAD"} {
		c := l.get(path, "-X", "DELETE")
		c.says(t, http.StatusMethodNotAllowed, "method")
		if got := c.field("Allow"); len(got) != 1 || got[0] != allow {
			t.Errorf("%s: Allow is %q, want %q", path, got, allow)
		}
	}
	l.get("nowhere/cacerts").says(t, http.StatusNotFound, "nowhere")
	l.post("sealed/simpleenroll", "fine", user...).says(t, http.StatusNotImplemented, "not offered")
	l.write("broken.b64", "bm90IGEgcmVxdWVzdA==")
	l.post("simpleenroll", "broken", user...).says(t, http.StatusBadRequest)
	l.write("empty.b64", "")
	l.post("simpleenroll", "empty", user...).says(t, http.StatusBadRequest, "empty")
	l.requestAs("other", "gw", "-subj", "/CN=gw.other.example")
	l.post("simpleenroll", "other", user...).says(t, http.StatusForbidden, "gw.other.example")
	l.post("bound/simpleenroll", "fine", user...).says(t, http.StatusForbidden, "linking is required", "challengePassword")
}

// Certificates that do not count get words and no alert (RFC 7030 §3.3.2).
func handCertificates(t *testing.T, l *estLab) {
	by := func(name string) []string { return []string{"--cert", name + ".pem", "--key", name + ".key"} }
	l.idevid("box", nil)
	l.idevid("late", func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	})
	stranger := *l
	stranger.works = newSealer(t, "Works") // of the same name
	stranger.idevid("stranger", nil)

	l.request("box1")
	l.unwrap(l.post("certified/simpleenroll", "box1", by("box")...).certs(t).body, "box1")
	l.sound("box1.pem", "box1.key", "box1.iot.example")
	l.post("certified/simpleenroll", "box1", by("late")...).says(t, http.StatusForbidden, "expired")
	l.post("certified/simpleenroll", "box1", by("stranger")...).says(t, http.StatusForbidden, "certificate")
	l.post("simpleenroll", "box1", by("box")...).is(t, http.StatusUnauthorized) // another label's makers
	l.post("certified/simpleenroll", "box1").says(t, http.StatusForbidden, "certificate")
	l.post("certified/simplereenroll", "box1", by("box1")...).certs(t)
	l.requestAs("box2", "box2")
	l.post("certified/simplereenroll", "box2", by("box1")...).says(t, http.StatusForbidden)

	l.revoke("box1.pem")
	l.post("certified/simplereenroll", "box1", by("box1")...).says(t, http.StatusForbidden, "revoked")
	l.revoked(l.splitPEM(append(encode([]*x509.Certificate{l.read("box1.pem")}), encode(l.aboveOf(l.read("box1.pem")))...)), "keyCompromise")
}

// handTLS has OpenSSL offer what is refused.
func handTLS(t *testing.T, l *estLab) {
	client := func(port int, in string, args ...string) (string, error) {
		cmd := append([]string{"s_client", "-connect", l.at(port), "-CAfile", l.root, "-verify_return_error"}, args...)
		return l.fed(in, cmd...)
	}
	for version, fits := range map[string][2]bool{"-tls1_3": {true, false}, "-tls1_2": {true, true}, "-tls1_1": {}, "-tls1": {}} {
		for i, port := range []int{l.port, l.v2} {
			said, err := client(port, "Q\n", version, "-cipher", "ALL:@SECLEVEL=0")
			if (err == nil) != fits[i] {
				t.Errorf("%s at listener %d: %v\n%s", version, i, err, said)
			}
			if fits[i] && !strings.Contains(said, "Acceptable client certificate CA names") && !strings.Contains(said, "No client certificate CA names sent") {
				t.Errorf("%s: no certificate was requested:\n%s", version, said)
			}
		}
	}
	for _, suites := range []string{"3DES", "NULL", "aNULL", "RC4:EXPORT:DES", "AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "DHE"} {
		if said, err := client(l.port, "Q\n", "-tls1_2", "-cipher", suites+":@SECLEVEL=0"); err == nil {
			t.Errorf("%s is taken:\n%s", suites, said)
		}
	}
	// "R" has s_client renegotiate.
	if said, err := client(l.port, "R\n", "-tls1_2"); err == nil || !strings.Contains(said, "RENEGOTIATING") || !strings.Contains(said, "alert") {
		t.Errorf("renegotiation: %v\n%s", err, said)
	}
}
