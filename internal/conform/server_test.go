package conform

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"chancery/cms"
	"chancery/est"
)

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newPair(t testing.TB, template *x509.Certificate, by *pair) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return certifyFor(t, template, &pair{key: key}, by)
}

// certifyFor certifies a key that is there.
func certifyFor(t testing.TB, template *x509.Certificate, of, by *pair) *pair {
	t.Helper()
	template.SerialNumber = new(big.Int).SetBytes(random(12))
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	if by == nil {
		by = &pair{template, of.key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, of.key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &pair{cert, of.key}
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotAfter: time.Now().Add(48 * time.Hour),
	}
}

// answer is what the little server is about to send.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	split   bool // in two records, without a length
	records bool // in two records
}

// little is a server that does what RFC 7030 says, and less of it by its faults.
type little struct {
	t                     testing.TB
	root, issuing, server *pair
	bag                   []*x509.Certificate
	faults                map[string]bool
	change                func(*http.Request, *answer)
	config                *tls.Config
}

const (
	littleUser = "u"
	littleWord = "correct horse"
)

func newLittle(t testing.TB) *little {
	l := &little{t: t, faults: map[string]bool{}}
	l.root = newPair(t, caTemplate("Root"), nil)
	l.issuing = newPair(t, caTemplate("Issuing"), l.root)
	l.server = newPair(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "server"}, DNSNames: []string{"localhost"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, l.issuing)
	l.bag = []*x509.Certificate{l.root.cert, l.issuing.cert}
	l.config = &tls.Config{
		ClientAuth: tls.RequestClientCert, DynamicRecordSizingDisabled: true,
		Certificates: []tls.Certificate{{Certificate: [][]byte{l.server.cert.Raw, l.issuing.cert.Raw}, PrivateKey: l.server.key}},
	}
	return l
}

// start serves on a port and gives the URL. wrap, if there is one, stands before TLS.
func (l *little) start(wrap func(net.Listener) net.Listener) string {
	s := httptest.NewUnstartedServer(l)
	s.EnableHTTP2 = true
	s.TLS = l.config
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if l.faults["false-h2"] {
		s.EnableHTTP2 = false
		s.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		s.TLS.NextProtos = []string{"h2"}
	}
	if wrap != nil {
		s.Listener = wrap(s.Listener)
	}
	s.StartTLS()
	l.t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		l.t.Fatal(err)
	}
	return "https://localhost:" + port
}

