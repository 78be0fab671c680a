package interop_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chancery/internal/peertest"
	"chancery/internal/porttest"
)

// srpLab is a server with a front, and Apache behind that, which does TLS-SRP and hands
// requests over at the server's socket (docs/est-srp.md).
type srpLab struct {
	t     *testing.T
	dir   string
	front string // where clients connect
	curl  string
	said  *words // by the server
}

// words is what a program writes.
type words struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

const srpPassword = "correct horse battery"

// srpApache is the configuration of docs/est-srp.md, with what else a configuration of
// its own needs.
const srpApache = `ServerRoot %[1]s
ServerName localhost
PidFile %[1]s/apache.pid
DefaultRuntimeDir %[1]s
Mutex file:%[1]s default
ErrorLog %[1]s/apache.log
Listen 127.0.0.1:%[2]d
LoadModule mpm_event_module %[3]s/mod_mpm_event.so
LoadModule authz_core_module %[3]s/mod_authz_core.so
LoadModule ssl_module %[3]s/mod_ssl.so
LoadModule headers_module %[3]s/mod_headers.so
LoadModule proxy_module %[3]s/mod_proxy.so
LoadModule proxy_http_module %[3]s/mod_proxy_http.so
<VirtualHost 127.0.0.1:%[2]d>
    SSLEngine on
    SSLProtocol -all +TLSv1.2
    SSLCipherSuite SRP-AES-256-CBC-SHA:SRP-AES-128-CBC-SHA
    SSLSessionTickets off
    SSLSRPVerifierFile %[1]s/users.srpv
    SSLSRPUnknownUserSeed "a seed of this test alone"
    SSLCertificateFile %[1]s/unused.pem
    SSLCertificateKeyFile %[1]s/unused.key
    RequestHeader set Est-Srp-User "expr=%%{SSL:SSL_SRP_USER}"
    LimitRequestBody 65536
    ProxyRequests off
    ProxyPass "/.well-known/est/" "unix:%[1]s/est.sock|http://localhost/.well-known/est/"
</VirtualHost>
`

const srpServer = `data = "%[1]s/data"
[listen]
public = "127.0.0.1:%[2]d"
est_srp = "127.0.0.1:%[3]d"
est_srp_backend = "127.0.0.1:%[4]d"
est_terminator = "%[1]s/est.sock"
[url]
base = "https://localhost:%[2]d"
[[est.label]]
name = "srp"
accept = ["srp"]
names = ["{user}.iot.example", "CN={user}"]
[[est.label]]
name = "bound"
accept = ["password"]
names = ["*"]
require_linking = true
`

func newSRPLab(t *testing.T) *srpLab {
	t.Parallel()
	apache, openssl := peertest.Need(t, "apache2"), peertest.Need(t, "openssl")
	l := &srpLab{t: t, curl: peertest.Need(t, "curl"), said: &words{}}
	if out, err := exec.Command(l.curl, "--version").Output(); err != nil || !bytes.Contains(out, []byte("TLS-SRP")) {
		peertest.Missing(t, "curl knows no TLS-SRP: it went away with curl 8.22")
	}
	var err error
	if l.dir, err = os.MkdirTemp("", "srp"); err != nil { // short, as a socket's path has a limit
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(l.dir) })
	public, front, behind := porttest.Free(t), porttest.Free(t), porttest.Free(t)
	l.front = fmt.Sprintf("https://127.0.0.1:%d", front)
	l.write("chancery.toml", fmt.Sprintf(srpServer, l.dir, public, front, behind))
	l.write("apache.conf", fmt.Sprintf(srpApache, l.dir, behind, modules(t, apache)))
	program, err := chancery()
	if err != nil {
		t.Fatal(err)
	}
	l.run(nil, openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
		"-subj", "/CN=unused", "-keyout", "unused.key", "-out", "unused.pem")
	for _, user := range []string{"jdoe", "other"} {
		l.run(strings.NewReader(srpPassword+"\n"), program, "est", "srp-user", user, "--out", "users.srpv", "--stdin")
	}
	l.start(fmt.Sprintf("127.0.0.1:%d", public), program, "serve", "--config", "chancery.toml")
	l.start(fmt.Sprintf("127.0.0.1:%d", behind), apache, "-f", filepath.Join(l.dir, "apache.conf"), "-DFOREGROUND")
	return l
}

