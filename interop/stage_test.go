package interop_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// stage is where a library's challenge responses are put up for the validators:
// a web server, a TLS server and the DNS.
type stage struct {
	*world
	mu    sync.Mutex
	certs map[string]*tls.Certificate // by the name that a validator sends
}

// newStage starts both servers.
func newStage(w *world) *stage {
	w.t.Helper()
	s := &stage{world: w, certs: map[string]*tls.Certificate{}}
	w.serveWebroot()
	config := &tls.Config{NextProtos: []string{"acme-tls/1"}, GetCertificate: s.certificate}
	serve(w.t, tls.NewListener(listen(w.t, fmt.Sprintf("127.0.0.1:%d", w.TLSPort)), config), http.NotFoundHandler())
	return s
}

var errNoSuchName = errors.New("no certificate for this name")

func (s *stage) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cert := s.certs[hello.ServerName]; cert != nil {
		return cert, nil
	}
	return nil, errNoSuchName
}

func (s *stage) putCertificate(serverName string, cert *tls.Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.certs[serverName] = cert
}

// putFile puts a key authorization where http-01 looks.
func (s *stage) putFile(path, text string) error {
	return os.WriteFile(filepath.Join(s.webroot, filepath.FromSlash(path)), []byte(text), 0o600)
}

func ecKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// request makes a CSR for names and addresses.
func request(t *testing.T, key crypto.Signer, names ...string) []byte {
	t.Helper()
	template := &x509.CertificateRequest{}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

// quick is a wait before another try.
func quick(int, *http.Request, *http.Response) time.Duration { return 5 * time.Millisecond }
