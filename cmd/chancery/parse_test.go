package main

import (
	"strings"
	"testing"
	"time"

	"chancery/internal/desk"
)

func TestParseWhen(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2027-01-31": "2027-01-31T00:00:00Z", "2027-01-31T10:00:00+02:00": "2027-01-31T08:00:00Z", "30d": "2026-05-31T12:00:00Z",
		"1d12h": "2026-05-03T00:00:00Z", "soon": "", "31.1.2027": "", "-3d": "", "2027-13-01": "",
	} {
		got, err := parseWhen(text, now)
		if (err == nil) != (want != "") || (err == nil && got.UTC().Format(time.RFC3339) != want) {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	if got, err := parseWhen("", now); err != nil || !got.IsZero() {
		t.Errorf("nothing: %s, %v", got, err)
	}
}

func TestParseSubject(t *testing.T) {
	for text, want := range map[string]desk.Subject{
		"":                                       {},
		"CN=www.corp.example":                    {CommonName: "www.corp.example"},
		"cn = a , O=Corp\\, Inc.,serialNumber=7": {CommonName: "a", Organization: "Corp, Inc.", SerialNumber: "7"},
		"C=DE,ST=Hesse,L=Town,OU=Web":            {Country: "DE", Province: "Hesse", Locality: "Town", OrganizationalUnit: "Web"},
		"CN=a=b":                                 {CommonName: "a=b"},
	} {
		if got, err := parseSubject(text); err != nil || *got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"www", "XY=1", "CN=a,CN=b", "=x"} {
		if got, err := parseSubject(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestParseFingerprint(t *testing.T) {
	plain := strings.Repeat("0f", 32)
	for _, text := range []string{plain, strings.ToUpper(plain), colons(plain), "SHA256:" + plain, "sha256 Fingerprint=" + colons(plain), " " + colons(plain) + "\n"} {
		if got, err := parseFingerprint(text); err != nil || got != plain {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", plain[2:], plain + "00", strings.Repeat("0g", 32), "SHA1:" + plain} {
		if got, err := parseFingerprint(text); err == nil {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func FuzzParseSubject(f *testing.F) {
	for _, seed := range []string{"CN=a,O=b", `O=a\,b`, "", ",,", "CN=\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSubject(text)
		if err != nil {
			return
		}
		for _, value := range []string{s.CommonName, s.Organization, s.Country} {
			if value != "" && !strings.Contains(strings.ReplaceAll(text, `\,`, ","), value) && !strings.Contains(text, "\x00") {
				t.Errorf("%q gave %q, which it does not say", text, value)
			}
		}
	})
}

func FuzzParseFingerprint(f *testing.F) {
	f.Add(strings.Repeat("0f", 32))
	f.Add("SHA256:" + strings.Repeat("0F", 32))
	f.Fuzz(func(t *testing.T, text string) {
		hex, err := parseFingerprint(text)
		if err != nil {
			return
		}
		if again, err := parseFingerprint(colons(hex)); err != nil || again != hex {
			t.Errorf("%q reads to %q, and that to %q, %v", text, hex, again, err)
		}
	})
}

func FuzzPickRoots(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, text []byte) {
		picked, err := pickRoots(text, nil)
		if err == nil && len(picked) == 0 {
			t.Error("nothing picked and no error")
		}
		wrong := map[string]bool{strings.Repeat("0", 64): true}
		if picked, err := pickRoots(text, wrong); err == nil || len(picked) > 0 {
			t.Errorf("%d roots with a fingerprint that none has", len(picked))
		}
	})
}
