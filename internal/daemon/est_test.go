package daemon_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"chancery/cms"
	"chancery/est"
	"chancery/internal/config"
	"chancery/internal/daemon"
	"chancery/internal/estserver"
	"chancery/internal/peertest"
)

// The same list stands in two packages that may not know each other.
func TestReservedLabels(t *testing.T) {
	if !slices.Equal(config.ESTReserved, est.Registered) {
		t.Errorf("config has %v\nest has %v", config.ESTReserved, est.Registered)
	}
}

// device is a client of a server's listener.
type device struct {
	t    *testing.T
	http *http.Client
	tls  *tls.Config
}

func newDevice(t *testing.T, s *server, address string) *device {
	c := &tls.Config{RootCAs: s.roots, ServerName: "localhost"}
	transport := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &device{t, &http.Client{Timeout: long, Transport: transport}, c}
}

// get gives the status and body of a path.
func (d *device) get(path string) (*http.Response, []byte) {
	d.t.Helper()
	return d.do(must[*http.Request](d.t)(http.NewRequest(http.MethodGet, "https://localhost"+path, nil)))
}

func (d *device) do(r *http.Request) (*http.Response, []byte) {
	d.t.Helper()
	res, err := d.http.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	return res, must[[]byte](d.t)(io.ReadAll(res.Body))
}

// enroll posts a CSR.
func (d *device) enroll(path string, csr []byte, edit func(*http.Request)) (*http.Response, []byte) {
	d.t.Helper()
	r := must[*http.Request](d.t)(http.NewRequest(http.MethodPost, "https://localhost"+path, strings.NewReader(base64.StdEncoding.EncodeToString(csr))))
	r.Header.Set("Content-Type", "application/pkcs10")
	if edit != nil {
		edit(r)
	}
	return d.do(r)
}

// bag reads certificates from an answer.
func bag(t *testing.T, body []byte) []*x509.Certificate {
	t.Helper()
	der := must[[]byte](t)(est.Decode(body, 1<<20))
	found := must[cms.Bag](t)(cms.ParseBag(der))
	var all []*x509.Certificate
	for _, one := range found.Certificates {
		all = append(all, must[*x509.Certificate](t)(x509.ParseCertificate(one)))
	}
	return all
}

// TestESTListeners: EST is on without configuration; every listener requests client
// certificates of everybody by no list; the one of its own serves nothing else.
func TestESTListeners(t *testing.T) {
	t.Parallel()
	s := &server{setup: plan(t, newSite(t), "")}
	c := s.config()
	c.Listen.EST, c.Listen.ESTNewest = freeAddress(t), "1.2"
	s = startWith(t, s.setup, c)
	for address, version := range map[string]uint16{c.Listen.Public: tls.VersionTLS13, c.Listen.EST: tls.VersionTLS12} {
		d := newDevice(t, s, address)
		requested := false
		d.tls.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			requested = true
			if len(r.AcceptableCAs) > 0 {
				t.Errorf("%d authorities are named", len(r.AcceptableCAs))
			}
			return &tls.Certificate{}, nil
		}
		res, body := d.get(est.WellKnown + "/cacerts")
		if res.StatusCode != http.StatusOK || res.TLS.Version != version || !requested {
			t.Errorf("%s: %s over TLS %x, certificate requested: %t\n%s", address, res.Status, res.TLS.Version, requested, body)
			continue
		}
		if certs := bag(t, body); len(certs) < 2 {
			t.Errorf("%s: %d certificates", address, len(certs))
		}
		if version == tls.VersionTLS12 && !slices.Contains([]uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}, res.TLS.CipherSuite) {
			t.Errorf("the suite is %s", tls.CipherSuiteName(res.TLS.CipherSuite))
		}
	}
	if res, _ := newDevice(t, s, c.Listen.EST).get("/acme/directory"); res.StatusCode != http.StatusNotFound {
		t.Errorf("ACME on the listener of EST: %s", res.Status)
	}
	weak := newDevice(t, s, c.Listen.EST)
	for _, edit := range []func(*tls.Config){
		func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11; c.MinVersion = tls.VersionTLS10 },
		func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA}
		},
	} {
		offer := weak.tls.Clone()
		edit(offer)
		if conn, err := tls.Dial("tcp", c.Listen.EST, offer); err == nil {
			t.Errorf("TLS %x with %s is taken", conn.ConnectionState().Version, tls.CipherSuiteName(conn.ConnectionState().CipherSuite))
			conn.Close()
		}
	}
	var core syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &core); err != nil || core.Cur != 0 {
		t.Errorf("core dumps of %d bytes are written, %v", core.Cur, err)
	}
}

