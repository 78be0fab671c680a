package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"chancery/cms"
	"chancery/internal/lint"
)

// floorDirectory names the variable by which this program becomes the bare server: the
// directory in which it leaves what its clients need, and its log.
const floorDirectory = "BENCH_EST_FLOOR"

// floorKind names the variable that says which of the two it is.
const floorKind = "BENCH_EST_KIND"

// bare is the calibration server: CSR, lint, two durable commits, one signature and its
// check, and a client's certificate verified once, as chancery has them, and no policy,
// names, events or status. With plain it does what Go's own functions do for everybody:
// it verifies the client's certificate each time, and signs what it lints.
type bare struct {
	root   *x509.Certificate
	roots  *x509.CertPool
	key    *ecdsa.PrivateKey
	drill  *ecdsa.PrivateKey // signs what is linted
	blank  []byte            // a signature of drill
	lints  *lint.Set
	commit *groupCommit
	plain  bool
	known  sync.Map // clients' certificates that were verified
}

// floor serves until it is told to end.
func floor(dir string) error {
	b, err := newBare(dir)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	own, err := b.certify("localhost")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /.well-known/est/simpleenroll", b.enroll)
	mux.HandleFunc("POST /.well-known/est/simplereenroll", b.enroll)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*own}, ClientAuth: tls.RequestClientCert, DynamicRecordSizingDisabled: true}}
	if err := os.WriteFile(filepath.Join(dir, "address"), []byte(listener.Addr().String()), 0o600); err != nil {
		return err
	}
	return server.ServeTLS(listener, "", "")
}

