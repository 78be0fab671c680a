package install

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"chancery/internal/durable"
	"chancery/internal/keys"
)

// The test binary runs itself as the process that is killed; see TestCrash.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CHANCERY_TEST_INSTALL"); dir != "" {
		at, _ := strconv.Atoi(os.Getenv("CHANCERY_TEST_CRASH"))
		count := 0
		durable.Trace = func(string) {
			if count++; count == at {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
		b, err := certify(2)
		if err == nil {
			err = everywhere(dir).Install(context.Background(), b)
		}
		if err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func certify(serial int64) (Bundle, error) { return certifyKey("", serial) }

func certifyKey(keyType string, serial int64) (Bundle, error) {
	key, err := NewKey(keyType)
	if err != nil {
		return Bundle{}, err
	}
	issuerKey, err := NewKey("")
	if err != nil {
		return Bundle{}, err
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, IsCA: true, BasicConstraintsValid: true, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "www.corp.example"}, DNSNames: []string{"www.corp.example"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	var chain []*x509.Certificate
	for _, one := range []struct {
		template *x509.Certificate
		public   crypto.PublicKey
	}{{leaf, key.Public()}, {root, issuerKey.Public()}} {
		der, err := x509.CreateCertificate(rand.Reader, one.template, root, one.public, issuerKey)
		if err != nil {
			return Bundle{}, err
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return Bundle{}, err
		}
		chain = append(chain, c)
	}
	return Bundle{Key: key, Chain: chain}, nil
}

func bundle(t *testing.T, serial int64) Bundle {
	t.Helper()
	b, err := certify(serial)
	check(t, err)
	return b
}

// everywhere wants all files, in three directories, below dir, which has a password.
func everywhere(dir string) Target {
	return Target{
		Cert: filepath.Join(dir, "a/cert.pem"), Key: filepath.Join(dir, "b/key.pem"), Chain: filepath.Join(dir, "a/chain.pem"),
		FullChain: filepath.Join(dir, "a/full.pem"), Combined: filepath.Join(dir, "b/both.pem"), PKCS12: filepath.Join(dir, "c/d/bundle.p12"),
		PKCS12Password: "file:" + filepath.Join(dir, "password"), KeyMode: 0o640,
	}
}

func place12(t *testing.T) (string, Target) {
	t.Helper()
	dir := t.TempDir()
	// The test's umask may be 0. What is above these two is not the test's, /tmp above all.
	for _, d := range []string{dir, filepath.Dir(dir)} {
		check(t, os.Chmod(d, 0o755))
	}
	check(t, os.WriteFile(filepath.Join(dir, "password"), []byte("correct horse\n"), 0o600))
	return dir, everywhere(dir)
}

func TestInstall(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir, target := place12(t)
	for serial := range int64(2) {
		b := bundle(t, serial+1)
		if holds, err := target.Holds(b); err != nil || holds {
			t.Fatalf("holds what was never installed: %t, %v", holds, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "a")); serial == 0 && err == nil {
			t.Error("looking made a directory")
		}
		check(t, target.Install(t.Context(), b))
		if holds, err := target.Holds(b); err != nil || !holds {
			t.Errorf("does not hold what was installed: %v", err)
		}
		check(t, target.Install(t.Context(), b)) // again
		for path, want := range map[string]struct {
			certificates int
			key          bool
			mode         fs.FileMode
		}{
			target.Cert: {1, false, 0o644}, target.Chain: {1, false, 0o644}, target.FullChain: {2, false, 0o644},
			target.Key: {0, true, 0o640}, target.Combined: {2, true, 0o640},
		} {
			text, err := os.ReadFile(path)
			check(t, err)
			chain, _ := ParseCertificates(text)
			key, err := ParseKey(text)
			if len(chain) != want.certificates || (err == nil) != want.key || want.key && !(Bundle{key, b.Chain}).matches() {
				t.Errorf("%s: %d certificates, key: %v", path, len(chain), err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode() != want.mode {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
		}
		for _, part := range []Target{{FullChain: target.FullChain}, {Cert: target.Cert}, {Combined: target.Combined}, {PKCS12: target.PKCS12, PKCS12Password: target.PKCS12Password}} {
			if got, err := Existing(part); err != nil || !got.Equal(b.Chain[0]) {
				t.Errorf("%v: %v", part, err)
			}
		}
	}
	names := tree(t, dir)
	if len(names) != 7 {
		t.Errorf("something is left or missing: %v", names)
	}
	for _, made := range []string{"a", "c/d"} {
		if info, err := os.Stat(filepath.Join(dir, made)); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", made, info.Mode(), err)
		}
	}
}

func (b Bundle) matches() bool { return b.Check() == nil }

// tree lists the files below dir.
func tree(t *testing.T, dir string) (names []string) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, path)
		}
		return err
	}))
	return names
}

