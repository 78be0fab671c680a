package vault

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/enroll/install"
)

const directory = "https://ca.example/acme/directory"

func open(t *testing.T) *Vault {
	t.Helper()
	v, err := Open(filepath.Join(t.TempDir(), "vault"))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// certify makes a bundle of a leaf for key and the issuer that signed it.
func certify(key crypto.Signer, serial int64) (install.Bundle, error) {
	issuerKey, err := install.NewKey("")
	if err != nil {
		return install.Bundle{}, err
	}
	template := func(name string, ca bool) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, IsCA: ca, BasicConstraintsValid: true,
			NotBefore: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2027, 2, 22, 0, 0, 0, 0, time.UTC),
		}
	}
	root := template("issuer", true)
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, issuerKey.Public(), issuerKey)
	if err != nil {
		return install.Bundle{}, err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, template("www.corp.example", false), root, key.Public(), issuerKey)
	if err != nil {
		return install.Bundle{}, err
	}
	leaf, err := x509.ParseCertificate(leafDER)
	if err != nil {
		return install.Bundle{}, err
	}
	issuer, err := x509.ParseCertificate(rootDER)
	return install.Bundle{Key: key, Chain: []*x509.Certificate{leaf, issuer}}, err
}

func bundle(t *testing.T, serial int64) install.Bundle {
	t.Helper()
	b, err := certify(fresh(t), serial)
	check(t, err)
	return b
}

func fresh(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := install.NewKey("")
	check(t, err)
	return key
}

func same(a, b crypto.Signer) bool { return a.(*ecdsa.PrivateKey).Equal(b) }

