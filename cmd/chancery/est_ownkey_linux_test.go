package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/internal/enroll/device"
	"chancery/internal/token"
)

// A file that names a key chooses the library that is run and the PIN that it gets: nobody
// else may have written it. A key itself may come from anywhere.
func TestOwnKeyOfAnother(t *testing.T) {
	ref, err := token.Parse("pkcs11:token=T;object=k?module-path=/usr/lib/m.so&pin-source=file:/etc/shadow")
	check(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	name, plain := ref.File(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	ask := func(path string, in []byte) (device.Ask, error) {
		p, a := &program{streams: streams{in: bytes.NewReader(in)}}, device.Ask{}
		return a, p.estOwnKey(&estFlags{ownKey: path}, &a)
	}
	spoil := map[string]func(path string) error{
		"mode": func(path string) error { return os.Chmod(path, 0o666) },
	}
	if os.Geteuid() == 0 {
		spoil["owner"] = func(path string) error { return os.Chown(path, 54321, 54321) }
	}
	refused := func(what string, a device.Ask, err error) {
		t.Helper()
		if err == nil || a.Token != nil || !strings.Contains(err.Error(), "--own-key pkcs11:") {
			t.Errorf("%s: %+v, %v", what, a.Token, err)
		}
	}
	for what, spoil := range spoil {
		dir := t.TempDir()
		named, whole := filepath.Join(dir, "name"), filepath.Join(dir, "key")
		check(t, os.WriteFile(named, name, 0o600))
		check(t, os.WriteFile(whole, plain, 0o600))
		if a, err := ask(named, nil); err != nil || a.Token == nil || a.Token.String() != ref.String() {
			t.Errorf("one's own: %+v, %v", a.Token, err)
		}
		check(t, spoil(named))
		check(t, spoil(whole))
		a, err := ask(named, nil)
		refused(what, a, err)
		if a, err := ask(whole, nil); err != nil || !key.Equal(a.Key) {
			t.Errorf("%s, a key: %v", what, err)
		}
	}
	a, err := ask("-", name)
	refused("standard input", a, err)
	if a, err := ask("-", plain); err != nil || !key.Equal(a.Key) {
		t.Errorf("a key from standard input: %v", err)
	}
}