// modules is where Apache's modules are.
func modules(t *testing.T, apache string) string {
	for _, dir := range []string{"/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", filepath.Join(filepath.Dir(apache), "..", "modules")} {
		if _, err := os.Stat(filepath.Join(dir, "mod_ssl.so")); err == nil {
			return dir
		}
	}
	peertest.Missing(t, "Apache's mod_ssl is not installed")
	return ""
}

func (l *srpLab) write(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l *srpLab) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = l.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.dir, "TMPDIR=" + l.dir, "LANG=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func (l *srpLab) run(in *strings.Reader, name string, args ...string) []byte {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	cmd := l.command(ctx, name, args...)
	if in != nil {
		cmd.Stdin = in
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s %q: %v\n%s", filepath.Base(name), args, err, out)
	}
	return out
}

// start runs a program until the test ends, and waits until it answers at the address.
func (l *srpLab) start(address, name string, args ...string) {
	l.t.Helper()
	cmd := l.command(context.WithoutCancel(l.t.Context()), name, args...)
	cmd.Stdout, cmd.Stderr = l.said, l.said
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	l.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		if l.t.Failed() {
			log, _ := os.ReadFile(filepath.Join(l.dir, "apache.log"))
			l.t.Logf("%s\n%s", l.said, log)
		}
	})
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-ended:
			log, _ := os.ReadFile(filepath.Join(l.dir, "apache.log"))
			l.t.Fatalf("%s ended:\n%s\n%s", filepath.Base(name), l.said, log)
		default:
		}
	}
}

// request makes a CSR with OpenSSL and gives the name of the file with its base64.
func (l *srpLab) request(cn, dns string) string {
	l.t.Helper()
	l.run(nil, "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN="+cn,
		"-addext", "subjectAltName=DNS:"+dns, "-keyout", cn+".key", "-out", cn+".csr")
	text, err := os.ReadFile(filepath.Join(l.dir, cn+".csr"))
	if err != nil {
		l.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	l.write(cn+".b64", base64.StdEncoding.EncodeToString(block.Bytes))
	return cn + ".b64"
}

// over sends a request with curl over TLS-SRP; curl's exit status comes first, as a
// handshake that fails has no HTTP status.
func (l *srpLab) over(user, password, path string, args ...string) (exit int, status, body string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	const mark = "\n--status--"
	cmd := l.command(ctx, l.curl, append([]string{
		"-sS", "-k", "--tls-max", "1.2", "--tlsauthtype", "SRP", "--tlsuser", user, "--tlspassword", password,
		"-H", "Content-Type: application/pkcs10", "-w", mark + "%{http_code}", l.front + "/.well-known/est/" + path}, args...)...)
	out, err := cmd.CombinedOutput()
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		l.t.Fatal(err)
	}
	body, status, _ = strings.Cut(string(out), mark)
	return cmd.ProcessState.ExitCode(), status, body
}

