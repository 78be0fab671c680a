package interop_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"chancery/internal/desk"
	"chancery/internal/peertest"
	"chancery/testca"
)

// systemRoots is the only file of roots that Debian's uacme knows; it has no
// option for another.
const systemRoots = "/etc/ssl/certs/ca-certificates.crt"

type uacme struct {
	*world
	path string
	room []string // runs a program where systemRoots is our root
}

func newUacme(t *testing.T, options ...testca.Option) uacme {
	path := peertest.Need(t, "uacme")
	u := uacme{world: start(t, options...), path: path}
	unshare := peertest.Need(t, "unshare")
	for _, room := range [][]string{{unshare, "--mount"}, {unshare, "--mount", "--map-root-user"}} {
		u.room = append(room, "/bin/sh", "-c", `mount --bind "$0" `+systemRoots+` && exec "$@"`, u.root)
		if _, err := u.try(command{name: u.room[0], args: append(u.room[1:], "/bin/true")}); err == nil {
			return u
		}
	}
	peertest.Missing(t, "uacme reads its roots from "+systemRoots+" only, and this user may not make a mount namespace to put another there")
	return u
}

func (u uacme) command(words ...string) command {
	args := append(u.room[1:], u.path, "-a", u.Directory, "-c", filepath.Join(u.dir, "uacme"), "-y", "-v")
	return command{env: []string{"UALPN=" + filepath.Join(u.dir, "ualpn.sock")}, name: u.room[0], args: append(args, words...)}
}

func (u uacme) do(words ...string) string {
	u.t.Helper()
	return u.run(u.command(words...))
}

// hook answers one kind of challenge and declines the others.
func (u uacme) hook(kind string) string {
	return u.script("uacme-"+kind, `
[ "$2" = `+kind+` ] || exit 1
case $1:$2 in
begin:http-01) printf %s "$5" >"$CHALLENGES/$4" ;;
*:http-01) rm "$CHALLENGES/$4" ;;
begin:dns-01) curl -sSf -X PUT --data-binary "$5" "$CONTROL/txt/_acme-challenge.$3" ;;
*:dns-01) curl -sSf -X DELETE "$CONTROL/txt/_acme-challenge.$3" ;;
begin:tls-alpn-01) [ "$(echo "auth $3 $5" | ualpn -s "$UALPN")" = OK ] ;;
*:tls-alpn-01) [ "$(echo "unauth $3" | ualpn -s "$UALPN")" = OK ] ;;
esac`)
}

func (u uacme) chain(name string) split {
	u.t.Helper()
	return u.split(u.one("uacme", name, "cert.pem"))
}

func TestUacmeHTTP(t *testing.T) {
	u := newUacme(t, testca.Terms("https://ca.example/terms"))
	u.serveWebroot()
	p := u.party()
	u.do("new", "who@a.example")
	u.do("-h", u.hook("http-01"), "-t", "EC", "issue", "a.example", "b.example")
	first := u.chain("a.example")
	p.good(first, "a.example", "b.example")
	wantKey(t, first, "ECDSA")

	// uacme asks OCSP, too, before it thinks a renewal is not due (exit code 1).
	if _, err := u.try(u.command("-h", u.hook("http-01"), "-t", "EC", "-d", "1", "issue", "a.example", "b.example")); exitCode(err) != 1 {
		t.Errorf("a renewal that is not due: %v", err)
	}
	u.do("-f", "-h", u.hook("http-01"), "-t", "EC", "issue", "a.example", "b.example")
	second := u.chain("a.example")
	wantRenewed(t, first, second)
	u.do("-r", "4", "revoke", "uacme/a.example/cert.pem")
	p.revoked(second, "superseded")
	p.good(first, "a.example", "b.example")

	u.do("-h", u.hook("http-01"), "-t", "RSA", "-b", "2048", "issue", "rsa.example")
	rsa := u.chain("rsa.example")
	wantKey(t, rsa, "RSA 2048")
	p.good(rsa, "rsa.example")
	u.do("-r", "1", "revoke", "uacme/rsa.example/cert.pem", "uacme/private/rsa.example/key.pem")
	p.revoked(rsa, "keyCompromise")
}