// newBare makes the authority and leaves its root and one client's certificate and key.
func newBare(dir string) (*bare, error) {
	b := &bare{roots: x509.NewCertPool(), plain: os.Getenv(floorKind) == "plain"}
	var err error
	if b.lints, err = lint.Parse([]string{"rfc"}); err != nil {
		return nil, err
	}
	for _, key := range []**ecdsa.PrivateKey{&b.key, &b.drill} {
		if *key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
	}
	hash := sha256.Sum256(nil)
	if b.blank, err = b.drill.Sign(rand.Reader, hash[:], nil); err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "floor"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, t, t, b.key.Public(), b.key)
	if err != nil {
		return nil, err
	}
	if b.root, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	b.roots.AddCert(b.root)
	if b.commit, err = openGroupCommit(filepath.Join(dir, "journal")); err != nil {
		return nil, err
	}
	client, err := b.certify(device)
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(client.PrivateKey)
	if err != nil {
		return nil, err
	}
	return b, errors.Join(
		writePEM(filepath.Join(dir, "root.pem"), "CERTIFICATE", der),
		writePEM(filepath.Join(dir, "client.pem"), "CERTIFICATE", client.Certificate[0]),
		writePEM(filepath.Join(dir, "client.key"), "PRIVATE KEY", key))
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// certify makes a certificate with a key of its own, for this server and its clients.
func (b *bare) certify(name string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tbs, err := b.practise(pkix.Name{CommonName: name}, []string{name}, key.Public())
	if err != nil {
		return nil, err
	}
	der, err := b.sign(tbs)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// enroll answers simpleenroll and simplereenroll.
func (b *bare) enroll(w http.ResponseWriter, r *http.Request) {
	der, err := b.answer(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	bag, err := cms.Bag{Certificates: [][]byte{der}}.Marshal()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	body := wrapped(bag)
	w.Header().Set("Content-Type", "application/pkcs7-mime; smime-type=certs-only")
	w.Header().Set("Content-Transfer-Encoding", "base64")
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	w.Write(body)
}

func (b *bare) answer(r *http.Request) ([]byte, error) {
	if err := b.admit(r.TLS.PeerCertificates); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	text = bytes.ReplaceAll(text, []byte("\n"), nil)
	in, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return nil, err
	}
	csr, err := x509.ParseCertificateRequest(in)
	if err != nil {
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, err
	}
	tbs, err := b.practise(csr.Subject, csr.DNSNames, csr.PublicKey)
	if err != nil {
		return nil, err
	}
	if err := b.commit.append(tbs); err != nil {
		return nil, err
	}
	der, err := b.sign(tbs)
	if err != nil {
		return nil, err
	}
	return der, b.commit.append(der)
}

// admit verifies a client's certificate.
func (b *bare) admit(chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("no client certificate")
	}
	if _, ok := b.known.Load(string(chain[0].Raw)); ok && !b.plain {
		return nil
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: b.roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err == nil {
		b.known.Store(string(chain[0].Raw), true)
	}
	return err
}

// practise encodes a certificate as under a throw-away key and lints it.
func (b *bare) practise(subject pkix.Name, names []string, key any) ([]byte, error) {
	serial := make([]byte, 16)
	rand.Read(serial)
	serial[0] = serial[0]&0x7f | 0x40
	t := &x509.Certificate{SerialNumber: new(big.Int).SetBytes(serial), Subject: subject, DNSNames: names, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().AddDate(0, 3, 0), KeyUsage: x509.KeyUsageDigitalSignature, AuthorityKeyId: b.root.SubjectKeyId,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	parent := &x509.Certificate{RawSubject: b.root.RawSubject, SubjectKeyId: b.root.SubjectKeyId}
	der, err := b.encode(t, parent, key)
	if err != nil {
		return nil, err
	}
	if _, err := b.lints.Certificate(der); err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return cert.RawTBSCertificate, nil
}

// encode gives the certificate with a signature that counts for nothing.
func (b *bare) encode(t, parent *x509.Certificate, key any) ([]byte, error) {
	if b.plain {
		return x509.CreateCertificate(rand.Reader, t, parent, key, b.drill)
	}
	text := scribe{Signer: b.drill}
	if _, err := x509.CreateCertificate(rand.Reader, t, parent, key, &text); !errors.Is(err, errWritten) {
		return nil, errors.Join(err, errors.New("the certificate cannot be encoded"))
	}
	return assemble(text.tbs, b.blank), nil
}

// scribe keeps the text that it is given to sign.
type scribe struct {
	crypto.Signer
	tbs []byte
}

var errWritten = errors.New("the text is written")

// SignMessage implements [crypto.MessageSigner].
func (s *scribe) SignMessage(_ io.Reader, text []byte, _ crypto.SignerOpts) ([]byte, error) {
	s.tbs = bytes.Clone(text)
	return nil, errWritten
}

// sign signs linted bytes with the real key and checks the signature.
func (b *bare) sign(tbs []byte) ([]byte, error) {
	hash := sha256.Sum256(tbs)
	signature, err := b.key.Sign(rand.Reader, hash[:], nil)
	if err != nil {
		return nil, err
	}
	if !ecdsa.VerifyASN1(&b.key.PublicKey, hash[:], signature) {
		return nil, errors.New("wrong signature")
	}
	return assemble(tbs, signature), nil
}

// groupCommit is a file to which many append and share the disk's work.
type groupCommit struct {
	file  *os.File
	mutex sync.Mutex
	batch *batch
	busy  chan struct{}
}

type batch struct {
	data []byte
	done chan struct{}
	err  error
}

func openGroupCommit(name string) (*groupCommit, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return &groupCommit{file: file, busy: make(chan struct{}, 1)}, err
}

// append returns when the data is on the disk.
func (g *groupCommit) append(data []byte) error {
	g.mutex.Lock()
	mine := g.batch
	first := mine == nil
	if first {
		mine = &batch{done: make(chan struct{})}
		g.batch = mine
	}
	mine.data = append(mine.data, data...)
	g.mutex.Unlock()
	if first {
		g.busy <- struct{}{} // one at the disk, the next batch fills meanwhile
		g.mutex.Lock()
		g.batch = nil
		g.mutex.Unlock()
		if _, mine.err = g.file.Write(mine.data); mine.err == nil {
			mine.err = syscall.Fdatasync(int(g.file.Fd()))
		}
		<-g.busy
		close(mine.done)
	}
	<-mine.done
	return mine.err
}
