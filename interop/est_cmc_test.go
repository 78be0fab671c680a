package interop_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// estFull is a server with fullcmc, by itself, with approval and with an RA.
const estFull = `data = "%[1]s/data"
[listen]
public = "127.0.0.1:%[2]d"
est = "127.0.0.1:%[3]d"
[[est.label]]
operations = ["simpleenroll", "fullcmc"]
names = ["own", "*.iot.example"]
ras = ["ra"]
ra_names = ["*.iot.example"]
[[est.label]]
name = "manual"
manual = true
retry_after = "1s"
operations = ["fullcmc"]
[[est.maker]]
name = "works"
roots = "works.pem"
revocation = "none"
`

const fullUser, fullSecret = "gateway", "correct-horse-battery-staple"

// TestESTFullCMC: a client of Bouncy Castle's makes Full PKI Requests of every kind, sends
// them to the real program, and verifies and reads its answers (RFC 7030 §4.3).
func TestESTFullCMC(t *testing.T) {
	l := newESTLab(t, estFull)
	l.chancery(fullSecret+"\n", "est", "user", "add", fullUser, "--stdin", "--cmc", "--name", "*.gw.example")
	once := l.oneTime("once", "--cmc", "--name", "*.once.example")
	l.ssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=Registrar", "-keyout", "ra.key", "-out", "ra.csr")
	l.chancery("", "cert", "sign", "ra.csr", "--profile", "ra", "--out", "ra.pem")
	gone := make(chan error, 1)
	go func() { gone <- l.approveOne() }()

	var c fullTalk
	c.ask("ready", "server", "https://"+l.at(l.port)+"/.well-known/est/", l.root)
	for i, form := range []string{"pkcs10", "crmf"} {
		name := fmt.Sprintf("n%d.gw.example", i)
		c.ask("200 0:4 "+name, "enrol", "fullcmc", form, name, fullUser, fullSecret)
	}
	c.ask("ready", "save", l.path("answer.p7"))
	c.ask("200 0:4 o.once.example", "enrol", "fullcmc", "pkcs10", "o.once.example", "once", once)
	c.ask("403 2:6 fail7 none", "enrol", "fullcmc", "pkcs10", "w.gw.example", fullUser, "wrong")
	c.ask("200 0:3 b.iot.example", "by", "fullcmc", "crmf", "b.iot.example", "n0.gw.example")
	c.ask("403 2:3 fail2 none", "by", "fullcmc", "pkcs10", "b.elsewhere.example", "n0.gw.example")
	c.ask("200 6:3 then 200 0:3 c.gw.example", "challenge", "fullcmc", "c.gw.example", fullUser, fullSecret)
	c.ask("200 0:3 true", "getcert", "fullcmc", "n0.gw.example", "n1.gw.example")
	c.ask("200 0:3 1 true", "getcrl", "fullcmc", "n0.gw.example")
	c.ask("200 0:3", "confirm", "fullcmc", "n0.gw.example")
	c.ask("200 0:0 true true 400 2:3 fail2", "tell", "fullcmc", "n0.gw.example")
	c.ask("200 0:0 true", "anchors", "fullcmc", fullUser, fullSecret)
	c.ask("202 3:3 pending none", "by", "manual/fullcmc", "crmf", "m.corp.example", "n0.gw.example")
	c.ask("200 0:3 m.corp.example", "poll", "manual/fullcmc", "n0.gw.example", "m.corp.example")
	c.ask("ready", "load", "ra", l.path("ra.key"), l.path("ra.pem"))
	c.ask("200 0:3/3 changed.iot.example", "ra", "fullcmc", "ra", "r", "asked.iot.example", "changed.iot.example")
	c.ask("200 0:3:4 200 0:3 0x.iot.example 200 0:3 1x.iot.example", "batch", "fullcmc", "ra", "n0.gw.example", "x.iot.example")
	c.ask("403 2:3 fail7", "revoke", "fullcmc", "n1.gw.example", "wrong")
	c.ask("200 0:3", "revoke", "fullcmc", "n1.gw.example", fullSecret)
	c.ask("200 0:3", "revoke", "fullcmc", "n0.gw.example")
	c.ask("403 2:0 fail7 none", "by", "fullcmc", "crmf", "z.iot.example", "n0.gw.example")
	c.hold(t)
	if err := <-gone; err != nil {
		t.Error(err)
	}
	// OpenSSL thinks the same of the signature.
	l.ssl("cms", "-verify", "-inform", "DER", "-in", "answer.p7", "-CAfile", l.root, "-purpose", "any", "-out", "answer.der")
	if out := l.ssl("asn1parse", "-inform", "DER", "-in", "answer.der"); !strings.Contains(out, "SEQUENCE") {
		t.Errorf("what was signed is %s", out)
	}
	for name, revoked := range map[string]bool{"n0.gw.example": true, "n1.gw.example": true, "b.iot.example": false} {
		if out := l.chancery("", "cert", "list", "--name", name); strings.Contains(out, "revoked") != revoked {
			t.Errorf("%s:\n%s", name, out)
		}
	}
}

// fullTalk gathers what is asked of FullCmc.java with what it is to say.
type fullTalk struct{ lines, wanted []string }

func (c *fullTalk) ask(wanted string, words ...string) {
	c.lines, c.wanted = append(c.lines, strings.Join(words, " ")), append(c.wanted, wanted)
}

func (c *fullTalk) hold(t *testing.T) {
	t.Helper()
	said := bouncyCastle(t, "FullCmc.java", c.lines...)
	if len(said) != len(c.lines) {
		t.Fatalf("%d answers to %d lines: %q", len(said), len(c.lines), said)
	}
	for i := range said {
		if said[i] != c.wanted[i] {
			t.Errorf("%s: %.1000q, not %q", c.lines[i], said[i], c.wanted[i])
		}
	}
}

var waitingID = regexp.MustCompile(`"id": "([^"]+)"`)

// approveOne approves the first request that comes, as an administrator.
func (l *estLab) approveOne() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	do := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, l.program, append(args, "--config", filepath.Join(l.dir, "chancery.toml"))...)
		cmd.Dir, cmd.Env = l.dir, l.environment()
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("chancery %q: %w\n%s", args, err, out)
		}
		return string(out), err
	}
	for tick := time.NewTicker(300 * time.Millisecond); ; <-tick.C {
		out, err := do("est", "requests", "--state", "pending", "--json")
		if err != nil {
			return err
		}
		if found := waitingID.FindStringSubmatch(out); found != nil {
			_, err = do("est", "approve", found[1])
			return err
		}
	}
}
