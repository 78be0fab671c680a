package interop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"chancery/internal/porttest"
)

// estUser is a user of every EST lab.
const estUser, estPassword = "estuser", "correct-horse-battery"

// estServer is the one configuration that serves all clients: passwords by Digest, with
// MD5 for who knows nothing else; a listener of its own without TLS 1.3 for clients whose
// binding breaks there. Services besides the one without a label are for what that one
// does not do; some clients cannot name them.
const estServer = `data = "%[1]s/data"
[listen]
public = "127.0.0.1:%[2]d"
est = "127.0.0.1:%[3]d"
est_newest = "1.2"
[est]
digest = "md5"
realm = "estrealm"
[[est.label]]
operations = ["csrattrs", "simpleenroll", "simplereenroll", "fullcmc", "serverkeygen"]
[[est.label]]
name = "manual"
manual = true
retry_after = "1s"
names = ["*.iot.example"]
operations = ["csrattrs", "simpleenroll", "simplereenroll", "serverkeygen"]
[[est.label]]
name = "bound"
require_linking = true
operations = ["csrattrs", "simpleenroll", "simplereenroll", "serverkeygen"]
[[est.label]]
name = "sealed"
keys_encrypted = true
operations = ["serverkeygen"]
[[est.label]]
name = "certified"
accept = ["certificate", "maker"]
makers = ["works"]
holders = ["device"]
names = ["own", "*.iot.example"]
[[est.maker]]
name = "works"
roots = "works.pem"
revocation = "none"
`

// estManual is a server whose service without a label waits for a person, for clients
// that know no labels, and asks for passwords by Basic.
const estManual = `data = "%[1]s/data"
[listen]
public = "127.0.0.1:%[2]d"
est = "127.0.0.1:%[3]d"
[[est.label]]
manual = true
retry_after = "1s"
names = ["*.iot.example"]
`

// estLab is the real binary with a configuration, and users.
type estLab struct {
	party
	program  string
	port, v2 int // of the listener for all, and of the one for TLS 1.2 at most
	works    *sealer
	said     *words
}

// newESTLab starts the server.
func newESTLab(t *testing.T, configuration string) *estLab {
	t.Helper()
	t.Parallel()
	program, err := chancery()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: t.TempDir()}
	l := &estLab{program: program, port: porttest.Free(t), v2: porttest.Free(t), said: &words{}, works: newSealer(t, "Works")}
	w.write("works.pem", encodePEM(l.works.cert))
	w.write("chancery.toml", fmt.Sprintf(configuration, w.dir, l.port, l.v2))
	l.party = w.party()
	l.start()
	w.root = filepath.Join(w.dir, "root.pem")
	l.trust = w.root
	l.chancery("", "ca", "root", "--out", "root.pem")
	l.chancery(estPassword+"\n", "est", "user", "add", estUser, "--stdin", "--name", "*.iot.example", "--name", "CN=device*")
	return l
}

// on is the lab as a subtest has it.
func (l *estLab) on(t *testing.T) *estLab {
	w, c := *l.world, *l
	w.t, c.world = t, &w
	return &c
}

// start runs the server until the test ends, and waits until it answers.
func (l *estLab) start() {
	l.t.Helper()
	cmd := exec.Command(l.program, "serve", "--config", "chancery.toml")
	cmd.Dir, cmd.Env = l.dir, l.environment()
	cmd.Stdout, cmd.Stderr = l.said, l.said
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	l.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if l.t.Failed() {
			l.t.Log(l.said)
		}
	})
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		if conn, err := net.Dial("tcp", l.at(l.v2)); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-ended:
			l.t.Fatalf("chancery ended:\n%s", l.said)
		default:
		}
	}
}

func (l *estLab) environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.dir, "TMPDIR=" + l.dir, "LANG=C.UTF-8"}
}

// at is an address of the server, url one of its pages.
func (l *estLab) at(port int) string { return fmt.Sprintf("localhost:%d", port) }
func (l *estLab) url(path string) string {
	return "https://" + l.at(l.port) + "/.well-known/est/" + path
}

func (l *estLab) path(name string) string { return filepath.Join(l.dir, name) }