// The standard tool reads the PKCS#12 file, in both encodings, for every kind of key.
func TestPKCS12(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	dir, _ := place12(t)
	password := filepath.Join(dir, "password")
	for _, keyType := range []string{"ecdsa-p256", "ecdsa-p384", "rsa-2048", "ed25519"} {
		for _, legacy := range []bool{false, true} {
			b, err := certifyKey(keyType, 1)
			check(t, err)
			target := Target{PKCS12: filepath.Join(dir, "x.p12"), PKCS12Password: "file:" + password, PKCS12Legacy: legacy}
			check(t, target.Install(t.Context(), b))
			args := []string{"pkcs12", "-in", target.PKCS12, "-passin", "file:" + password, "-nodes"}
			if legacy {
				args = append(args, "-legacy")
			}
			out, err := exec.Command(openssl, args...).CombinedOutput()
			if err != nil {
				t.Fatalf("%s, legacy %t: %v\n%s", keyType, legacy, err, out)
			}
			key, err := ParseKey(out)
			check(t, err)
			if chain, err := ParseCertificates(out); err != nil || len(chain) != 2 || !(Bundle{key, b.Chain}).matches() {
				t.Errorf("%s, legacy %t: %d certificates, %v", keyType, legacy, len(chain), err)
			}
			if out, err := exec.Command(openssl, "pkcs12", "-in", target.PKCS12, "-passin", "pass:wrong", "-nodes").CombinedOutput(); err == nil {
				t.Errorf("opened by another password: %s", out)
			}
			if info, err := os.Stat(target.PKCS12); err != nil || info.Mode() != 0o600 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
		}
	}
	check(t, os.WriteFile(password, []byte("another\n"), 0o600))
	if _, err := Existing(Target{PKCS12: filepath.Join(dir, "x.p12"), PKCS12Password: "file:" + password}); !isTargetError(err) || strings.Contains(err.Error(), "another") {
		t.Errorf("%v", err)
	}
}

// A password that others can read protects no key.
func TestSharedPassword(t *testing.T) {
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	check(t, os.WriteFile(password, []byte("correct horse\n"), 0o600))
	check(t, os.Chmod(password, 0o644))
	target := Target{PKCS12: filepath.Join(dir, "x.p12"), PKCS12Password: "file:" + password}
	if err := target.Install(t.Context(), bundle(t, 1)); !errors.Is(err, keys.ErrPermissions) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(target.PKCS12); err == nil {
		t.Error("installed all the same")
	}
}

