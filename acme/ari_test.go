package acme_test

import (
	"bytes"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"time"

	"chancery/acme"
)

// The example of RFC 9773 §4.1.
const rfc9773ID = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"

var rfc9773AKI = []byte{0x69, 0x88, 0x5B, 0x6B, 0x87, 0x46, 0x40, 0x41, 0xE1, 0xB3, 0x7B, 0x84, 0x7B, 0xA0, 0xAE, 0x2C, 0xDE, 0x01, 0xC8, 0xD4}

func TestCertID(t *testing.T) {
	cert := &x509.Certificate{AuthorityKeyId: rfc9773AKI, SerialNumber: big.NewInt(0x87654321)}
	if id, err := acme.CertID(cert); err != nil || id != rfc9773ID {
		t.Errorf("%q, %v", id, err)
	}
	aki, serial, err := acme.ParseCertID(rfc9773ID)
	if err != nil || !bytes.Equal(aki, rfc9773AKI) || !bytes.Equal(serial, []byte{0, 0x87, 0x65, 0x43, 0x21}) {
		t.Errorf("%x %x %v", aki, serial, err)
	}
	cert.SerialNumber = big.NewInt(0x7f)
	if id, err := acme.CertID(cert); err != nil || id != "aYhba4dGQEHhs3uEe6CuLN4ByNQ.fw" {
		t.Errorf("without a leading zero: %q, %v", id, err)
	}
	for name, c := range map[string]*x509.Certificate{
		"no key identifier": {SerialNumber: big.NewInt(1)}, "no serial": {AuthorityKeyId: rfc9773AKI},
		"negative": {AuthorityKeyId: rfc9773AKI, SerialNumber: big.NewInt(-1)}, "zero": {AuthorityKeyId: rfc9773AKI, SerialNumber: new(big.Int)},
	} {
		if id, err := acme.CertID(c); err == nil {
			t.Errorf("%s: %q", name, id)
		}
	}
}

var badCertIDs = map[string]string{
	"empty": "", "no dot": "aYhba4dGQEHhs3uEe6CuLN4ByNQ", "two dots": rfc9773ID + ".AA", "only a dot": ".",
	"no serial": "aYhb.", "no key": ".AIdl", "padding": "aYhba4dGQEHhs3uEe6CuLN4ByNQ=.AIdlQyE=",
	"zero missing": "aYhb.h2VDIQ", "zero too many": "aYhb.AAAB", "zero": "aYhb.AA", "trailing bits": "aYhb.AIdlQyF",
	"standard base64": "a+/b.AIdlQyE", "line end": "aYhb\n.AIdlQyE", "space": " " + rfc9773ID, "long serial": "aYhb." + strings.Repeat("QUFB", 8),
	"too long": strings.Repeat("A", 4096) + ".AQ", "long key": strings.Repeat("QUFB", 22) + ".AQ",
}

func TestParseCertIDRefuses(t *testing.T) {
	for name, s := range badCertIDs {
		if _, _, err := acme.ParseCertID(s); !acme.HasType(err, acme.TypeMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseCertID(f *testing.F) {
	f.Add(rfc9773ID)
	for _, s := range badCertIDs {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		aki, serial, err := acme.ParseCertID(s)
		if err != nil {
			return
		}
		if acme.FormatCertID(aki, serial) != s {
			t.Fatalf("%q has another spelling: %q", s, acme.FormatCertID(aki, serial))
		}
		id, err := acme.CertID(&x509.Certificate{AuthorityKeyId: aki, SerialNumber: new(big.Int).SetBytes(serial)})
		if err != nil || id != s {
			t.Fatalf("%q became %q, %v", s, id, err)
		}
	})
}

func TestRenewAt(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r := acme.RenewalInfo{SuggestedWindow: acme.Window{Start: start, End: start.Add(4 * time.Hour)}}
	if at, err := r.RenewAt(0.5); err != nil || !at.Equal(start.Add(2*time.Hour)) {
		t.Errorf("%v, %v", at, err)
	}
	r.SuggestedWindow.End = start
	if _, err := r.RenewAt(0.5); err == nil {
		t.Error("an empty window is accepted")
	}
}