func (l *little) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &answer{status: 200, header: http.Header{}}
	if l.faults["hasty"] && r.Method == "POST" {
		w.Header().Set("Connection", "close")
		w.WriteHeader(401)
		_ = http.NewResponseController(w).Flush()
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.Close()
		}
		return
	}
	if r.Header.Get("Expect") != "" && l.faults["no-continue"] {
		w.WriteHeader(417)
		return
	}
	l.answer(r, a)
	if l.change != nil {
		l.change(r, a)
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	if a.split || a.records {
		if a.records {
			w.Header().Set("Content-Length", fmt.Sprint(len(a.body)))
		}
		w.WriteHeader(a.status)
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(a.body[:len(a.body)/2])
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(a.body[len(a.body)/2:])
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

func (a *answer) refuse(status int, text string) {
	a.status, a.body = status, []byte(text+"\n")
	a.header.Set("Content-Type", "text/plain")
}

func (a *answer) send(media string, der []byte) {
	a.header.Set("Content-Type", media)
	a.header.Set("Content-Transfer-Encoding", "base64")
	a.body = est.Encode(der, est.Wrapped)
}

func (l *little) wrapped(certs ...*x509.Certificate) []byte {
	var raw [][]byte
	for _, c := range certs {
		raw = append(raw, c.Raw)
	}
	der, err := cms.Bag{Certificates: raw}.Marshal()
	if err != nil {
		l.t.Error(err)
	}
	return der
}

func (l *little) answer(r *http.Request, a *answer) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	r.Body = io.NopCloser(bytes.NewReader(body)) // for those who change the answer
	label, op, err := est.ParsePath(r.URL.EscapedPath())
	post := op != est.CACerts && op != est.CSRAttributes
	switch {
	case err != nil || label != "":
		a.refuse(404, "there is nothing here")
	case post && r.Method != "POST":
		a.header.Set("Allow", "POST")
		a.refuse(405, "this takes POST")
	case !post && r.Method != "GET" && r.Method != "HEAD":
		a.header.Set("Allow", "GET, HEAD")
		a.refuse(405, "this takes GET")
	case op == est.CACerts:
		a.send("application/pkcs7-mime", l.wrapped(l.bag...))
	case op == est.CSRAttributes:
		l.csrattrs(a)
	case op == est.FullCMC:
		a.refuse(400, "this is no Full PKI Request")
	default:
		l.enrol(r, op, body, a)
	}
}

func (l *little) csrattrs(a *answer) {
	list, err := est.Demand{Key: "ecdsa-p256", Template: true}.CSRAttrs()
	if err != nil {
		l.t.Error(err)
	}
	list = append(list, est.AttrOrOID{Type: est.OIDIdentityLinking})
	der, err := list.Marshal()
	if err != nil {
		l.t.Error(err)
	}
	a.send(est.CSRAttrsType, der)
}

// who gives the certificate that authenticates, and whether anything does.
func (l *little) who(r *http.Request) (*x509.Certificate, bool) {
	if shown := r.TLS.PeerCertificates; len(shown) > 0 {
		_, err := shown[0].Verify(x509.VerifyOptions{Roots: pool([]*x509.Certificate{l.root.cert}), Intermediates: pool(l.bag), KeyUsages: anyUse})
		if err == nil || l.faults["any-certificate"] {
			return shown[0], true
		}
	}
	user, word, ok := r.BasicAuth()
	return nil, ok && (user == littleUser && word == littleWord || l.faults["any-password"]) || l.faults["nobody"]
}

func (l *little) enrol(r *http.Request, op est.Operation, body []byte, a *answer) {
	shown, ok := l.who(r)
	if !ok {
		a.status = 401
		a.header["WWW-Authenticate"] = []string{`Basic realm="little"`}
		return
	}
	media, _ := est.ParseMedia(r.Header.Get("Content-Type"))
	if media.Type != est.PKCS10 {
		a.refuse(415, "send application/pkcs10")
		return
	}
	der, err := est.Decode(body, 40<<10)
	if est.Is(err, est.TooLarge) {
		a.refuse(413, "that is too much")
		return
	}
	if l.faults["swallow"] {
		a.send("application/pkcs7-mime; smime-type=certs-only", l.wrapped(l.bag...))
		return
	}
	p, parseErr := est.ParseRequest(der)
	if err != nil || parseErr != nil {
		a.refuse(400, "that is no request")
		return
	}
	if op != est.ServerKeyGen || l.faults["strict-keygen"] {
		if err := p.CheckSignature(); err != nil && !l.faults["no-proof"] {
			a.refuse(400, "the signature is wrong")
			return
		}
	}
	if err := l.linked(r, p); err != nil && !l.faults["unlinked"] {
		a.refuse(403, "the linking to the connection is wrong")
		return
	}
	if op == est.SimpleReenroll && !l.faults["any-names"] && (shown == nil || !bytes.Equal(shown.RawSubject, p.RawSubject) || !bytes.Equal(sanOf(shown), p.SAN())) {
		a.refuse(403, "these are not the names of your certificate")
		return
	}
	l.issue(op, p, a)
}

func (l *little) linked(r *http.Request, p *est.Parsed) error {
	b, err := est.BindingOf(r.TLS)
	if err != nil {
		return err
	}
	for _, get := range []func() (string, bool, error){p.ChallengePassword, p.IdentityLinking} {
		if text, ok, err := get(); err != nil || ok && !b.Matches(text) {
			return fmt.Errorf("not linked: %w", err)
		}
	}
	return nil
}

func (l *little) issue(op est.Operation, p *est.Parsed, a *answer) {
	if l.faults["pending"] {
		a.refuse(202, "wait")
		a.header.Set("Retry-After", "60")
		return
	}
	template := &x509.Certificate{RawSubject: p.RawSubject, KeyUsage: x509.KeyUsageDigitalSignature}
	if p.SAN() != nil {
		template.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 17}, Value: p.SAN()}}
	}
	if op != est.ServerKeyGen {
		template.SerialNumber = new(big.Int).SetBytes(random(12))
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
		public := p.PublicKey
		if l.faults["other-key"] {
			public = l.server.key.Public()
		}
		if l.faults["other-names"] || l.faults["other-names-later"] && op == est.SimpleReenroll {
			template.RawSubject, template.ExtraExtensions = nil, nil
		}
		if l.faults["expired"] {
			template.NotAfter = time.Now().Add(-time.Second)
		}
		by := l.issuing
		if l.faults["other-issuer"] {
			by = newPair(l.t, caTemplate("Elsewhere"), l.root)
		}
		der, err := x509.CreateCertificate(rand.Reader, template, by.cert, public, by.key)
		if err != nil {
			l.t.Error(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			l.t.Error(err)
		}
		a.send("application/pkcs7-mime; smime-type=certs-only", l.wrapped(cert))
		return
	}
	if _, has, _ := p.DecryptKeyIdentifier(); has && !l.faults["plain-instead"] {
		a.refuse(403, "that key is not known")
		return
	}
	made := newPair(l.t, template, l.issuing)
	key := made.key
	if l.faults["unfit-key"] {
		key = l.server.key
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		l.t.Error(err)
	}
	if l.faults["sec1"] {
		der, err = x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
		if err != nil {
			l.t.Error(err)
		}
	}
	parts := []est.Part{
		{Media: est.Media{Type: est.PKCS8}, Body: der},
		{Media: est.Media{Type: est.PKCS7Mime, SMIMEType: est.CertsOnly}, Body: l.wrapped(made.cert)},
	}
	if l.faults["cert-first"] {
		parts[0], parts[1] = parts[1], parts[0]
	}
	if l.faults["three-parts"] {
		parts = append(parts, parts[1])
	}
	if l.faults["bare-part"] {
		parts[1].Media.SMIMEType = ""
	}
	media, body := est.Multipart(parts...)
	a.header.Set("Content-Type", media)
	a.body = body
}

