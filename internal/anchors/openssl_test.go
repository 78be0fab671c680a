package anchors_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/internal/anchors"
	"chancery/internal/peertest"
	"chancery/internal/porttest"
)

// openssl is a maker's authority as OpenSSL's command keeps one.
type openssl struct {
	t       *testing.T
	program string
	dir     string
}

const opensslConfig = `[ca]
default_ca = maker
[maker]
dir = .
new_certs_dir = .
database = index.txt
serial = serial
crlnumber = crlnumber
certificate = middle.pem
private_key = middle.key
default_md = sha256
default_crl_days = 1
policy = policy
unique_subject = no
[policy]
serialNumber = supplied
[req]
distinguished_name = dn
[dn]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[middle]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[idevid]
keyUsage = critical,digitalSignature
authorityKeyIdentifier = keyid
subjectAltName = critical,otherName:1.3.6.1.5.5.7.8.4;SEQUENCE:module
[module]
type = OID:1.3.6.1.4.1.99999.1
serial = FORMAT:HEX,OCTETSTRING:0001ff
[responder]
extendedKeyUsage = OCSPSigning
authorityKeyIdentifier = keyid
`

func (o *openssl) run(args ...string) {
	o.t.Helper()
	cmd := exec.Command(o.program, args...)
	cmd.Dir = o.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		o.t.Fatalf("openssl %v: %v\n%s", args, err, out)
	}
}

func (o *openssl) write(name, text string) {
	o.t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, name), []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
}

func (o *openssl) certificate(name string) *x509.Certificate {
	o.t.Helper()
	text, err := os.ReadFile(filepath.Join(o.dir, name))
	if err != nil {
		o.t.Fatal(err)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				o.t.Fatal(err)
			}
			return cert
		}
	}
	o.t.Fatalf("no certificate in %s", name)
	return nil
}

// newMaker makes a root, an authority below it that "openssl ca" keeps, and a responder.
func newMaker(t *testing.T) *openssl {
	o := &openssl{t, peertest.Need(t, "openssl"), t.TempDir()}
	o.write("openssl.cnf", opensslConfig)
	o.write("index.txt", "")
	o.write("serial", "01\n")
	o.write("crlnumber", "01\n")
	ec := []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", "openssl.cnf"}
	o.run(append([]string{"req", "-x509", "-subj", "/O=Maker/CN=Root", "-days", "9000", "-extensions", "root", "-keyout", "root.key", "-out", "root.pem"}, ec...)...)
	o.run(append([]string{"req", "-new", "-subj", "/O=Maker/CN=Middle", "-keyout", "middle.key", "-out", "middle.csr"}, ec...)...)
	o.run("x509", "-req", "-in", "middle.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "9000", "-extfile", "openssl.cnf", "-extensions", "middle", "-out", "middle.pem")
	o.issue("responder", "responder", "20401231235959Z")
	return o
}

// issue has "openssl ca" issue NAME.pem.
func (o *openssl) issue(name, extensions, end string) *x509.Certificate {
	o.t.Helper()
	o.run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", "openssl.cnf", "-subj", "/serialNumber="+name, "-keyout", name+".key", "-out", name+".csr")
	o.run("ca", "-batch", "-config", "openssl.cnf", "-extensions", extensions, "-enddate", end, "-in", name+".csr", "-out", name+".pem")
	return o.certificate(name + ".pem")
}

const forLife = "99991231235959Z"

func judge(s *anchors.Set, chain ...*x509.Certificate) (anchors.Kind, error) {
	err := s.Verify(context.Background(), chain, time.Now())
	if known, ok := errors.AsType[*anchors.Error](err); ok {
		return known.Kind, err
	}
	return "", err
}

// IDevIDs that OpenSSL made, with the CRL that it made.
func TestOpenSSLIDevIDs(t *testing.T) {
	o := newMaker(t)
	good, bad := o.issue("SN-1", "idevid", forLife), o.issue("SN-2", "idevid", forLife)
	if good.NotAfter.Year() != 9999 || len(good.UnhandledCriticalExtensions) != 1 || len(good.ExtKeyUsage) != 0 {
		t.Fatalf("this is no IDevID as makers ship them: until %s, %v", good.NotAfter, good.UnhandledCriticalExtensions)
	}
	root, middle := o.certificate("root.pem"), o.certificate("middle.pem")
	o.run("ca", "-config", "openssl.cnf", "-revoke", "SN-2.pem", "-crl_reason", "keyCompromise")
	o.run("ca", "-config", "openssl.cnf", "-gencrl", "-out", "middle.crl")
	// The root's own CRL, by the same command: its database is empty.
	o.write("root.txt", "")
	o.run("ca", "-config", "openssl.cnf", "-cert", "root.pem", "-keyfile", "root.key", "-gencrl", "-out", "root.crl", "-name", "maker")
	config := anchors.Config{Name: "maker", Roots: []*x509.Certificate{root}, Revocation: anchors.CRL,
		CRLs: []string{"file:" + filepath.Join(o.dir, "middle.crl"), "file:" + filepath.Join(o.dir, "root.crl")}}
	s, err := anchors.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if kind, err := judge(s, good, middle); err != nil {
		t.Errorf("the good one: %s, %v", kind, err)
	}
	if kind, err := judge(s, bad, middle); kind != anchors.Revoked {
		t.Errorf("the revoked one: %s, %v", kind, err)
	}
	if kind, err := judge(s, good); kind != anchors.Unknown {
		t.Errorf("without its issuer: %s, %v", kind, err)
	}
}

// "openssl ocsp" answers with a delegate's key.
func TestOpenSSLResponder(t *testing.T) {
	o := newMaker(t)
	good, bad := o.issue("SN-1", "idevid", forLife), o.issue("SN-2", "idevid", forLife)
	o.run("ca", "-config", "openssl.cnf", "-revoke", "SN-2.pem")
	middle := o.certificate("middle.pem")
	s, err := anchors.New(anchors.Config{Name: "maker", Roots: []*x509.Certificate{middle}, Revocation: anchors.OCSP, OCSP: o.respond("responder")})
	if err != nil {
		t.Fatal(err)
	}
	if kind, err := judge(s, good); err != nil {
		t.Errorf("the good one: %s, %v", kind, err)
	}
	if kind, err := judge(s, bad); kind != anchors.Revoked {
		t.Errorf("the revoked one: %s, %v", kind, err)
	}
	// A device's key signs nothing about others.
	s, err = anchors.New(anchors.Config{Name: "maker", Roots: []*x509.Certificate{middle}, Revocation: anchors.OCSP, OCSP: o.respond("SN-1")})
	if err != nil {
		t.Fatal(err)
	}
	if kind, err := judge(s, good); kind != anchors.Unchecked {
		t.Errorf("by a device's key: %s, %v", kind, err)
	}
}

// respond starts a responder with the named key and gives its URL.
func (o *openssl) respond(name string) string {
	o.t.Helper()
	port := porttest.Free(o.t)
	cmd := exec.Command(o.program, "ocsp", "-port", fmt.Sprint(port), "-index", "index.txt", "-CA", "middle.pem", "-rsigner", name+".pem", "-rkey", name+".key", "-nmin", "5")
	cmd.Dir = o.dir
	said, write, err := os.Pipe()
	if err != nil {
		o.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	_ = write.Close()
	o.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); _ = said.Close() })
	// A connection to find out whether it listens would keep it busy for ever.
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "waiting for OCSP client connections") {
			go func() { _, _ = io.Copy(io.Discard, said) }()
			return fmt.Sprintf("http://127.0.0.1:%d", port)
		}
	}
	o.t.Fatal("the responder ended")
	return ""
}
