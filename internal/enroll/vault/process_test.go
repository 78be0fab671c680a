package vault

import (
	"bufio"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"chancery/internal/durable"
	"chancery/internal/enroll/install"
)

// The test binary runs itself as another process: CHANCERY_TEST_ROLE says what
// as, and CHANCERY_TEST_CRASH before which change of the file system it is killed.
func TestMain(m *testing.M) {
	role, dir := os.Getenv("CHANCERY_TEST_ROLE"), os.Getenv("CHANCERY_TEST_VAULT")
	if role == "" {
		os.Exit(m.Run())
	}
	at, _ := strconv.Atoi(os.Getenv("CHANCERY_TEST_CRASH"))
	count := 0
	durable.Trace = func(string) {
		if count++; count == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	v, err := Open(dir)
	if err == nil {
		err = roles[role](context.Background(), v)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

var roles = map[string]func(context.Context, *Vault) error{
	"obtain": obtain, "register": register, "rollover": rollover, "count": count, "hold": hold, "publish": publish,
}

// run starts a role; crash 0 = it is left to end.
func run(t *testing.T, role, dir string, crash int) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	check(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "CHANCERY_TEST_ROLE="+role, "CHANCERY_TEST_VAULT="+dir, "CHANCERY_TEST_CRASH="+strconv.Itoa(crash))
	cmd.Stderr = os.Stderr
	return cmd
}

// crashes runs a role again and again, killed before the first change, before the
// second …, each in a fresh place; then to its end in what is left, and verifies.
func crashes(t *testing.T, role string, prepare, verify func(t *testing.T, v *Vault)) {
	for n := 1; ; n += stride {
		dir := filepath.Join(t.TempDir(), "vault")
		v, err := Open(dir)
		check(t, err)
		prepare(t, v)
		err = run(t, role, dir, n).Run()
		if err == nil {
			if n < 8 {
				t.Errorf("only %d steps", n)
			}
			t.Logf("%s: killed at up to %d steps", role, n-1)
			return
		}
		if ended, ok := errors.AsType[*exec.ExitError](err); !ok || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("step %d: %v", n, err)
		}
		if err := run(t, role, dir, 0).Run(); err != nil {
			t.Fatalf("after a crash at step %d: %v", n, err)
		}
		t.Run(strconv.Itoa(n), func(t *testing.T) { verify(t, v) })
	}
}

// server is the far side: files beside the vault that no crash of the client takes back.
func server(v *Vault, name string) string {
	return filepath.Join(filepath.Dir(v.Dir()), "server-"+name)
}

// remember appends a line to the server's file, as one step that a crash may
// come before or after.
func remember(v *Vault, name, line string) error {
	durable.Step("server", name)
	f, err := os.OpenFile(server(v, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	durable.Step("server done", name)
	return errors.Join(err, f.Close())
}

func remembered(t *testing.T, v *Vault, name string) []string {
	t.Helper()
	text, err := os.ReadFile(server(v, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Fields(string(text))
}

const host = "www.corp.example"

// obtain is what an engine does to renew a certificate, with a CA that issues
// once for each order.
func obtain(ctx context.Context, v *Vault) error {
	unlock, err := v.Lock(ctx, host)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := v.Record(host)
	if err != nil || r.Current.Issuer == "second.example" {
		return err
	}
	key, err := v.PendingKey(ctx, host, "ecdsa-p384")
	if err != nil {
		return err
	}
	sum, err := PublicKeySHA256(key.Public())
	if err != nil {
		return err
	}
	if r.Pending == nil {
		if err := v.UpdateRecord(ctx, host, func(r *Record) error {
			r.Pending = &Pending{Directory: directory, OrderURL: "https://ca.example/order/1", KeySHA256: sum}
			return nil
		}); err != nil {
			return err
		}
	} else if r.Pending.KeySHA256 != sum {
		return fmt.Errorf("the order is for key %s, and the vault gives %s", r.Pending.KeySHA256, sum)
	}
	if _, err := os.Stat(server(v, "issued")); err != nil { // not finalized yet
		if err := remember(v, "issued", sum); err != nil {
			return err
		}
	}
	b, err := certify(key, 2)
	if err != nil {
		return err
	}
	_, err = v.Publish(ctx, host, Publication{Issued: Issued{Issuer: "second.example", Directory: directory}, Bundle: b})
	return err
}

func TestCrashWhileObtaining(t *testing.T) {
	prepare := func(t *testing.T, v *Vault) {
		check(t, v.UpdateRecord(t.Context(), host, func(r *Record) error { r.Sheet.Names = []string{host}; return nil }))
		for n := range int64(install.GenerationsKept) { // so that one is deleted, too
			_, err := v.Publish(t.Context(), host, Publication{Issued: Issued{Issuer: "first.example", Directory: directory}, Bundle: bundle(t, n+1)})
			check(t, err)
		}
	}
	crashes(t, "obtain", prepare, func(t *testing.T, v *Vault) {
		if issued := remembered(t, v, "issued"); len(issued) != 1 {
			t.Errorf("issued %d times", len(issued))
		}
		r, err := v.Record(host)
		check(t, err)
		if r.Current.Issuer != "second.example" || r.Pending != nil || r.Undeployed == nil {
			t.Errorf("record %+v", r)
		}
		b, err := v.CurrentBundle(host)
		check(t, err)
		if sum, _ := PublicKeySHA256(b.Key.Public()); sum != remembered(t, v, "issued")[0] {
			t.Error("the certificate is for another key than was ordered")
		}
		if target, err := os.Readlink(v.Lineage(host)); err != nil || target != r.Current.Generation {
			t.Errorf("current is %s (%v), the record says %s", target, err, r.Current.Generation)
		}
		tidy(t, v)
	})
}

// tidy: after a whole run nothing is left of the broken one.
func tidy(t *testing.T, v *Vault) {
	t.Helper()
	check(t, v.UpdateRecord(t.Context(), host, func(*Record) error { return nil }))
	check(t, filepath.WalkDir(v.Dir(), func(path string, e fs.DirEntry, err error) error {
		if durable.Temporary(e.Name()) {
			t.Errorf("%s is left", path)
		}
		return err
	}))
}

// register is what an engine does to get an account. The server has one account
// for each key (RFC 8555 §7.3.1).
func register(ctx context.Context, v *Vault) error {
	unlock, err := v.LockCA(ctx, directory)
	if err != nil {
		return err
	}
	defer unlock()
	ca, err := v.CA(directory)
	if err != nil || ca.Account != nil {
		return err
	}
	key, err := v.CreateAccountKey(ctx, directory, "")
	if err != nil {
		return err
	}
	url, err := account(v, key)
	if err != nil {
		return err
	}
	return v.UpdateCA(ctx, directory, func(ca *CA) error { ca.Account = &Account{URL: url}; return nil })
}

// account gives the URL of the key's account.
func account(v *Vault, key crypto.Signer) (string, error) {
	sum, err := PublicKeySHA256(key.Public())
	if err != nil {
		return "", err
	}
	text, _ := os.ReadFile(server(v, "accounts"))
	if strings.Contains(string(text), sum) {
		return sum, nil
	}
	return sum, remember(v, "accounts", sum)
}

func TestCrashWhileRegistering(t *testing.T) {
	crashes(t, "register", func(*testing.T, *Vault) {}, func(t *testing.T, v *Vault) {
		ca, err := v.CA(directory)
		check(t, err)
		accounts := remembered(t, v, "accounts")
		if len(accounts) != 1 || ca.Account == nil || ca.Account.URL != accounts[0] {
			t.Errorf("accounts %v, record %+v", accounts, ca.Account)
		}
	})
}

// rollover is what an engine does to change an account's key. The server's last
// line is the key that it knows.
func rollover(ctx context.Context, v *Vault) error {
	unlock, err := v.LockCA(ctx, directory)
	if err != nil {
		return err
	}
	defer unlock()
	text, err := os.ReadFile(server(v, "keys"))
	if err != nil {
		return err
	}
	lines := strings.Fields(string(text))
	knows := func(key crypto.Signer) bool {
		sum, err := PublicKeySHA256(key.Public())
		return err == nil && sum == lines[len(lines)-1]
	}
	current, next, err := v.AccountKeys(directory)
	if err != nil {
		return err
	}
	if next == nil && len(lines) > 1 { // done in a run before
		if !knows(current) {
			return errors.New("the account is lost")
		}
		return nil
	}
	if next, err = v.NextAccountKey(ctx, directory, "ecdsa-p384"); err != nil {
		return err
	}
	if !knows(next) {
		if !knows(current) {
			return errors.New("the account is lost")
		}
		sum, err := PublicKeySHA256(next.Public())
		if err != nil {
			return err
		}
		if err := remember(v, "keys", sum); err != nil {
			return err
		}
	}
	return v.PromoteAccountKey(ctx, directory)
}

func TestCrashWhileChangingKeys(t *testing.T) {
	crashes(t, "rollover", func(t *testing.T, v *Vault) {
		key, err := v.CreateAccountKey(t.Context(), directory, "")
		check(t, err)
		sum, err := PublicKeySHA256(key.Public())
		check(t, err)
		check(t, remember(v, "keys", sum))
	}, func(t *testing.T, v *Vault) {
		current, next, err := v.AccountKeys(directory)
		check(t, err)
		sum, err := PublicKeySHA256(current.Public())
		check(t, err)
		if known := remembered(t, v, "keys"); next != nil || len(known) != 2 || known[1] != sum {
			t.Errorf("the server knows %v, the vault %s", known, sum)
		}
	})
}

const rounds = 50

// count adds to a record and to a CA.
func count(ctx context.Context, v *Vault) error {
	for range rounds {
		if err := v.UpdateCA(ctx, directory, func(ca *CA) error { ca.Circuit.Failures++; return nil }); err != nil {
			return err
		}
		if err := v.UpdateRecord(ctx, host, func(r *Record) error { r.Tries.Failures++; return nil }); err != nil {
			return err
		}
	}
	return nil
}

// Nothing that one of several processes writes is lost.
func TestProcessesContend(t *testing.T) {
	v := open(t)
	var all []*exec.Cmd
	for range 3 {
		cmd := run(t, "count", v.Dir(), 0)
		check(t, cmd.Start())
		all = append(all, cmd)
	}
	check(t, count(t.Context(), v))
	for _, cmd := range all {
		check(t, cmd.Wait())
	}
	ca, err := v.CA(directory)
	check(t, err)
	r, err := v.Record(host)
	check(t, err)
	if ca.Circuit.Failures != 4*rounds || r.Tries.Failures != 4*rounds {
		t.Errorf("%d and %d of %d", ca.Circuit.Failures, r.Tries.Failures, 4*rounds)
	}
}

// hold locks, says so, and stays until it is killed.
func hold(ctx context.Context, v *Vault) error {
	if _, err := v.Lock(ctx, host); err != nil {
		return err
	}
	fmt.Println("locked")
	select {}
}

func TestLockIsHeldByAnother(t *testing.T) {
	v := open(t)
	cmd := run(t, "hold", v.Dir(), 0)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "locked\n" {
		t.Fatalf("%q, %v", line, err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = v.Lock(over, host)
	busy, ok := errors.AsType[*BusyError](err)
	if !ok || busy.PID != cmd.Process.Pid || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), strconv.Itoa(cmd.Process.Pid)) {
		t.Errorf("%v", err)
	}
	// Short changes work meanwhile.
	check(t, v.UpdateRecord(t.Context(), host, func(r *Record) error { r.Disabled = true; return nil }))
	got := make(chan error, 1)
	go func() {
		unlock, err := v.Lock(t.Context(), host)
		if err == nil {
			unlock()
		}
		got <- err
	}()
	check(t, cmd.Process.Kill())
	_ = cmd.Wait()
	select {
	case err := <-got:
		check(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal("the lock of a dead process holds")
	}
	// Within one process, too; and a removed certificate can be locked anew.
	unlock, err := v.Lock(t.Context(), host)
	check(t, err)
	if _, err := v.Lock(over, host); err == nil || !strings.Contains(err.Error(), "another task") {
		t.Errorf("%v", err)
	}
	check(t, v.Remove(t.Context(), host))
	again, err := v.Lock(t.Context(), host)
	check(t, err)
	again()
	unlock()
}

// publish replaces the certificate again and again.
func publish(ctx context.Context, v *Vault) error {
	for n := range int64(15) {
		unlock, err := v.Lock(ctx, host)
		if err != nil {
			return err
		}
		key, err := v.PendingKey(ctx, host, "")
		if err != nil {
			return err
		}
		b, err := certify(key, n+2)
		if err == nil {
			_, err = v.Publish(ctx, host, Publication{Bundle: b})
		}
		if err != nil {
			return err
		}
		unlock()
	}
	return nil
}

// Who opens "current" once never pairs a key with another's certificate, while
// two processes replace it.
func TestReadersSeeOneGeneration(t *testing.T) {
	v := open(t)
	_, err := v.Publish(t.Context(), host, Publication{Bundle: bundle(t, 1)})
	check(t, err)
	other := run(t, "publish", v.Dir(), 0)
	check(t, other.Start())
	done := make(chan error, 1)
	go func() {
		err := publish(context.Background(), v)
		done <- errors.Join(err, other.Wait())
	}()
	reads := 0
	for {
		select {
		case err := <-done:
			check(t, err)
			r, err := v.Record(host)
			check(t, err)
			if reads == 0 || r.Current.Generation != "g000031" {
				t.Errorf("%d reads, %s is current", reads, r.Current.Generation)
			}
			return
		default:
		}
		root, err := os.OpenRoot(v.Lineage(host))
		check(t, err)
		key, err1 := root.ReadFile("privkey.pem")
		chain, err2 := root.ReadFile("fullchain.pem")
		check(t, root.Close())
		if errors.Is(err1, fs.ErrNotExist) || errors.Is(err2, fs.ErrNotExist) { // five generations passed meanwhile
			continue
		}
		check(t, errors.Join(err1, err2))
		signer, err := install.ParseKey(key)
		check(t, err)
		certificates, err := install.ParseCertificates(chain)
		check(t, err)
		check(t, install.Bundle{Key: signer, Chain: certificates}.Check())
		reads++
	}
}
