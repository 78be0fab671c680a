package est

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// handshake gives both ends of a TLS connection.
func handshake(t *testing.T, version uint16) (server, client tls.ConnectionState) {
	t.Helper()
	key := pairs()["ecdsa-p256"]
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour)},
		&x509.Certificate{}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	one := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: version})
	two := tls.Client(b, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	failed := make(chan error, 1)
	go func() { failed <- one.Handshake() }()
	if err := two.Handshake(); err != nil {
		t.Fatal(err)
	}
	// TLS 1.3's server has still a ticket to write.
	go func() { _, _ = two.Read(make([]byte, 1)) }()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	return one.ConnectionState(), two.ConnectionState()
}

func TestBindings(t *testing.T) {
	for version, test := range map[uint16]struct {
		kind   string
		length int
	}{tls.VersionTLS12: {TLSUnique, 16}, tls.VersionTLS13: {TLSExporter, 44}} {
		server, client := handshake(t, version)
		ours, err := BindingOf(&server)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := BindingOf(&client)
		if err != nil {
			t.Fatal(err)
		}
		if ours.Kind != test.kind || len(ours.Text()) != test.length || !ours.Matches(theirs.Text()) {
			t.Errorf("%x: %s %q against %q", version, ours.Kind, ours.Text(), theirs.Text())
		}
		other, _ := handshake(t, version)
		another, err := BindingOf(&other)
		if err != nil || ours.Matches(another.Text()) || ours.Matches("") || ours.Matches(ours.Text()+"\n") {
			t.Errorf("%x: another connection's value matches", version)
		}
		if version == tls.VersionTLS13 { // RFC 9266 §2
			want, err := client.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
			if err != nil || base64.StdEncoding.EncodeToString(want) != ours.Text() {
				t.Error("the exporter is not RFC 9266's")
			}
		}
	}
	for name, state := range map[string]*tls.ConnectionState{"none": nil, "unfinished": {}} {
		if b, err := BindingOf(state); !Is(err, Unlinked) || b.Matches("") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Where renegotiation is allowed crypto/tls refuses to export, as it does without the
// extended master secret: no binding then.
func TestNoBinding(t *testing.T) {
	key := pairs()["ecdsa-p256"]
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}, &x509.Certificate{}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	one := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	go func() { _ = one.Handshake() }()
	two := tls.Client(b, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, Renegotiation: tls.RenegotiateOnceAsClient})
	if err := two.Handshake(); err != nil {
		t.Fatal(err)
	}
	state := two.ConnectionState()
	if _, err := BindingOf(&state); !Is(err, Unlinked) || len(state.TLSUnique) == 0 {
		t.Errorf("%v with tls-unique %x", err, state.TLSUnique)
	}
}

// OpenSSL can leave the extended master secret out: such a session has no binding.
func TestNoExtendedMasterSecret(t *testing.T) {
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	key := pairs()["ecdsa-p256"]
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}, &x509.Certificate{}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for options, bound := range map[string]bool{"-ExtendedMasterSecret": false, "ExtendedMasterSecret": true} {
		config := filepath.Join(t.TempDir(), "c.cnf")
		text := "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nOptions = " + options + "\n"
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		client := exec.Command(program, "s_client", "-connect", listener.Addr().String(), "-tls1_2")
		client.Env = append(os.Environ(), "OPENSSL_CONF="+config)
		if err := client.Start(); err != nil {
			t.Fatal(err)
		}
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		secure := conn.(*tls.Conn)
		if err := secure.Handshake(); err != nil {
			t.Fatal(err)
		}
		state := secure.ConnectionState()
		b, err := BindingOf(&state)
		if bound != (err == nil) || !bound && (!Is(err, Unlinked) || b.Matches(base64.StdEncoding.EncodeToString(state.TLSUnique))) {
			t.Errorf("%s: %+v, %v", options, b, err)
		}
		conn.Close()
		_ = client.Wait()
	}
}