// TestESTStory: a user enrols, the certificate renews itself, a request waits for an
// approver, and a reload brings another label.
func TestESTStory(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		s := &server{setup: plan(t, newSite(t), url)}
		c := s.config()
		c.EST.Labels = []config.Label{{Names: []string{"*.iot.example", "own"}}, {Name: "slow", Manual: true, Names: []string{"*.iot.example"}}}
		s = startWith(t, s.setup, c)
		user := must[estserver.CredentialMade](t)(ask[estserver.UserWanted, estserver.CredentialMade](s, "est.user.add", estserver.UserWanted{Grant: estserver.Grant{User: "line"}}))
		login := func(r *http.Request) { r.SetBasicAuth("line", user.Password) }
		d := newDevice(t, s, c.Listen.Public)
		key := newKey(t)
		csr := csrFor(t, key, "a.iot.example")
		if res, _ := d.enroll(est.WellKnown+"/simpleenroll", csr, nil); res.StatusCode != http.StatusUnauthorized || res.Header.Get("Www-Authenticate") == "" {
			t.Errorf("without a password: %s", res.Status)
		}
		res, body := d.enroll(est.WellKnown+"/simpleenroll", csr, login)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", res.Status, body)
		}
		first := bag(t, body)[0]
		holder := newDevice(t, s, c.Listen.Public)
		holder.tls.Certificates = []tls.Certificate{{Certificate: [][]byte{first.Raw}, PrivateKey: key}}
		if res, body = holder.enroll(est.WellKnown+"/simplereenroll", csr, nil); res.StatusCode != http.StatusOK {
			t.Fatalf("renewal: %s: %s", res.Status, body)
		}

		if res, body = d.enroll(est.WellKnown+"/slow/simpleenroll", csr, login); res.StatusCode != http.StatusAccepted || res.Header.Get("Retry-After") == "" {
			t.Fatalf("under approval: %s: %s", res.Status, body)
		}
		waiting := must[estserver.RequestsShown](t)(ask[estserver.RequestsWanted, estserver.RequestsShown](s, "est.requests.list", estserver.RequestsWanted{State: estserver.Undecided}))
		if len(waiting.Requests) != 1 || waiting.Requests[0].Label != "slow" || !slices.Equal(waiting.Requests[0].Names, []string{"dns:a.iot.example"}) {
			t.Fatalf("%+v", waiting)
		}
		approved := must[estserver.RequestShown](t)(ask[estserver.RequestDecided, estserver.RequestShown](s, "est.requests.approve", estserver.RequestDecided{ID: waiting.Requests[0].ID}))
		if approved.State != estserver.Approved || approved.By == "" {
			t.Errorf("%+v", approved)
		}
		if res, body = d.enroll(est.WellKnown+"/slow/simpleenroll", csr, login); res.StatusCode != http.StatusOK {
			t.Fatalf("after approval: %s: %s", res.Status, body)
		}
		shown := must[estserver.RequestShown](t)(ask[estserver.Named, estserver.RequestShown](s, "est.requests.show", estserver.Named{ID: approved.ID}))
		if !strings.HasSuffix(shown.Serial, bag(t, body)[0].SerialNumber.Text(16)) || shown.Serial == "" {
			t.Errorf("the request got %q and shows %+v", bag(t, body)[0].SerialNumber.Text(16), shown)
		}

		next := s.config()
		next.Listen = c.Listen
		next.EST.Labels = []config.Label{{Name: "other"}}
		if err := s.daemon.Reload(next); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]int{"/other/cacerts": http.StatusOK, "/slow/cacerts": http.StatusNotFound, "/cacerts": http.StatusNotFound} {
			if res, _ := d.get(est.WellKnown + path); res.StatusCode != want {
				t.Errorf("after the reload %s gives %s", path, res.Status)
			}
		}
		labels := must[estserver.LabelsShown](t)(ask[struct{}, estserver.LabelsShown](s, "est.label.list", struct{}{}))
		if len(labels.Labels) != 1 || labels.Labels[0].Path != est.WellKnown+"/other" {
			t.Errorf("%+v", labels)
		}
		next.EST.Labels = []config.Label{{Profile: "nothere"}}
		if err := s.daemon.Reload(next); err == nil || !strings.Contains(err.Error(), `no profile "nothere"`) {
			t.Errorf("a profile that is not there: %v", err)
		}
		if res, _ := d.get(est.WellKnown + "/other/cacerts"); res.StatusCode != http.StatusOK {
			t.Errorf("after a reload that failed: %s", res.Status)
		}
	})
}