func TestCA(t *testing.T) {
	v := open(t)
	if ca, err := v.CA(directory); err != nil || ca.Directory != directory || ca.Account != nil {
		t.Errorf("unknown CA: %+v", ca)
	}
	want := CA{
		Issuers: []string{"ca.example"}, Cached: json.RawMessage(`{"newNonce":"x"}`),
		Account: &Account{URL: "https://ca.example/acct/1", Created: time.Unix(1e9, 0).UTC(), KeyType: "ecdsa-p256"},
		Circuit: Circuit{Failures: 3, OpenUntil: time.Unix(2e9, 0).UTC(), Cause: "down"}, Incident: &Incident{ID: "i", Count: 2},
		Terms: []Terms{{URL: "https://ca.example/terms", Seen: time.Unix(1e9, 0).UTC(), Basis: "caa"}},
	}
	check(t, v.UpdateCA(t.Context(), directory, func(ca *CA) error { *ca = want; return nil }))
	want.Directory = directory
	// The same CA, written otherwise.
	got, err := v.CA("HTTPS://CA.Example:443/acme/directory")
	check(t, err)
	got.Cached, want.Cached = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	refused := errors.New("no")
	if err := v.UpdateCA(t.Context(), directory, func(ca *CA) error { ca.Account = nil; return refused }); !errors.Is(err, refused) {
		t.Error(err)
	}
	if all, err := v.CAs(); err != nil || len(all) != 1 || all[0].Account == nil {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := v.CA("ca.example"); err == nil {
		t.Error("a name is taken for a directory URL")
	}
	for _, unlike := range []string{"https://ca.example/acme/Directory", "https://ca.example:8443/acme/directory", "http://ca.example/acme/directory"} {
		if ca, err := v.CA(unlike); err != nil || ca.Account != nil {
			t.Errorf("%s is taken for another CA: %+v, %v", unlike, ca, err)
		}
	}
}

func TestAccountKeys(t *testing.T) {
	v := open(t)
	if _, err := v.AccountKey(directory); !errors.Is(err, ErrNone) {
		t.Fatal(err)
	}
	if _, err := v.NextAccountKey(t.Context(), directory, ""); !errors.Is(err, ErrNone) {
		t.Fatal(err)
	}
	first, err := v.CreateAccountKey(t.Context(), directory, "ecdsa-p256")
	check(t, err)
	again, err := v.CreateAccountKey(t.Context(), directory, "ecdsa-p384")
	check(t, err)
	if !same(first, again) {
		t.Error("a second key was made")
	}
	if err := v.ImportAccountKey(t.Context(), directory, fresh(t)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("imported over a key: %v", err)
	}
	next, err := v.NextAccountKey(t.Context(), directory, "ecdsa-p384")
	check(t, err)
	left, err := v.NextAccountKey(t.Context(), directory, "ecdsa-p384")
	check(t, err)
	current, other, err := v.AccountKeys(directory)
	check(t, err)
	if !same(next, left) || !same(current, first) || !same(other, next) {
		t.Error("the keys of a key change under way are not kept")
	}
	check(t, v.PromoteAccountKey(t.Context(), directory))
	current, other, err = v.AccountKeys(directory)
	check(t, err)
	if !same(current, next) || other != nil {
		t.Error("the new key did not replace the old one")
	}
	if err := v.PromoteAccountKey(t.Context(), directory); !errors.Is(err, ErrNone) {
		t.Errorf("promoted nothing: %v", err)
	}
	if _, err := v.NextAccountKey(t.Context(), directory, ""); err != nil {
		t.Fatal(err)
	}
	check(t, v.DropNextAccountKey(t.Context(), directory))
	if _, other, err := v.AccountKeys(directory); err != nil || other != nil {
		t.Errorf("%v, %v", other, err)
	}
	check(t, v.DropAccount(t.Context(), directory))
	if _, err := v.AccountKey(directory); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}

func TestSucceedAccount(t *testing.T) {
	v := open(t)
	if err := v.SucceedAccount(t.Context(), directory); !errors.Is(err, ErrNone) {
		t.Errorf("nobody succeeds: %v", err)
	}
	first, err := v.CreateAccountKey(t.Context(), directory, "")
	check(t, err)
	check(t, v.UpdateCA(t.Context(), directory, func(ca *CA) error { ca.Account = &Account{URL: "https://ca.example/account/1"}; return nil }))
	second, found, err := v.SuccessorKey(t.Context(), directory, "")
	if check(t, err); found || same(first, second) {
		t.Error("the successor has no key of its own")
	}
	again, found, err := v.SuccessorKey(t.Context(), directory, "")
	if check(t, err); !found || !same(again, second) {
		t.Error("the successor's key was not kept")
	}
	if current, err := v.AccountKey(directory); err != nil || !same(current, first) {
		t.Errorf("the account has another key before its successor is there: %v", err)
	}
	_, err = v.NextAccountKey(t.Context(), directory, "")
	check(t, err)
	check(t, v.SucceedAccount(t.Context(), directory))
	if ca, err := v.CA(directory); err != nil || ca.Account != nil {
		t.Errorf("%+v, %v", ca, err)
	}
	if current, next, err := v.AccountKeys(directory); err != nil || !same(current, second) || next != nil {
		t.Errorf("the successor's key is not in the place: %v", err)
	}
	kept, err := filepath.Glob(filepath.Join(v.Dir(), "cas", "*", "account.key.retired-*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("the old key is not kept: %v, %v", kept, err)
	}
	if old, err := readKey(kept[0]); err != nil || !same(old, first) {
		t.Errorf("another key is kept: %v", err)
	}
	_, _, err = v.SuccessorKey(t.Context(), directory, "")
	check(t, err)
	check(t, v.DropAccount(t.Context(), directory))
	if _, found, err := v.SuccessorKey(t.Context(), directory, ""); err != nil || found {
		t.Errorf("a successor was not forgotten: %t, %v", found, err)
	}
}

func TestEAB(t *testing.T) {
	v := open(t)
	secret := []byte("hunter2-hunter2-hunter2")
	for _, who := range []string{"ca.example", directory, "other.example"} {
		check(t, v.SetEAB(t.Context(), who, acme.ExternalAccount{KeyID: "kid of " + who, Key: secret, Algorithm: "HS384"}))
	}
	got, err := v.EAB("none.example", "CA.example.", directory)
	check(t, err)
	if got.KeyID != "kid of ca.example" || string(got.Key) != string(secret) || got.Algorithm != "HS384" {
		t.Errorf("%+v", got)
	}
	for _, text := range []string{fmt.Sprint(*got), fmt.Sprintf("%+v %#v", *got, *got), slog.AnyValue(*got).Resolve().String()} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, fmt.Sprint(secret)) {
			t.Errorf("the MAC key is printed: %s", text)
		}
	}
	all, err := v.EABs()
	check(t, err)
	if len(all) != 3 || all[0].For != "ca.example" || all[0].KeyID != "kid of ca.example" {
		t.Errorf("%+v", all)
	}
	check(t, v.RemoveEAB(t.Context(), "ca.example"))
	if err := v.RemoveEAB(t.Context(), "ca.example"); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	if _, err := v.EAB("ca.example", ""); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	for _, wrong := range []acme.ExternalAccount{{Key: secret}, {KeyID: "k"}, {KeyID: "k", Key: secret, Algorithm: "none"}} {
		if err := v.SetEAB(t.Context(), "ca.example", wrong); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v: %v", wrong, err)
		}
	}
	if err := v.SetEAB(t.Context(), "../x", acme.ExternalAccount{KeyID: "k", Key: secret}); err == nil {
		t.Error("a path is taken for a CA")
	}
	// A damaged file is named, and not quoted.
	path, _, _ := v.bindingPath("other.example")
	check(t, os.WriteFile(path, []byte(`{"format":1,"body":{"for":"other.example","keyID":"k","key":"hunter2 hunter2","what":"hunter2"}}`), 0o600))
	_, err = v.EAB("other.example")
	if wrong, ok := errors.AsType[*FileError](err); !ok || wrong.Path != path || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