func isTargetError(err error) bool {
	_, ok := errors.AsType[*TargetError](err)
	return ok
}

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		name   string
		target Target
		want   string
	}{
		{"relative", Target{Cert: "cert.pem"}, "absolute"},
		{"directory", Target{Cert: "/etc/ssl/"}, "is a directory"},
		{"twice", Target{Cert: "/c", Key: "//c"}, "choose two paths"},
		{"no password", Target{PKCS12: "/p"}, "needs a password"},
		{"password itself", Target{PKCS12: "/p", PKCS12Password: "hunter2"}, "by reference"},
		{"key for all", Target{Key: "/k", KeyMode: 0o644}, "lets everybody read"},
		{"writable", Target{Cert: "/c", Mode: 0o664}, "must not let others"},
		{"line break", Target{Cert: "/a\nb"}, "line break"},
	} {
		if err := test.target.Validate(); !isTargetError(err) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if err := (Target{}).Validate(); err != nil || !(Target{}).Empty() {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	b := bundle(t, 1)
	at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	check(t, os.Mkdir(at("open"), 0o755))
	check(t, os.Chmod(at("open"), 0o777))
	check(t, os.Mkdir(at("directory"), 0o755))
	check(t, syscall.Mkfifo(at("pipe"), 0o600))
	check(t, os.WriteFile(at("file"), nil, 0o600))
	check(t, os.Symlink("loop", at("loop")))
	check(t, os.Symlink(at("other"), at("dangling")))
	check(t, os.Symlink(at("gone"), at("gonedir")))
	for _, test := range []struct {
		path, want string
	}{
		{at("open", "x.pem"), "chmod o-w"},
		{at("directory"), "is no file but a directory"},
		{at("pipe"), "is no file but a device"},
		{at("file", "x.pem"), "is a file where a directory should be"},
		{at("loop"), "more than ten symbolic links"},
		{at("gonedir", "x.pem"), "a directory that is not there"},
		{"/proc/chancery/x.pem", "/proc/chancery"},
	} {
		if err := (Target{Cert: test.path}).Install(t.Context(), b); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.path, err)
		}
	}
	if err := (Target{Cert: at("dangling"), Key: at("other")}).Install(t.Context(), b); !isTargetError(err) {
		t.Errorf("two paths for one file: %v", err)
	}
	if err := (Target{Cert: at("c"), Owner: "no such user"}).Install(t.Context(), b); !isTargetError(err) {
		t.Errorf("owner: %v", err)
	}
	if err := (Target{Cert: at("c"), Group: "no such group"}).Install(t.Context(), b); !isTargetError(err) {
		t.Errorf("group: %v", err)
	}
	if err := (Target{Cert: at("c")}).Install(t.Context(), Bundle{Key: b.Key, Chain: bundle(t, 2).Chain}); err == nil {
		t.Error("another's key is installed")
	}
	check(t, os.WriteFile(at("text"), []byte("hello"), 0o600))
	if _, err := Existing(Target{Cert: at("text")}); !isTargetError(err) {
		t.Errorf("%v", err)
	}
	if c, err := Existing(Target{Cert: at("nothing"), FullChain: at("nothing2"), PKCS12: at("nothing3")}); err != nil || c != nil {
		t.Errorf("%v, %v", c, err)
	}
	if _, err := os.Lstat(at("c")); err == nil {
		t.Error("a refused installation left something")
	}
}