// before is a listener that looks at the first octets of a connection.
type before struct {
	net.Listener
	take func(first []byte, c net.Conn) bool // true: the connection is served
}

// Accept passes on what is not taken.
func (b *before) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		first := make([]byte, 44)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := io.ReadFull(c, first)
		_ = c.SetReadDeadline(time.Time{})
		if err == nil && b.take(first[:n], c) {
			go func() { // what was not read would reset the connection
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}()
			continue
		}
		return &prefixed{c, io.MultiReader(bytes.NewReader(first[:n]), c)}, nil
	}
}

type prefixed struct {
	net.Conn
	all io.Reader
}

// Read gives what was looked at first.
func (p *prefixed) Read(b []byte) (int, error) { return p.all.Read(b) }

// agreeable answers every ClientHello of the suite's own making with what it asks for.
func agreeable(l net.Listener) net.Listener {
	return &before{l, func(first []byte, c net.Conn) bool {
		if first[0] != 22 || first[43] != 0 { // a session id: crypto/tls
			return false
		}
		rest := make([]byte, 4)
		if _, err := io.ReadFull(c, rest); err != nil {
			return true
		}
		hello := append([]byte{2, 0, 0, 38, first[9], first[10]}, random(32)...)
		hello = append(hello, 0, rest[2], rest[3], 1)
		_, _ = c.Write(append([]byte{22, first[9], first[10], 0, byte(len(hello))}, hello...))
		return true
	}}
}

// openDoor answers whatever comes without TLS.
func openDoor(l net.Listener) net.Listener {
	return &before{l, func(first []byte, c net.Conn) bool {
		if !strings.HasPrefix(string(first), "GET ") {
			return false
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return true
	}}
}

// startRude serves with a server that knows little of HTTP: it takes whatever comes for
// a request, field names with capitals only, and ends each connection.
func (l *little) startRude() string {
	listener, err := tls.Listen("tcp", "127.0.0.1:0", l.config)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go l.rudely(c.(*tls.Conn))
		}
	}()
	return fmt.Sprintf("https://localhost:%d", listener.Addr().(*net.TCPAddr).Port)
}

func (l *little) rudely(c *tls.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	first := make([]byte, 64<<10)
	n, _ := c.Read(first)
	r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader(first[:n]), c)))
	to := httptest.NewRecorder()
	switch {
	case err != nil:
		to.WriteHeader(200)
	case bytes.Contains(first[:n], []byte("content-type:")):
		to.WriteHeader(415)
	default:
		cs := c.ConnectionState()
		r.TLS = &cs
		l.ServeHTTP(to, r)
	}
	fmt.Fprintf(c, "HTTP/1.1 %d Rude\r\nConnection: close\r\n", to.Code)
	for name, values := range to.Header() {
		if name != "Content-Length" {
			fmt.Fprintf(c, "%s: %s\r\n", name, values[0])
		}
	}
	fmt.Fprintf(c, "Content-Length: %d\r\n\r\n%s", to.Body.Len(), to.Body)
}