func exitCode(err error) int {
	if e, ok := err.(*exec.ExitError); ok {
		return e.ExitCode()
	}
	return 0
}

func TestUacmeDNSAndWildcard(t *testing.T) {
	u := newUacme(t)
	u.do("-t", "EC", "new")
	u.do("-h", u.hook("dns-01"), "-t", "EC", "issue", "w.example", "*.w.example")
	u.party().good(u.chain("w.example"), "w.example", "*.w.example")
}

func TestUacmeAddress(t *testing.T) {
	u := newUacme(t)
	u.serveWebroot()
	u.do("-t", "EC", "new")
	u.do("-h", u.hook("http-01"), "-t", "EC", "issue", "127.0.0.1")
	u.party().good(u.chain("127.0.0.1"), "127.0.0.1")
}

// ualpn is uacme's own responder; it proves names and addresses (RFC 8738 §6).
func TestUacmeTLSALPN(t *testing.T) {
	u := newUacme(t)
	u.ualpn()
	u.do("-t", "EC", "new")
	u.do("-h", u.hook("tls-alpn-01"), "-t", "EC", "issue", "a.example")
	u.party().good(u.chain("a.example"), "a.example")
	u.do("-h", u.hook("tls-alpn-01"), "-t", "EC", "issue", "127.0.0.1")
	u.party().good(u.chain("127.0.0.1"), "127.0.0.1")
}

// ualpn starts the responder and waits until it listens.
func (u uacme) ualpn() {
	u.t.Helper()
	cmd := exec.Command(peertest.Need(u.t, "ualpn"), "-4", "-s", filepath.Join(u.dir, "ualpn.sock"), "-p", filepath.Join(u.dir, "ualpn.pid"),
		"-n", "1", "-b", fmt.Sprintf("127.0.0.1@%d", u.TLSPort), "-c", "127.0.0.1@9")
	said := u.write("ualpn.log", "")
	log, err := os.OpenFile(said, os.O_WRONLY, 0)
	if err != nil {
		u.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("unix", filepath.Join(u.dir, "ualpn.sock"))
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(said)
			u.t.Fatalf("ualpn does not listen: %v\n%s", err, text)
		}
	}
}

func TestUacmeAccount(t *testing.T) {
	u := newUacme(t)
	u.serveWebroot()
	u.do("-t", "EC", "new", "one@a.example")
	u.do("update", "two@a.example")
	u.do("-t", "EC", "newkey")
	u.do("-h", u.hook("http-01"), "-t", "EC", "issue", "a.example")
	u.party().good(u.chain("a.example"), "a.example")
	u.do("deactivate")
	u.refused(u.command("-f", "-h", u.hook("http-01"), "issue", "a.example"), "deactivated", "unauthorized", "no account")
}

func TestUacmeBinding(t *testing.T) {
	u := newUacme(t, testca.RequireEAB())
	u.serveWebroot()
	u.refused(u.command("-t", "EC", "new"), "external credentials")
	key := u.bindingKey()
	u.do("-t", "EC", "-e", key.ID+":"+key.Secret, "new")
	u.do("-h", u.hook("http-01"), "-t", "EC", "issue", "a.example")
	u.party().good(u.chain("a.example"), "a.example")
}

func TestUacmeAlternateChain(t *testing.T) {
	u := newUacme(t)
	u.serveWebroot()
	made := operate[desk.Line, desk.RolledOver](u.world, "ca.rollover", desk.Line{Name: "root", NewName: true})
	u.do("-t", "EC", "new")
	u.do("-h", u.hook("http-01"), "-t", "EC", "issue", "a.example")
	u.do("-h", u.hook("http-01"), "-t", "EC", "-l", "1", "issue", "b.example")
	a, b := u.chain("a.example"), u.chain("b.example")
	if len(a.all) == len(b.all) {
		t.Errorf("both chains have %d certificates", len(a.all))
	}
	old, next := u.party(), u.party()
	next.trust = u.write("next.pem", made.Made[0].PEM)
	for _, s := range []split{a, b} {
		judge := next
		if s.all[len(s.all)-1].Issuer.CommonName == u.Root.Subject.CommonName {
			judge = old
		}
		judge.good(s, s.cert.DNSNames...)
	}
}
