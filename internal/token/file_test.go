package token

import (
	"encoding/pem"
	"reflect"
	"strings"
	"testing"

	"chancery/internal/token/pkcs11"
	"chancery/internal/token/tpm"
)

func wrapped(t testing.TB) []byte {
	t.Helper()
	der, err := (&tpm.File{Parent: 0x40000001, EmptyAuth: true, Public: []byte{1}, Private: []byte{2}}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestFiles(t *testing.T) {
	der := wrapped(t)
	inToken := Ref{PKCS11: &pkcs11.Address{Module: "/m.so", Token: "T", Object: "k 1", ID: []byte{0, 255}}, PIN: "file:/p"}
	for name, want := range map[string]Ref{
		"token": inToken, "handle": {TPM: &tpm.Address{Handle: 0x81000001}, PIN: "file:/p"},
		"wrapped": {TPM: &tpm.Address{Device: "/run/s", Key: der}, PIN: "credential:p"}, "elsewhere": {TPM: &tpm.Address{File: "/k"}},
	} {
		got, there, err := ParseFile(want.File())
		if err != nil || !there || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s: %+v, %v", name, want.File(), got, err)
		}
	}
	// As OpenSSL's providers have them.
	for name, test := range map[string]struct {
		text string
		want Ref
	}{
		"tpm2":            {string(pem.EncodeToMemory(&pem.Block{Type: tpm.PEMType, Bytes: der})), Ref{TPM: &tpm.Address{Key: der}}},
		"pkcs11-provider": {string(pem.EncodeToMemory(&pem.Block{Type: namePEM, Bytes: nameDER(inToken.String())})), inToken},
	} {
		got, there, err := ParseFile([]byte(test.text))
		if err != nil || !there || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	key := "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
	for name, text := range map[string]string{"a key": key, "nothing": "", "a text": "Bag Attributes\n" + key} {
		if r, there, err := ParseFile([]byte(text)); there || err != nil {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	block := string(pem.EncodeToMemory(&pem.Block{Type: tpm.PEMType, Bytes: der}))
	for name, text := range map[string]string{
		"a name that is none":    "Key: http:x\n",
		"without what it names":  "Key: tpm:?device=/run/s\n",
		"a handle and a key":     "Key: tpm:0x81000001\n" + block,
		"a token and a key":      "Key: " + inToken.String() + "\n" + block,
		"a key that is cut off":  strings.Replace(block, "\n", "\nAAAA", 1),
		"a name that is cut off": string(pem.EncodeToMemory(&pem.Block{Type: namePEM, Bytes: nameDER(inToken.String())[1:]})),
		"a name with a PIN":      string(pem.EncodeToMemory(&pem.Block{Type: namePEM, Bytes: nameDER("pkcs11:?pin-value=1234&module-path=/m")})),
		"a TPM's name there":     string(pem.EncodeToMemory(&pem.Block{Type: namePEM, Bytes: nameDER("tpm:0x81000001")})),
	} {
		if r, there, err := ParseFile([]byte(text)); !there || err == nil || strings.Contains(err.Error(), "1234") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// What is read, written again, is read as the same.
func FuzzParseFile(f *testing.F) {
	der := wrapped(f)
	for _, r := range []Ref{{TPM: &tpm.Address{Key: der}}, {TPM: &tpm.Address{Handle: 0x81000001}}, {PKCS11: &pkcs11.Address{Module: "/m", Token: "T"}}} {
		f.Add(r.File())
	}
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, there, err := ParseFile(text)
		if !there || err != nil || len(r.String()) > nameLimit {
			return
		}
		if again, there, err := ParseFile(r.File()); !there || err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%q: %+v, %+v, %v", text, r, again, err)
		}
	})
}

func TestPlaces(t *testing.T) {
	place := func(text string) Ref {
		t.Helper()
		r, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	a := place("pkcs11:token=T;object=prefix?module-path=/m&pin-source=/p")
	first, err := Plan(a, "prefix 1")
	if err != nil {
		t.Fatal(err)
	}
	second, err := Plan(a, "prefix 1")
	if err != nil || reflect.DeepEqual(first, second) || len(first.PKCS11.ID) != 16 || first.PKCS11.Object != "prefix 1" || first.PIN != "file:/p" {
		t.Errorf("%v, %v, %v", first, second, err)
	}
	if a.PKCS11.ID != nil || a.PKCS11.Object != "prefix" {
		t.Errorf("the place was changed: %v", a)
	}
	if !first.Place().Same(a) || a.Same(place("pkcs11:token=U?module-path=/m")) || a.Same(place("pkcs11:token=T;slot-id=1?module-path=/m")) || a.Same(place("tpm:")) {
		t.Error("places are told apart wrongly")
	}
	if !place("tpm:").Same(place("tpm:?device=/dev/tpmrm0")) || place("tpm:").Same(place("tpm:?device=/dev/tpm0")) {
		t.Error("TPMs are told apart wrongly")
	}
	for _, text := range []string{"pkcs11:id=%01?module-path=/m", "tpm:/k"} {
		if _, err := Plan(place(text), "x"); err == nil {
			t.Errorf("%s is a place", text)
		}
	}
}