// chancery does what an administrator types.
func (l *estLab) chancery(in string, args ...string) string {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.program, append(args, "--config", "chancery.toml")...)
	cmd.Dir, cmd.Env, cmd.Stdin = l.dir, l.environment(), strings.NewReader(in)
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.t.Fatalf("chancery %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// oneTime makes a password for one certificate.
func (l *estLab) oneTime(args ...string) string {
	l.t.Helper()
	out := l.chancery("", append([]string{"est", "otp", "add", "--json"}, args...)...)
	found := regexp.MustCompile(`"password": "([^"]+)"`).FindStringSubmatch(out)
	if found == nil {
		l.t.Fatalf("no password in %s", out)
	}
	return found[1]
}

// decide has an administrator approve or refuse the one request that waits.
func (l *estLab) decide(how ...string) {
	l.t.Helper()
	out := l.chancery("", "est", "requests", "--state", "pending", "--json")
	ids := regexp.MustCompile(`"id": "([^"]+)"`).FindAllStringSubmatch(out, -1)
	if len(ids) != 1 {
		l.t.Fatalf("%d requests wait:\n%s", len(ids), out)
	}
	l.chancery("", append([]string{"est", how[0], ids[0][1]}, how[1:]...)...)
}

// revoke revokes what is in a file.
func (l *estLab) revoke(file string) {
	l.t.Helper()
	l.chancery("", "cert", "revoke", fmt.Sprintf("%032x", l.read(file).SerialNumber), "--reason", "keyCompromise")
}

// text reads a file.
func (l *estLab) text(file string) string {
	l.t.Helper()
	text, err := os.ReadFile(l.path(file))
	if err != nil {
		l.t.Fatal(err)
	}
	return string(text)
}

// read reads the one certificate of a file.
func (l *estLab) read(file string) *x509.Certificate {
	l.t.Helper()
	text := l.text(file)
	all := certificates(l.t, []byte(text))
	if len(all) != 1 {
		l.t.Fatalf("%s has %d certificates:\n%s", file, len(all), text)
	}
	return all[0]
}

// request has OpenSSL make a key and a request for it, NAME.key, NAME.csr and NAME.b64.
func (l *estLab) request(name string) {
	l.t.Helper()
	l.requestAs(name, name)
}

// requestAs is request for other names than the files'; what follows goes to openssl req.
func (l *estLab) requestAs(name, as string, more ...string) {
	l.t.Helper()
	l.ssl(append([]string{"req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + as + ".iot.example",
		"-addext", "subjectAltName=DNS:" + as + ".iot.example", "-keyout", name + ".key", "-out", name + ".csr"}, more...)...)
	l.encode(name)
}

// again makes a request for the key of another, under the names of a certificate.
func (l *estLab) again(name, key, like string) {
	l.t.Helper()
	l.ssl("req", "-new", "-key", key, "-subj", "/CN="+like+".iot.example", "-addext", "subjectAltName=DNS:"+like+".iot.example", "-out", name+".csr")
	l.encode(name)
}

// encode writes NAME.b64 from NAME.csr, as EST has it.
func (l *estLab) encode(name string) {
	l.t.Helper()
	block, _ := pem.Decode([]byte(l.text(name + ".csr")))
	l.write(name+".b64", base64.StdEncoding.EncodeToString(block.Bytes))
}

// sound has OpenSSL judge a certificate that a client got: the chain, the name, OCSP and
// CRL, and that the key of a file is its own ("" is not looked at).
func (l *estLab) sound(file, key string, names ...string) {
	l.t.Helper()
	cert := l.read(file)
	s := l.splitPEM(append(encode([]*x509.Certificate{cert}), encode(l.aboveOf(cert))...))
	l.good(s, names...)
	if key == "" {
		return
	}
	if of, has := l.ssl("pkey", "-in", key, "-pubout"), l.ssl("x509", "-in", file, "-noout", "-pubkey"); of != has {
		l.t.Errorf("%s is not the key of %s", key, file)
	}
}

// aboveOf gives the authorities, a certificate's own first: a bag has no order.
func (l *estLab) aboveOf(cert *x509.Certificate) []*x509.Certificate {
	l.t.Helper()
	all := l.above()
	slices.SortStableFunc(all, func(a, b *x509.Certificate) int { return signs(b, cert) - signs(a, cert) })
	return all
}

// fed has OpenSSL do something with this on its standard input, which has no end.
func (l *estLab) fed(in string, args ...string) (string, error) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.openssl, args...)
	cmd.Dir, cmd.Env = l.dir, l.environment()
	typed, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := io.WriteString(typed, in); err != nil { // it fits into the pipe
		l.t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		l.t.Errorf("openssl %q does not end", args)
	}
	return string(out), err
}

// signs tells whether an authority signed a certificate: 1 or 0.
func signs(by, cert *x509.Certificate) int {
	if cert.CheckSignatureFrom(by) == nil {
		return 1
	}
	return 0
}

// above gives the authorities as cacerts has them, by curl and OpenSSL.
func (l *estLab) above() []*x509.Certificate {
	l.t.Helper()
	if _, err := os.Stat(l.path("cacerts.pem")); err != nil {
		l.run(command{name: l.curl, args: []string{"-sSf", "--cacert", l.root, "-o", "cacerts.b64", l.url("cacerts")}})
		l.ssl("base64", "-d", "-in", "cacerts.b64", "-out", "cacerts.der")
		l.ssl("pkcs7", "-inform", "DER", "-in", "cacerts.der", "-print_certs", "-out", "cacerts.pem")
	}
	return certificates(l.t, []byte(l.text("cacerts.pem")))
}

// unwrap takes the certificate out of an answer's body.
func (l *estLab) unwrap(body string, to string) {
	l.t.Helper()
	l.write(to+".p7.b64", body)
	l.ssl("base64", "-d", "-A", "-in", l.flat(to+".p7.b64"), "-out", to+".p7")
	l.ssl("pkcs7", "-inform", "DER", "-in", to+".p7", "-print_certs", "-out", to+".pem")
}

// flat takes line breaks out of a file, as "openssl base64" reads either kind, not both.
func (l *estLab) flat(file string) string {
	l.t.Helper()
	return l.write(file, strings.Join(strings.Fields(l.text(file)), "")+"\n")
}

// idevid makes a device's certificate of its maker: no EKU, no end, a key that is kept.
func (l *estLab) idevid(name string, change func(*x509.Certificate)) {
	l.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		l.t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name + ".iot.example", SerialNumber: "SN-" + name}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	if change != nil {
		change(template)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		l.t.Fatal(err)
	}
	l.write(name+".pem", encodePEM(l.works.sign(l.t, template, key.Public())))
	l.write(name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}
