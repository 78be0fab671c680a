package enroll_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"chancery/internal/enroll"
	"chancery/internal/enroll/install"
	"chancery/internal/enroll/solve"
	"chancery/internal/enroll/vault"
	"chancery/internal/notify"
	"chancery/internal/resolver"
)

// errand is one unattended run of another process, which is killed on its way.
type errand struct {
	Vault, Messages string
	DNS, Webroot    string
	Web, CAs        []byte            // roots, PEM
	Fronts          map[string]string // where addresses really are
	Sheet           vault.Sheet
	TellAfter       int
}

// letters are messages on their way into an outbox.
type letters struct{ *notify.Outbox }

func (l letters) Put(ctx context.Context, n enroll.Notice) error {
	return l.Outbox.Put(ctx, notify.Message{ID: n.ID, Time: n.Time, Subject: n.Subject, Text: n.Text, Data: n.Data})
}

func (e errand) engine() (*enroll.Engine, *vault.Vault, *notify.Outbox, error) {
	web, cas := x509.NewCertPool(), x509.NewCertPool()
	web.AppendCertsFromPEM(e.Web)
	cas.AppendCertsFromPEM(e.CAs)
	dns, err := resolver.New(resolver.Config{Servers: []string{e.DNS}, Timeout: 30 * time.Second})
	if err != nil {
		return nil, nil, nil, err
	}
	v, err := vault.Open(e.Vault)
	if err != nil {
		return nil, nil, nil, err
	}
	box, err := notify.Open(e.Messages, notify.Options{})
	if err != nil {
		return nil, nil, nil, err
	}
	way := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: web}, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, e.Fronts[address])
	}}}
	engine, err := enroll.New(enroll.Config{Resolver: dns, Vault: v, Notifier: letters{box}, HTTP: func(*enroll.CA) *http.Client { return way },
		Solver: func(vault.Sheet) (*solve.Set, error) {
			return solve.NewSet(nil, solve.Choice{Solver: &solve.Webroot{Dir: e.Webroot}}), nil
		},
		Settings: enroll.Settings{Roots: cas, Patience: 20 * time.Second, Tries: 1, TellAfter: e.TellAfter}})
	return engine, v, box, err
}

func (e errand) run(ctx context.Context) (enroll.Outcome, error) {
	engine, _, _, err := e.engine()
	if err != nil {
		return enroll.Outcome{}, err
	}
	return engine.Get(ctx, e.Sheet, enroll.Options{Unattended: true})
}

// crashed is the other process: it ends well if the run had an outcome.
func crashed(text string) error {
	var e errand
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return err
	}
	if out, err := e.run(context.Background()); out.Result == "" {
		return fmt.Errorf("no outcome: %w", err)
	}
	return nil
}

// errand makes one on the rig's CAs, with its state below base.
func (r *rig) errand(base string) errand {
	block := func(c *x509.Certificate) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	e := errand{Vault: filepath.Join(base, "vault"), Messages: filepath.Join(base, "messages"), DNS: r.dns.Addr(), Webroot: r.webroot,
		Web: block(r.trust.cert), Fronts: map[string]string{},
		Sheet: vault.Sheet{Name: "a.test", Names: []string{"a.test"}, Origin: "configuration",
			Install: install.Target{Key: filepath.Join(base, "key.pem"), FullChain: filepath.Join(base, "chain.pem")}}}
	for _, h := range r.houses {
		at := h.listen.Listener.Addr().String()
		e.CAs = append(e.CAs, block(h.ca.Root)...)
		e.Fronts[h.issuer+":443"] = at
		e.Fronts[strings.TrimPrefix(strings.TrimSuffix(h.ca.Base, "/"), "https://")] = at
	}
	return e
}

// killed runs the errand in another process up to a step; done says that it came to its end.
func (e errand) killed(t *testing.T, step int) (done bool) {
	t.Helper()
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self)
	child.Env = append(os.Environ(), "CHANCERY_TEST_ERRAND="+string(text), "CHANCERY_TEST_CRASH="+strconv.Itoa(step))
	child.Stderr = os.Stderr
	err = child.Run()
	if ended, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL) {
		t.Fatalf("step %d: %v", step, err)
	}
	return err == nil
}

// kinds counts the messages of each kind that wait.
func (e errand) kinds(t *testing.T) map[string]int {
	t.Helper()
	_, _, box, err := e.engine()
	if err != nil {
		t.Fatal(err)
	}
	list, err := box.Pending()
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, m := range list {
		kind, _ := m.Data["kind"].(string)
		count[kind]++
	}
	return count
}

// again copies the state of another errand, which has no link in it yet.
func (e errand) again(t *testing.T, from errand) {
	t.Helper()
	for to, from := range map[string]string{e.Vault: from.Vault, e.Messages: from.Messages} {
		if err := exec.Command("cp", "-a", from, to).Run(); err != nil {
			t.Fatal(err)
		}
	}
}