// Whatever is in the vault is for its owner alone, under any umask.
func TestPermissions(t *testing.T) {
	old := umask(0)
	defer umask(old)
	top := t.TempDir()
	check(t, os.Chmod(top, 0o755)) // everybody's, by this mask
	v, err := Open(filepath.Join(top, "vault"))
	check(t, err)
	fill(t, v)
	seen := 0
	check(t, filepath.WalkDir(v.Dir(), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil || info.Mode().Type() == fs.ModeSymlink {
			return err
		}
		seen++
		secret := strings.HasSuffix(path, "key") || strings.HasSuffix(path, "next") || strings.HasSuffix(path, "privkey.pem") || strings.HasSuffix(path, ".json")
		if allowed := info.Mode().Perm() &^ 0o700; e.IsDir() && allowed != 0 || secret && info.Mode().Perm() != 0o600 || allowed&0o022 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	}))
	if seen < 10 {
		t.Errorf("only %d files", seen)
	}
}

func fill(t *testing.T, v *Vault) {
	t.Helper()
	check(t, v.UpdateCA(t.Context(), directory, func(*CA) error { return nil }))
	for _, make := range []func(context.Context, string, string) (crypto.Signer, error){v.CreateAccountKey, v.NextAccountKey} {
		_, err := make(t.Context(), directory, "")
		check(t, err)
	}
	check(t, v.SetEAB(t.Context(), "ca.example", acme.ExternalAccount{KeyID: "k", Key: []byte("x")}))
	_, err := v.PendingKey(t.Context(), "www.corp.example", "")
	check(t, err)
	_, err = v.Publish(t.Context(), "www.corp.example", Publication{Issued: Issued{Directory: directory}, Bundle: bundle(t, 1)})
	check(t, err)
	_, err = v.PendingKey(t.Context(), "www.corp.example", "")
	check(t, err)
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o777))
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "chmod 700 "+dir) {
		t.Errorf("%v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	for _, bad := range []string{"", file, filepath.Join(file, "below")} {
		if _, err := Open(bad); err == nil {
			t.Errorf("%q is opened", bad)
		}
	}
}

