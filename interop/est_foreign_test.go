package interop_test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"chancery/est"
	"chancery/internal/porttest"
)

// foreignEST runs GlobalSign's EST server with an authority of the test's, and gives its
// address.
func foreignEST(t *testing.T, w *world, root *sealer) string {
	t.Helper()
	program := os.Getenv("ESTSERVER")
	if program == "" {
		t.Skip("ESTSERVER does not name GlobalSign's estserver (v1.0.6), which no Debian package has and not every module proxy")
	}
	address := fmt.Sprintf("localhost:%d", porttest.Free(t))
	keep := func(name string, key crypto.PrivateKey) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return w.write(name, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	}
	front := root.server(t, "localhost")
	leaf, err := x509.ParseCertificate(front.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	rootFile := w.write("root.pem", encodePEM(root.cert))
	config := w.write("est.json", fmt.Sprintf(`{"mock_ca": {"certificates": %q, "private_key": %q},
		"tls": {"listen_address": %q, "certificates": %q, "private_key": %q, "client_cas": [%q]},
		"allowed_hosts": ["localhost"], "rate_limit": 1000, "timeout": 30, "log_file": %q}`,
		rootFile, keep("root.key", root.key), address, w.write("tls.pem", encodePEM(leaf)), keep("tls.key", front.PrivateKey), rootFile,
		w.dir+"/est.log"))
	said := &words{}
	cmd := exec.CommandContext(t.Context(), program, "-config", config)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said)
		}
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return address
		}
		if time.Now().After(end) {
			t.Fatalf("GlobalSign's server does not answer: %s", said)
		}
	}
}

// TestESTOurClientElsewhere has our client use somebody else's server: GlobalSign's.
func TestESTOurClientElsewhere(t *testing.T) {
	t.Parallel()
	w, root := &world{t: t, dir: t.TempDir()}, newSealer(t, "Elsewhere")
	address := foreignEST(t, w, root)
	client := func(label string, more func(*est.ClientConfig)) *est.Client {
		t.Helper()
		config := est.ClientConfig{Server: address, Label: label, Trust: est.Trust{Explicit: []*x509.Certificate{root.cert}, ImplicitOff: true}}
		if more != nil {
			more(&config)
		}
		c, err := est.NewClient(config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	ctx, plain := t.Context(), client("", nil)
	bag, err := plain.CACerts(ctx)
	if err != nil || bag == nil {
		t.Fatal(err)
	}
	// Its attributes are under a label that is the name of an operation, which no client may
	// use (RFC 7030 §3.2.2); without a label there are none.
	if attrs, err := plain.Attributes(ctx, nil); err != nil || len(attrs) > 0 {
		t.Errorf("csrattrs: %v, %v", attrs, err)
	}
	key := ecKey(t)
	asked := est.Request{SubjectName: pkix.Name{CommonName: "device.example"}, DNSNames: []string{"device.example"}}
	issued, err := plain.Enroll(ctx, est.Enrolment{Key: key, Request: asked})
	if err != nil {
		t.Fatal(err)
	}
	if issued.Certificate.VerifyHostname("device.example") != nil || issued.Certificate.CheckSignatureFrom(root.cert) != nil || !issued.Linked {
		t.Errorf("%+v", issued)
	}
	for _, newest := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		known := client("", func(c *est.ClientConfig) {
			c.MaxTLS, c.Identities = newest, []est.ClientIdentity{{Certificate: issued.Certificate, Key: key}}
		})
		again, err := known.Reenroll(ctx, est.Enrolment{Key: ecKey(t), Request: asked, Renews: issued.Certificate})
		if err != nil {
			t.Errorf("over TLS %x: %v", newest, err)
			continue
		}
		if again.Certificate.Equal(issued.Certificate) || !again.Shown || again.Server.Version != newest {
			t.Errorf("over TLS %x: %+v", newest, again)
		}
		made, err := known.ServerKeyGen(ctx, est.KeyOrder{Enrolment: est.Enrolment{Request: asked}})
		if err != nil {
			t.Errorf("over TLS %x: %v", newest, err)
			continue
		}
		if of, ok := made.Key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !of.Equal(made.Certificate.PublicKey) || made.Encrypted {
			t.Errorf("over TLS %x: the key is not the certificate's", newest)
		}
	}
}