// A symbolic link of ours stays, and what it points to is replaced; one of
// another user is refused.
func TestSymlinks(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	check(t, os.Mkdir(at("real"), 0o755))
	check(t, os.WriteFile(at("real/cert.pem"), []byte("old"), 0o600))
	check(t, os.Symlink("real/cert.pem", at("middle")))
	check(t, os.Symlink(at("middle"), at("link")))
	check(t, os.Symlink("real/new.pem", at("dangling")))
	b := bundle(t, 1)
	check(t, (Target{Cert: at("link"), FullChain: at("dangling")}).Install(t.Context(), b))
	for _, name := range []string{"link", "middle", "dangling"} {
		if info, err := os.Lstat(at(name)); err != nil || info.Mode().Type() != fs.ModeSymlink {
			t.Errorf("%s is no link any more: %v, %v", name, info.Mode(), err)
		}
	}
	for _, name := range []string{"real/cert.pem", "real/new.pem"} {
		if text, err := os.ReadFile(at(name)); err != nil || !strings.HasPrefix(string(text), "-----BEGIN CERTIFICATE") {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can give a link away")
	}
	check(t, os.Lchown(at("link"), 65534, 65534))
	if err := (Target{Cert: at("link")}).Install(t.Context(), b); !isTargetError(err) {
		t.Errorf("another user's link is followed: %v", err)
	}
	// Owner and group by number and by name.
	check(t, (Target{Key: at("key"), Owner: "65534", Group: "daemon", KeyMode: 0o440}).Install(t.Context(), b))
	info, err := os.Stat(at("key"))
	check(t, err)
	if status := info.Sys().(*syscall.Stat_t); status.Uid != 65534 || status.Gid == 0 || info.Mode() != 0o440 {
		t.Errorf("%+v, %v", status, info.Mode())
	}
}

// From its first octet on, no file with the key can be read by others: a watcher
// looks at everything that appears, while the umask takes nothing away.
func TestPermissionsFromTheFirstOctet(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir, target := place12(t)
	target.KeyMode = 0
	steps, files := 0, 0
	durable.Trace = func(string) { // before each change, thus after the one before
		steps++
		for _, path := range tree(t, dir) {
			info, err := os.Lstat(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			check(t, err)
			text, err := os.ReadFile(path)
			check(t, err)
			base := filepath.Base(path)
			secret := strings.Contains(string(text), "PRIVATE KEY") || strings.Contains(base, "key.pem") || strings.Contains(base, "both.pem") || strings.Contains(base, ".p12")
			if files++; secret && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
		}
	}
	defer func() { durable.Trace = nil }()
	for serial := range int64(2) {
		check(t, target.Install(t.Context(), bundle(t, serial+1)))
	}
	if steps < 40 || files < 200 {
		t.Errorf("only %d steps and %d files seen", steps, files)
	}
}

// When one file cannot be put in place, none is.
func TestRollBack(t *testing.T) {
	dir, target := place12(t)
	first := bundle(t, 1)
	check(t, (Target{Cert: target.Cert, Key: target.Key}).Install(t.Context(), first))
	before := contents(t, dir)
	// The last to be renamed becomes a directory at the last moment.
	renames := 0
	durable.Trace = func(step string) {
		if strings.HasPrefix(step, "rename") {
			if renames++; renames == 6 {
				check(t, os.MkdirAll(filepath.Join(target.FullChain, "in the way"), 0o755))
			}
		}
	}
	defer func() { durable.Trace = nil }()
	if err := target.Install(t.Context(), bundle(t, 2)); err == nil || renames != 6 {
		t.Fatalf("%v after %d renames", err, renames)
	}
	durable.Trace = nil
	check(t, os.RemoveAll(target.FullChain))
	after := contents(t, dir)
	if len(after) != len(before) {
		t.Errorf("before: %d files, after: %d", len(before), len(after))
	}
	for path, text := range before {
		if after[path] != text {
			t.Errorf("%s was not put back", path)
		}
	}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, path := range tree(t, dir) {
		text, err := os.ReadFile(path)
		check(t, err)
		all[path] = string(text)
	}
	return all
}

// Killed before each of its changes, an installation leaves every file whole, and
// the next one finishes it and clears up.
func TestCrash(t *testing.T) {
	self, err := os.Executable()
	check(t, err)
	for n := 1; ; n += stride {
		dir, target := place12(t)
		check(t, target.Install(t.Context(), bundle(t, 1)))
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "CHANCERY_TEST_INSTALL="+dir, "CHANCERY_TEST_CRASH="+strconv.Itoa(n))
		cmd.Stderr = os.Stderr
		err := cmd.Run()
		if err == nil {
			if n < 20 {
				t.Errorf("only %d steps", n)
			}
			return
		}
		if ended, ok := errors.AsType[*exec.ExitError](err); !ok || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("step %d: %v", n, err)
		}
		both, err := os.ReadFile(target.Combined)
		check(t, err)
		chain, err := ParseCertificates(both)
		check(t, err)
		key, err := ParseKey(both)
		check(t, err)
		if !(Bundle{key, chain}).matches() {
			t.Errorf("step %d: the combined file holds another certificate's key", n)
		}
		if _, err := Existing(Target{PKCS12: target.PKCS12, PKCS12Password: target.PKCS12Password}); err != nil {
			t.Errorf("step %d: %v", n, err)
		}
		last := bundle(t, 3)
		check(t, target.Install(t.Context(), last))
		if holds, err := target.Holds(last); err != nil || !holds {
			t.Errorf("step %d: %t, %v", n, holds, err)
		}
		if left := tree(t, dir); len(left) != 7 {
			t.Errorf("step %d: left %v", n, left)
		}
	}
}