// TestOwnOnRequest shows clients that name their authorities our own certificate, and
// others the one from elsewhere.
func TestOwnOnRequest(t *testing.T) {
	t.Parallel()
	openssl := peertest.Need(t, "openssl")
	s := &server{setup: plan(t, newSite(t), "")}
	c := s.config()
	c.EST.Certificate, c.EST.Key = filepath.Join(s.Data, "tls.pem"), filepath.Join(s.Data, "tls.key")
	c.EST.OwnOnRequest = true
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(openssl, args...)
		cmd.Stdin = strings.NewReader("Q\n")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	if err := os.Chmod(s.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=from elsewhere", "-keyout", c.EST.Key, "-out", c.EST.Certificate)
	s = startWith(t, s.setup, c)
	roots := filepath.Join(s.Data, "roots.pem")
	var text bytes.Buffer
	for _, root := range s.daemon.Roots() {
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(roots, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	connect := []string{"s_client", "-connect", c.Listen.Public, "-servername", "localhost"}
	if said := run(connect...); !strings.Contains(said, "from elsewhere") {
		t.Errorf("to everybody: %s", said)
	}
	if said := run(append(connect, "-requestCAfile", roots)...); strings.Contains(said, "from elsewhere") {
		t.Errorf("to who names authorities: %s", said)
	}
	next := *c
	next.EST.Certificate, next.EST.Key, next.EST.OwnOnRequest = "", "", false
	if err := s.daemon.Reload(&next); err != nil {
		t.Fatal(err)
	}
	if said := run(connect...); strings.Contains(said, "from elsewhere") {
		t.Errorf("after a reload without it: %s", said)
	}
}

// TestCMCRA: the server's own certificate says that it is an EST server.
func TestCMCRA(t *testing.T) {
	t.Parallel()
	s := &server{setup: plan(t, newSite(t), "")}
	c := s.config()
	c.EST.CMCRA = true
	s = startWith(t, s.setup, c)
	res, _ := newDevice(t, s, c.Listen.Public).get(est.WellKnown + "/cacerts")
	leaf := res.TLS.PeerCertificates[0]
	if len(leaf.UnknownExtKeyUsage) != 1 || leaf.UnknownExtKeyUsage[0].String() != "1.3.6.1.5.5.7.3.28" {
		t.Errorf("its purposes are %v and %v", leaf.ExtKeyUsage, leaf.UnknownExtKeyUsage)
	}
}

// TestTerminatorSocket is the owner's and the group's; one that nobody serves any more
// is replaced, and nothing else is.
func TestTerminatorSocket(t *testing.T) {
	t.Parallel()
	s := &server{setup: plan(t, newSite(t), "")}
	c := s.config()
	c.Listen.ESTTerminator = filepath.Join(s.Data, "est.sock")
	c.EST.Labels = []config.Label{{Accept: []string{"srp"}, Names: []string{"{user}.iot.example"}}}
	stale := must[net.Listener](t)(net.Listen("unix", c.Listen.ESTTerminator))
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	s = startWith(t, s.setup, c)
	info := must[fs.FileInfo](t)(os.Stat(c.Listen.ESTTerminator))
	if info.Mode().Perm() != 0o660 {
		t.Errorf("its mode is %s", info.Mode())
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", c.Listen.ESTTerminator)
	}}
	defer transport.CloseIdleConnections()
	post := func(user string) int {
		r := must[*http.Request](t)(http.NewRequest(http.MethodPost, "http://localhost"+est.WellKnown+"/simpleenroll", strings.NewReader(base64.StdEncoding.EncodeToString(csrFor(t, newKey(t), "thing.iot.example")))))
		r.Header.Set("Content-Type", "application/pkcs10")
		if user != "" {
			r.Header.Set(estserver.SRPUser, user)
		}
		res := must[*http.Response](t)(transport.RoundTrip(r))
		res.Body.Close()
		return res.StatusCode
	}
	for user, want := range map[string]int{"thing": http.StatusOK, "": http.StatusForbidden, "other": http.StatusForbidden} {
		if got := post(user); got != want {
			t.Errorf("the user %q gets %d", user, got)
		}
	}
	// The header counts on no other listener.
	if res, _ := newDevice(t, s, c.Listen.Public).enroll(est.WellKnown+"/simpleenroll", csrFor(t, newKey(t), "thing.iot.example"), func(r *http.Request) {
		r.Header.Set(estserver.SRPUser, "thing")
	}); res.StatusCode == http.StatusOK {
		t.Error("the public listener believes the terminator's header")
	}
	second := plan(t, newSite(t), "").config()
	second.Listen.ESTTerminator, second.EST = c.Listen.ESTTerminator, c.EST
	if _, err := daemon.Start(context.Background(), daemon.Options{Config: second, Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "another process serves") {
		t.Errorf("a socket that is served: %v", err)
	}
	second.Listen.ESTTerminator = filepath.Join(s.Data, "chancery.db")
	if _, err := daemon.Start(context.Background(), daemon.Options{Config: second, Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file: %v", err)
	}
}