// Devices enrol with a user name and password of TLS-SRP alone (RFC 7030 §3.3.3).
func TestESTOverTLSSRP(t *testing.T) {
	l := newSRPLab(t)
	asked := l.request("jdoe", "jdoe.iot.example")

	exit, status, body := l.over("jdoe", srpPassword, "srp/simpleenroll", "--data-binary", "@"+asked)
	if exit != 0 || status != "200" {
		t.Fatalf("curl ended with %d, HTTP %s: %s", exit, status, body)
	}
	l.write("bag.b64", body)
	l.run(nil, "openssl", "base64", "-d", "-in", "bag.b64", "-out", "bag.der")
	if got := string(l.run(nil, "openssl", "pkcs7", "-inform", "DER", "-in", "bag.der", "-print_certs", "-noout")); !strings.Contains(got, "CN = jdoe") {
		t.Errorf("the bag has %s", got)
	}

	t.Run("another's name", func(t *testing.T) {
		exit, status, body := l.over("other", srpPassword, "srp/simpleenroll", "--data-binary", "@"+asked)
		if exit != 0 || status != "403" || !strings.Contains(body, "jdoe.iot.example") {
			t.Errorf("curl ended with %d, HTTP %s: %s", exit, status, body)
		}
	})
	t.Run("a user that the client names itself", func(t *testing.T) {
		exit, status, body := l.over("other", srpPassword, "srp/simpleenroll", "--data-binary", "@"+asked, "-H", "Est-Srp-User: jdoe")
		if exit != 0 || status != "403" {
			t.Errorf("curl ended with %d, HTTP %s: %s", exit, status, body)
		}
		exit, status, body = l.over("other", srpPassword, "srp/simpleenroll", "--data-binary", "@"+asked, "-H", "Connection: Est-Srp-User", "-H", "Est-Srp-User: jdoe")
		if exit != 0 || status == "200" {
			t.Errorf("with the field called hop-by-hop curl ended with %d, HTTP %s: %s", exit, status, body)
		}
	})
	t.Run("a label that demands linking", func(t *testing.T) {
		exit, status, body := l.over("jdoe", srpPassword, "bound/simpleenroll", "--data-binary", "@"+asked)
		if exit != 0 || status != "401" && status != "403" {
			t.Errorf("curl ended with %d, HTTP %s: %s", exit, status, body)
		}
		for _, accept := range []string{`accept = ["srp"]`, `accept = ["password", "srp"]`} {
			l.write("linked.toml", "[listen]\nest_terminator = \"x\"\n[[est.label]]\n"+accept+"\nrequire_linking = true\n")
			program, err := chancery()
			if err != nil {
				t.Fatal(err)
			}
			if out, err := l.command(t.Context(), program, "config", "check", "linked.toml").CombinedOutput(); err == nil || !strings.Contains(string(out), "nothing binds a request") {
				t.Errorf("config check says %v: %s", err, out)
			}
		}
	})
	t.Run("no SRP at all", func(t *testing.T) {
		out, err := l.command(t.Context(), l.curl, "-sS", "-k", l.front+"/.well-known/est/cacerts").CombinedOutput()
		if err == nil {
			t.Errorf("curl got %s", out)
		}
	})
	t.Run("a user who is not there", func(t *testing.T) {
		if strings.Contains(l.said.String(), "held back") {
			t.Error("somebody waited who knew the password")
		}
		_, _, missing := l.over("nobody", srpPassword, "srp/cacerts")
		_, _, wrong := l.over("other", "wrong", "srp/cacerts")
		if alert := "bad record mac"; !strings.Contains(missing, alert) || !strings.Contains(wrong, alert) {
			t.Errorf("who is not there can be told from a wrong password: %s; %s", missing, wrong)
		}
		l.over("other", srpPassword, "srp/cacerts")
	})
	t.Run("wrong passwords", func(t *testing.T) {
		const held = "held back"
		before := strings.Count(l.said.String(), held)
		for n, waits := range []int{0, 1, 2} {
			exit, status, _ := l.over("jdoe", "wrong", "srp/cacerts")
			if exit == 0 || status == "200" {
				t.Fatalf("a wrong password gave HTTP %s", status)
			}
			if got := strings.Count(l.said.String(), held) - before; got != waits {
				t.Errorf("after try %d the front held back %d handshakes; want %d", n+1, got, waits)
			}
		}
		// The one who knows it waits, too, and is then forgiven; others never waited.
		for n, waits := range []int{3, 3} {
			exit, status, body := l.over("jdoe", srpPassword, "srp/cacerts")
			if exit != 0 || status != "200" {
				t.Fatalf("curl ended with %d, HTTP %s: %s", exit, status, body)
			}
			if got := strings.Count(l.said.String(), held) - before; got != waits {
				t.Errorf("after good log-in %d the front held back %d handshakes; want %d", n+1, got, waits)
			}
		}
		if exit, status, _ := l.over("other", srpPassword, "srp/cacerts"); exit != 0 || status != "200" || strings.Count(l.said.String(), held)-before != 3 {
			t.Errorf("somebody else waits, too: %d, HTTP %s", exit, status)
		}
	})
}