func TestDamagedFiles(t *testing.T) {
	v := open(t)
	fill(t, v)
	caDir, _ := v.caDir(directory)
	record := v.path("certificates", "www.corp.example", "record.json")
	whole, err := os.ReadFile(record)
	check(t, err)
	for name, text := range map[string]string{
		"empty": "", "half": string(whole[:len(whole)/2]), "not JSON": "hello", "null": `{"format":1,"body":null}`,
		"other": `{"a":1}`, "twice": string(whole) + string(whole), "unknown member": strings.Replace(string(whole), `"sheet"`, `"sheets"`, 1),
		"generation": strings.Replace(string(whole), "g000001", "../../../etc", 1), "renamed": strings.Replace(string(whole), `"www.corp.example"`, `"other"`, 1),
	} {
		check(t, os.WriteFile(record, []byte(text), 0o600))
		_, err := v.Record("www.corp.example")
		if wrong, ok := errors.AsType[*FileError](err); !ok || wrong.Path != record {
			t.Errorf("%s: %v", name, err)
		}
		if err := v.UpdateRecord(t.Context(), "www.corp.example", func(*Record) error { return nil }); err == nil {
			t.Errorf("%s: written over", name)
		}
		if left, _ := os.ReadFile(record); string(left) != text {
			t.Errorf("%s: was reset", name)
		}
		seen := 0
		for r, err := range v.Records() {
			if seen++; err == nil || r.Sheet.Name != "www.corp.example" {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		}
		if seen != 1 {
			t.Errorf("%s: %d records", name, seen)
		}
	}
	for _, newer := range []string{`{"format":3,"body":{"colour":"red"}}`, `{"format":3,"corpus":[]}`} {
		check(t, os.WriteFile(record, []byte(newer), 0o600))
		if _, err := v.Record("www.corp.example"); err == nil || !strings.Contains(err.Error(), "newer version") {
			t.Errorf("%s: %v", newer, err)
		}
	}
	for _, path := range []string{filepath.Join(caDir, "ca.json"), filepath.Join(caDir, "account.key")} {
		check(t, os.WriteFile(path, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0o600))
	}
	_, err1 := v.CA(directory)
	_, err2 := v.AccountKey(directory)
	_, err3 := v.CreateAccountKey(t.Context(), directory, "")
	for _, err := range []error{err1, err2, err3} {
		if _, ok := errors.AsType[*FileError](err); !ok {
			t.Errorf("%v", err)
		}
	}
	// The record of one CA under the name of another.
	other, _ := v.caDir("https://other.example/")
	check(t, os.Mkdir(other, 0o700))
	check(t, write(filepath.Join(other, "ca.json"), CA{Directory: directory}))
	if _, err := v.CA("https://other.example/"); err == nil {
		t.Error("another CA's record is taken")
	}
}

func TestPublish(t *testing.T) {
	v := open(t)
	const name = "www.corp.example"
	if _, err := v.CurrentBundle(name); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	if err := v.UpdateRecord(t.Context(), name, func(r *Record) error {
		r.Sheet.Names, r.Tries.Failures, r.Pending = []string{name}, 3, &Pending{OrderURL: "https://ca.example/order/1"}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for n := range int64(8) {
		b := bundle(t, n+1)
		issued, err := v.Publish(t.Context(), name, Publication{Issued: Issued{Issuer: "ca.example", Directory: directory}, Bundle: b})
		check(t, err)
		got, err := v.CurrentBundle(name)
		check(t, err)
		if !got.Chain[0].Equal(b.Chain[0]) || len(got.Chain) != 2 || !same(got.Key, b.Key) || issued.Serial != fmt.Sprint(n+1) {
			t.Errorf("%d: another certificate is current: %+v", n, issued)
		}
		r, err := v.Record(name)
		check(t, err)
		if r.Pending != nil || r.Tries.Failures != 0 || r.Undeployed == nil || r.Undeployed.Generation != issued.Generation || !reflect.DeepEqual(*r.Current, issued) || r.Sheet.Names[0] != name {
			t.Errorf("%d: record %+v", n, r)
		}
		for _, path := range []string{v.Paths(name).Key, v.Paths(name).Cert, v.Paths(name).Chain, v.Paths(name).FullChain} {
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
		}
	}
	if numbers, err := install.Generations(v.path("certificates", name)); err != nil || len(numbers) != install.GenerationsKept || numbers[0] != 8 {
		t.Errorf("generations %v, %v", numbers, err)
	}
	mixed := install.Bundle{Key: fresh(t), Chain: bundle(t, 9).Chain}
	if _, err := v.Publish(t.Context(), name, Publication{Bundle: mixed}); err == nil {
		t.Error("a key that is not the certificate's is published")
	}
	check(t, v.Remove(t.Context(), name))
	if err := v.Remove(t.Context(), name); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	if names, err := v.Names(); err != nil || len(names) != 0 {
		t.Errorf("%v, %v", names, err)
	}
}

func TestPendingKey(t *testing.T) {
	v := open(t)
	const name = "a.example"
	key := func(keyType string) crypto.Signer {
		t.Helper()
		k, err := v.PendingKey(t.Context(), name, keyType)
		check(t, err)
		return k
	}
	first := key("ecdsa-p256")
	if !same(first, key("ecdsa-p256")) {
		t.Error("the key that is left is not used")
	}
	second := key("ecdsa-p384")
	if same(first, second) {
		t.Error("a key of another kind is used")
	}
	check(t, v.UpdateRecord(t.Context(), name, func(r *Record) error { r.Pending = &Pending{OrderURL: "x"}; return nil }))
	if !same(second, key("ecdsa-p256")) {
		t.Error("the key of an order under way is lost")
	}
	check(t, v.DropPending(t.Context(), name))
	third := key("")
	if same(second, third) {
		t.Error("the key of a dropped order is used")
	}
	b, err := certify(third, 1)
	check(t, err)
	_, err = v.Publish(t.Context(), name, Publication{Bundle: b})
	check(t, err)
	// As a crash right before its removal leaves it.
	check(t, v.SetPendingKey(t.Context(), name, third))
	if same(third, key("")) {
		t.Error("the key is used again without being asked for")
	}
	check(t, v.UpdateRecord(t.Context(), name, func(r *Record) error { r.Sheet.ReuseKey = true; return nil }))
	check(t, v.SetPendingKey(t.Context(), name, third))
	if !same(third, key("")) {
		t.Error("the key is not used again although it was asked for")
	}
	if sum, err := PublicKeySHA256(third.Public()); err != nil || len(sum) != 64 {
		t.Errorf("%q, %v", sum, err)
	}
}

func TestLabel(t *testing.T) {
	for first, want := range map[string]string{
		"www.corp.example": "www.corp.example", "WWW.Corp.Example.": "www.corp.example", "*.corp.example": "_wildcard.corp.example",
		"bücher.example": "xn--bcher-kva.example", "*.bücher.example": "_wildcard.xn--bcher-kva.example",
		"2001:db8::1": "2001_db8__1", "192.0.2.1": "192.0.2.1", "ada@corp.example": "ada_corp.example", "-x": "_-x", "../../etc": "_.._.._etc", "": "_",
	} {
		got := Label(first)
		if got != want {
			t.Errorf("Label(%q) = %q, want %q", first, got, want)
		}
		if err := CheckLabel(got); err != nil {
			t.Error(err)
		}
	}
	long := strings.Repeat("a", 60) + "." + strings.Repeat("b", 60)
	if a, b := Label(long+".example"), Label(long+".sample"); a == b || CheckLabel(a) != nil {
		t.Errorf("%q and %q", a, b)
	}
	for _, bad := range []string{"", ".", "..", "a/b", "-a", "A", "a b", ".hidden", strings.Repeat("a", 101), "ä"} {
		if _, ok := errors.AsType[*LabelError](CheckLabel(bad)); !ok {
			t.Errorf("%q is a label", bad)
		}
	}
}

func TestNewLabel(t *testing.T) {
	v := open(t)
	take := func(want string, names ...string) {
		t.Helper()
		got, err := v.NewLabel(t.Context(), names)
		check(t, err)
		if got != want {
			t.Errorf("%v: got %q, want %q", names, got, want)
		}
		check(t, v.UpdateRecord(t.Context(), got, func(r *Record) error { r.Sheet.Names = names; return nil }))
	}
	take("a.example", "a.example")
	take("a.example", "A.example.")
	take("a.example-2", "a.example", "b.example")
	take("a.example-3", "a.example", "c.example")
	take("a.example-2", "a.example", "B.example", "b.example")
	if _, err := v.NewLabel(t.Context(), nil); err == nil {
		t.Error("no names")
	}
}

func FuzzLabel(f *testing.F) {
	for _, seed := range []string{"a.example", "*.a", "ä", "::1", "", "a/../b", "\x00", strings.Repeat("x", 300)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, first string) {
		if err := CheckLabel(Label(first)); err != nil {
			t.Errorf("%q: %v", first, err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	r := Record{Sheet: Sheet{Name: "a", Names: []string{"a"}, Install: install.Target{Cert: "/c", Mode: 0o640}, Hooks: install.Hooks{Deploy: []install.Hook{{Shell: "x", Timeout: 5}}}}, Current: &Issued{Generation: "g000001"}}
	seed, err := encode(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"format":1,"body":{"sheet":{"name":"a","names":null},"options":[1,2]}}`))
	f.Add([]byte(`{"format":9}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second Record
		if err := decode("x", data, &first); err != nil {
			if _, ok := errors.AsType[*FileError](err); !ok {
				t.Errorf("%v", err)
			}
			return
		}
		out, err := encode(first)
		if err != nil {
			return // a time beyond the year 9999, as "T24:00"
		}
		if err := decode("x", out, &second); err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, out)
		}
		again, err := encode(second)
		if err != nil || string(again) != string(out) {
			t.Errorf("%v:\n%s\nthen\n%s", err, out, again)
		}
	})
}

func BenchmarkRecords10000(b *testing.B) {
	v, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	for i := range 10000 {
		name := fmt.Sprintf("host%d.corp.example", i)
		dir := v.path("certificates", name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			b.Fatal(err)
		}
		r := Record{Sheet: Sheet{Name: name, Names: []string{name, "www." + name}, Install: install.Target{Cert: "/etc/ssl/" + name, Key: "/etc/ssl/private/" + name}},
			Current: &Issued{Issuer: "ca.example", Directory: directory, Account: "https://ca.example/account/1", Serial: "0123456789abcdef", CertID: "a.b",
				NotBefore: time.Now(), NotAfter: time.Now(), ObtainedAt: time.Now(), Generation: "g000001", SHA256: strings.Repeat("0", 64)},
			Next: time.Now(), Window: &Window{Start: time.Now(), End: time.Now()}}
		data, err := encode(r)
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "record.json"), data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		count := 0
		for _, err := range v.Records() {
			if err != nil {
				b.Fatal(err)
			}
			count++
		}
		if count != 10000 {
			b.Fatal(count)
		}
	}
}