// Whenever the process is killed while a better CA comes back and issues: the certificate
// is in place in the end, was issued once, and each message is there once.
func TestGetKilled(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(2)...)
	first := r.errand(t.TempDir())
	engine, v, _, err := first.engine()
	if err != nil {
		t.Fatal(err)
	}
	get := func(want enroll.Result) {
		t.Helper()
		if out, err := engine.Get(t.Context(), first.Sheet, enroll.Options{Unattended: true}); out.Result != want {
			t.Fatalf("%s, %v", out.Result, err)
		}
	}
	r.set("a.test", issue("ca2.test"))
	get(enroll.Issued)
	due := func(rec *vault.Record) error {
		rec.Window = &vault.Window{Chosen: time.Now().Add(-time.Second)}
		return nil
	}
	if err := v.UpdateRecord(t.Context(), "a.test", due); err != nil {
		t.Fatal(err)
	}
	r.set("a.test", issue("ca1.test"))
	r.houses[0].set(everything(500, "broken"))
	get(enroll.StillValid)
	get(enroll.StillValid)
	var finalized atomic.Int64
	r.houses[0].set(func(_ http.ResponseWriter, q *http.Request) bool {
		if strings.HasSuffix(q.URL.Path, "/finalize") {
			finalized.Add(1)
		}
		return false
	})
	steps := 0
	for done := false; !done; steps += stride {
		e := r.errand(t.TempDir())
		e.again(t, first)
		finalized.Store(0)
		done = e.killed(t, steps+1)
		out, err := e.run(t.Context())
		if err != nil || out.Result != enroll.Issued && out.Result != enroll.NotDue {
			t.Fatalf("step %d: %s, %v", steps+1, out.Result, err)
		}
		_, v, _, err := e.engine()
		if err != nil {
			t.Fatal(err)
		}
		rec, err := v.Record("a.test")
		if err != nil || rec.Current.Issuer != "ca1.test" || rec.Pending != nil || rec.Undeployed != nil || rec.Tries.Failures != 0 || finalized.Load() != 1 {
			t.Errorf("step %d: issued %d times, %+v, %v", steps+1, finalized.Load(), rec, err)
		}
		if pair, err := tls.LoadX509KeyPair(e.Sheet.Install.FullChain, e.Sheet.Install.Key); err != nil || pair.Leaf.SerialNumber.Text(16) != strings.TrimLeft(rec.Current.Serial, "0") {
			t.Errorf("step %d: what is installed: %v", steps+1, err)
		}
		if got := fmt.Sprint(e.kinds(t)); got != "map[ca-changed:1 ca-failing:1 ca-recovered:1 no-certificate:1]" {
			t.Errorf("step %d: %s", steps+1, got)
		}
	}
	if steps < 40 {
		t.Errorf("only %d steps", steps)
	}
	t.Logf("killed at up to %d steps", steps)
}

// Whenever the process is killed while the only CA fails for the first or second time:
// people are told once of the CA, and once of the certificate.
func TestFailureKilled(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(1)...)
	r.set("a.test", issue("ca1.test"))
	r.houses[0].set(everything(500, "broken"))
	for _, tellAfter := range []int{1, 2} {
		first := r.errand(t.TempDir())
		engine, _, _, err := first.engine()
		if err != nil {
			t.Fatal(err)
		}
		for range tellAfter - 1 {
			if _, err := engine.Get(t.Context(), first.Sheet, enroll.Options{}); err == nil {
				t.Fatal("issued")
			}
		}
		steps := 0
		for done := false; !done; steps += stride {
			e := r.errand(t.TempDir())
			e.TellAfter = tellAfter
			e.again(t, first)
			done = e.killed(t, steps+1)
			e.failed(t, steps+1)
		}
		if steps < 15 {
			t.Errorf("only %d steps", steps)
		}
		t.Logf("killed at up to %d steps", steps)
	}
}

// failed runs the errand twice more, and sees what is told of it.
func (e errand) failed(t *testing.T, step int) {
	t.Helper()
	for range 2 {
		if out, err := e.run(t.Context()); out.Result != enroll.Failed {
			t.Fatalf("step %d: %s, %v", step, out.Result, err)
		}
	}
	_, v, _, err := e.engine()
	if err != nil {
		t.Fatal(err)
	}
	if rec, err := v.Record("a.test"); err != nil || rec.Tries.Failures < e.TellAfter+1 || rec.Tries.Told != "none" {
		t.Errorf("step %d: %+v, %v", step, rec.Tries, err)
	}
	if cas, err := v.CAs(); err != nil || len(cas) != 1 || !cas[0].Incident.Told {
		t.Errorf("step %d: %+v, %v", step, cas, err)
	}
	if got := fmt.Sprint(e.kinds(t)); got != "map[ca-failing:1 no-certificate:1]" {
		t.Errorf("step %d: %s", step, got)
	}
}
