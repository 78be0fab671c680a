package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file("group", "cred", 0o440)
	file("world", "cred", 0o444)
	tests := []struct {
		spec, want string
		err        error
	}{
		{"file:" + file("a", "one\n", 0o600), "one", nil},
		{"file:" + file("b", "two\r\n", 0o400), "two", nil},
		{"file:" + file("c", " three \n\n", 0o600), " three \n", nil},
		{"credential:group", "cred", nil},
		{"credential:world", "", ErrPermissions},
		{"credential:none", "", ErrSecret},
		{"credential:../a", "", ErrSecret},
		{"credential:..", "", ErrSecret},
		{"credential:", "", ErrSecret},
		{"file:" + file("d", "x", 0o640), "x", nil}, // as BIND's tools make theirs for the name server
		{"file:" + file("k", "x", 0o642), "", ErrPermissions},
		{"file:" + file("e", "x", 0o604), "", ErrPermissions},
		{"file:" + file("f", "\n", 0o600), "", ErrSecret},
		{"file:" + file("g", strings.Repeat("x", secretLimit+1), 0o600), "", ErrSecret},
		{"file:" + dir, "", ErrSecret},
		{"file:" + filepath.Join(dir, "none"), "", ErrSecret},
		{"file:", "", ErrSecret},
		{"env:HOME", "", ErrSecret},
		{"hunter2", "", ErrSecret},
		{"", "", ErrSecret},
	}
	for _, test := range tests {
		got, err := ReadSecret(test.spec)
		if !errors.Is(err, test.err) || got.Reveal() != test.want {
			t.Errorf("%s: %q, %v", test.spec, got.Reveal(), err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Error("a secret in the wrong place is repeated in the error")
		}
	}
	if _, err := ReadSecret("file:" + file("h", "x", 0o644)); err == nil || !strings.Contains(err.Error(), "chmod 600 ") {
		t.Errorf("no advice in %v", err)
	}
	if os.Geteuid() == 0 {
		path := file("i", "x", 0o600)
		if err := os.Chown(path, 54321, 54321); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSecret("file:" + path); !errors.Is(err, ErrPermissions) || !strings.Contains(err.Error(), "belongs to user 54321") {
			t.Errorf("another's: %v", err)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := ReadSecret("credential:group"); !errors.Is(err, ErrSecret) {
		t.Errorf("without credentials: %v", err)
	}
}

// What is no file is refused, and a pipe that nobody writes to is not waited for.
func TestSecretOfNoFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, what := range map[string]string{pipe: "a pipe", t.TempDir(): "a directory", os.DevNull: "a device"} {
		_, err := ReadSecret("file:" + path)
		if !errors.Is(err, ErrSecret) || !errors.Is(err, ErrNoFile) || !strings.Contains(err.Error(), path+" is no regular file, but "+what) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestSecretDoesNotTell(t *testing.T) {
	s := NewSecret([]byte("hunter2"))
	in := struct {
		S Secret
		p Secret
		q *Secret
	}{s, s, &s}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", s, "in", in)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s, "in", in)
	marshalled := must(json.Marshal(in))
	all := fmt.Sprint(s, &s, in, []Secret{s}) + log.String() + string(marshalled)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		all += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, in)
	}
	for _, leak := range []string{"hunter2", fmt.Sprintf("%x", "hunter2"), fmt.Sprint([]byte("hunter2"))} {
		if strings.Contains(all, leak) {
			t.Fatalf("the secret is in %s", all)
		}
	}
	copied := s
	copied.Wipe()
	if !s.Empty() || s.Reveal() != "" || !(Secret{}).Empty() {
		t.Fatal("a wiped secret is still there")
	}
	(Secret{}).Wipe()
}

// What was taken is the one copy that there was.
func TestSecretTaken(t *testing.T) {
	value := []byte("hunter2")
	s := hide(value)
	copied := s
	taken := copied.Take()
	if string(taken) != "hunter2" || !s.Empty() || s.Reveal() != "" || (Secret{}).Take() != nil || s.Take() != nil {
		t.Fatalf("%q was taken, and %q is left", taken, s.Reveal())
	}
	clear(taken)
	if bytes.Contains(value, []byte("hunter2")) {
		t.Error("another copy is left")
	}
}

func TestSealer(t *testing.T) {
	s, dir := newStore(t)
	a := must(s.Sealer(t.Context(), "eab"))
	plain, row := []byte("the customer's key"), []byte("eab_keys/7")
	sealed := a.Seal(plain, row)
	if bytes.Contains(sealed, plain) || bytes.Equal(sealed, a.Seal(plain, row)) {
		t.Fatal("not encrypted, or without a fresh nonce")
	}
	again := must(must(Open(Config{Dir: dir})).Sealer(t.Context(), "eab"))
	if got, err := again.Open(sealed, row); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("%q, %v", got, err)
	}
	if got, err := again.Open(a.Seal(nil, nil), nil); err != nil || len(got) != 0 {
		t.Fatalf("%q, %v", got, err)
	}
	other := must(s.Sealer(t.Context(), "other"))
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := a.Open(changed, row); !errors.Is(err, ErrSealed) {
			t.Fatalf("octet %d changed: %v", i, err)
		}
	}
	for name, try := range map[string]func() ([]byte, error){
		"other row":    func() ([]byte, error) { return a.Open(sealed, []byte("eab_keys/8")) },
		"other sealer": func() ([]byte, error) { return other.Open(sealed, row) },
		"truncated":    func() ([]byte, error) { return a.Open(sealed[:10], row) },
		"empty":        func() ([]byte, error) { return a.Open(nil, row) },
	} {
		if _, err := try(); !errors.Is(err, ErrSealed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if names := must(s.List()); len(names) != 0 {
		t.Errorf("a sealer's key is listed: %q", names)
	}
	if _, err := s.Sealer(t.Context(), "../x"); !errors.Is(err, ErrName) {
		t.Errorf("got %v", err)
	}
	if err := os.Truncate(filepath.Join(dir, "eab.seal.age"), 100); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sealer(t.Context(), "eab"); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
}

func FuzzSealerOpen(f *testing.F) {
	s, _ := newStore(f)
	a := must(s.Sealer(f.Context(), "x"))
	f.Add(a.Seal([]byte("x"), nil))
	f.Add([]byte{sealVersion})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if _, err := a.Open(sealed, []byte("elsewhere")); !errors.Is(err, ErrSealed) {
			t.Fatalf("%x: %v", sealed, err)
		}
	})
}