// Whoever may read a directory can hold its lock; that stops nobody for good.
func TestForeignLock(t *testing.T) {
	dir, target := place12(t)
	check(t, target.Install(t.Context(), bundle(t, 1)))
	release, err := durable.LockDir(t.Context(), filepath.Join(dir, "a"))
	check(t, err)
	defer release()
	defer func(before time.Duration) { patience = before }(patience)
	patience = time.Millisecond
	b := bundle(t, 2)
	check(t, target.Install(t.Context(), b))
	if holds, err := target.Holds(b); err != nil || !holds {
		t.Errorf("%t, %v", holds, err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := target.Install(over, b); !isBusy(err) {
		t.Errorf("%v", err)
	}
}

// A full disk leaves the old files and says what to do.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	defer func() { check(t, syscall.Unmount(dir, 0)) }()
	target := Target{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	first := bundle(t, 1)
	check(t, target.Install(t.Context(), first))
	check(t, os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 4096), 0o600))
	if err := target.Install(t.Context(), bundle(t, 2)); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free some") {
		t.Errorf("%v", err)
	}
	if holds, err := target.Holds(first); err != nil || !holds || len(tree(t, dir)) != 3 {
		t.Errorf("%t, %v, %v", holds, err, tree(t, dir))
	}
}

// What the file system refuses comes with what to do.
func TestExplained(t *testing.T) {
	for err, want := range map[error]string{
		syscall.ENOSPC: "free some", syscall.EROFS: "ReadWritePaths", syscall.EACCES: "run as root", syscall.EPERM: "run as root",
	} {
		if got := durable.Explain(&fs.PathError{Op: "open", Path: "x", Err: err}, "/etc/ssl/x"); !strings.Contains(got.Error(), want) || !errors.Is(got, err) {
			t.Errorf("%v: %v", err, got)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, keyType := range append(KeyTypes(), "") {
		if strings.HasPrefix(keyType, "rsa-4") || strings.HasPrefix(keyType, "rsa-3") {
			continue // slow to make, and no different
		}
		key, err := NewKey(keyType)
		check(t, err)
		text, err := EncodeKey(key)
		check(t, err)
		again, err := ParseKey(append([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), text...))
		check(t, err)
		if want := keyType; KeyType(again.Public()) != want && want != "" {
			t.Errorf("%s became %s", keyType, KeyType(again.Public()))
		}
		if !strings.HasPrefix(string(text), "-----BEGIN PRIVATE KEY-----") {
			t.Errorf("%s: not PKCS#8", keyType)
		}
	}
	if _, err := NewKey("dsa"); err == nil || CheckKeyType("dsa") == nil || !strings.Contains(err.Error(), "ecdsa-p256") {
		t.Error(err)
	}
	for _, bad := range []string{"", "hello", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"} {
		if _, err := ParseKey([]byte(bad)); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	key, err := NewKey("")
	if err != nil {
		f.Fatal(err)
	}
	text, err := EncodeKey(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\n-----END EC PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := ParseKey(text)
		if err != nil {
			return
		}
		out, err := EncodeKey(key)
		if err != nil {
			return // an elliptic curve that PKCS#8 cannot name
		}
		if _, err := ParseKey(out); err != nil {
			t.Error(err)
		}
	})
}

func FuzzMode(f *testing.F) {
	for _, seed := range []string{"0640", "600", "", "9", "07777", "+640"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var m, again Mode
		if m.UnmarshalText([]byte(text)) != nil {
			return
		}
		out, err := m.MarshalText()
		if err != nil || again.UnmarshalText(out) != nil || again != m || m > 0o777 {
			t.Errorf("%q became %q", text, out)
		}
	})
}
