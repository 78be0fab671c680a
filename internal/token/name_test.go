package token

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"chancery/internal/token/pkcs11"
	"chancery/internal/token/tpm"
)

var three = uint64(3)

func TestParse(t *testing.T) {
	for text, want := range map[string]Ref{
		"pkcs11:token=The%20Software%20PKCS%2311;object=my-key;id=%01?module-path=/usr/lib/m.so&pin-source=file:/etc/pin": {
			PKCS11: &pkcs11.Address{Module: "/usr/lib/m.so", Token: "The Software PKCS#11", Object: "my-key", ID: []byte{1}}, PIN: "file:/etc/pin",
		},
		"PKCS11:slot-id=3;serial=1;manufacturer=Snake%20Oil;model=1.0;type=private?module-path=/m.so&pin-source=/etc/pin": {
			PKCS11: &pkcs11.Address{Module: "/m.so", Slot: &three, Serial: "1", Manufacturer: "Snake Oil", Model: "1.0"}, PIN: "file:/etc/pin",
		},
		"pkcs11:?module-path=/m.so&pin-source=credential:pin":  {PKCS11: &pkcs11.Address{Module: "/m.so"}, PIN: "credential:pin"},
		"pkcs11:?module-path=/m.so&pin-source=file:///etc/pin": {PKCS11: &pkcs11.Address{Module: "/m.so"}, PIN: "file:/etc/pin"},
		"pkcs11:id=a%20b?module-path=/m.so":                    {PKCS11: &pkcs11.Address{Module: "/m.so", ID: []byte("a b")}},
		"tpm:":                                                 {TPM: &tpm.Address{}},
		"tpm:0x81000001":                                       {TPM: &tpm.Address{Handle: 0x81000001}},
		"tpm:0x81ABCDEF?device=/dev/tpm0":                      {TPM: &tpm.Address{Handle: 0x81abcdef, Device: "/dev/tpm0"}},
		"tpm:/etc/a%20b.pem?pin-source=/p&device=/run/s":       {TPM: &tpm.Address{File: "/etc/a b.pem", Device: "/run/s"}, PIN: "file:/p"},
	} {
		got, err := Parse(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
			continue
		}
		again, err := Parse(got.String())
		if err != nil || !reflect.DeepEqual(again, want) {
			t.Errorf("%s: written as %s, which is read as %+v, %v", text, got, again, err)
		}
		if !IsName(text) {
			t.Errorf("%s is no name", text)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, words := range map[string]string{
		"":                                                      "begins with",
		"/etc/key.pem":                                          "begins with",
		"http:x":                                                "begins with",
		"pkcs11:token=T":                                        "module-path",
		"pkcs11:?module-path=m.so":                              "module-path",
		"pkcs11:?module-name=m":                                 "module-path",
		"pkcs11:token=?module-path=/m":                          "empty",
		"pkcs11:token=a;token=b":                                "twice",
		"pkcs11:token":                                          "NAME=VALUE",
		"pkcs11:token=a;":                                       "NAME=VALUE",
		"pkcs11:token=a b":                                      "%20",
		"pkcs11:token=ä":                                        "%XX",
		"pkcs11:token=%4":                                       "two hexadecimal digits",
		"pkcs11:token=%zz":                                      "two hexadecimal digits",
		"pkcs11:type=cert?module-path=/m":                       "private key",
		"pkcs11:slot-id=x?module-path=/m":                       "number",
		"pkcs11:colour=red?module-path=/m":                      "not understood",
		"pkcs11:?module-path=/m&x=y":                            "not understood",
		"pkcs11:?module-path=/m&pin-source=pin":                 "pin-source",
		"pkcs11:?module-path=/m&pin-source=file:pin":            "pin-source",
		"pkcs11:?module-path=/m&pin-source=credential:":         "pin-source",
		"pkcs11:?module-path=/m&pin-source=%7Cecho%201234":      "pin-source",
		"pkcs11:object=k?pin-value=s3cret&module-path=/m":       "pin-source",
		"pkcs11:pin-value=s3cret":                               "pin-source",
		"tpm:?pin-value=s3cret":                                 "pin-source",
		"pkcs11:?module-path=/m&pin-value=s3cret&pin-value=%zz": "pin-source",
		"tpm:0x80000001":                                        "persistent",
		"tpm:0x82000000":                                        "persistent",
		"tpm:0x":                                                "persistent",
		"tpm:key.pem":                                           "persistent handle",
		"tpm:?device=tpm0":                                      "device",
		"tpm:?module-path=/m":                                   "not understood",
		"tpm:a%00":                                              "persistent handle",
		"tpm:" + string(make([]byte, nameLimit)):                "at most",
	} {
		_, err := Parse(text)
		if _, ok := errors.AsType[*NameError](err); !ok || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%.100s: %v", text, err)
		}
	}
	for _, text := range []string{"/etc/key.pem", "key.pem", "", "C:/key", "file:/x"} {
		if IsName(text) {
			t.Errorf("%s is a name", text)
		}
	}
}

// What is read, written again, is read as the same.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"pkcs11:token=The%20Software%20PKCS%2311;object=my-key;id=%01?module-path=/usr/lib/m.so&pin-source=file:/etc/pin",
		"tpm:0x81000001?device=/dev/tpmrm0", "tpm:/etc/key.pem", "tpm:", "pkcs11:slot-id=3?module-path=/m",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(r.String())
		if err != nil && len(r.String()) > nameLimit {
			return
		}
		if err != nil || !reflect.DeepEqual(again, r) || again.String() != r.String() {
			t.Errorf("%q is %+v, written %q: %+v, %v", text, r, r, again, err)
		}
	})
}
