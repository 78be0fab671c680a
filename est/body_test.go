package est

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

// sequence gives DER of n bytes beginning as every message does.
func sequence(n int) []byte {
	der := []byte{0x30, 0x82, byte((n - 4) >> 8), byte(n - 4)}
	return append(der, bytes.Repeat([]byte{0}, n-4)...)
}

func TestBodies(t *testing.T) {
	der := sequence(300)
	text := base64.StdEncoding.EncodeToString(der)
	lines := string(Encode(der, Wrapped))
	for name, body := range map[string]string{
		"wrapped":            lines,
		"bare":               string(Encode(der, Bare)),
		"CRLF":               strings.ReplaceAll(lines, "\n", "\r\n"),
		"76 and CRLF":        text[:76] + "\r\n" + text[76:] + "\r\n",
		"blanks":             " \t" + text[:3] + " " + text[3:9] + "\t\t" + text[9:] + " \n\n",
		"without padding":    strings.TrimRight(text, "="),
		"PEM":                string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})),
		"PEM after text":     "Certificate Request:\n    Data:\n" + string(pem.EncodeToMemory(&pem.Block{Type: "X", Bytes: der})) + "more",
		"DER":                string(der),
		"BER without length": "\x30\x80\x05\x00\x00\x00",
	} {
		want := der
		if strings.HasPrefix(name, "BER") {
			want = []byte(body)
		}
		if got, err := Decode([]byte(body), len(want)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Decode([]byte(body), len(want)-1); !Is(err, TooLarge) {
			t.Errorf("%s, one byte too long: %v", name, err)
		}
	}
	if got, err := Decode(nil, 1); err != nil || len(got) != 0 {
		t.Errorf("an empty body: %x, %v", got, err)
	}
	for _, body := range []string{
		"{\"error\":\"no\"}", "M", "MIIB=", "MIIB==M", "MI===", "MIIB\x00", "MI-_", "MIIé", "=", "-----BEGIN X-----\nMIIB", "-----BEGIN X\nMIIB-----END X-----",
	} {
		if got, err := Decode([]byte(body), 100); !Is(err, Malformed) {
			t.Errorf("%q: got %x, %v", body, got, err)
		}
	}
	for i, line := range strings.SplitAfter(strings.TrimSuffix(lines, "\n"), "\n") {
		if got := len(strings.TrimSuffix(line, "\n")); got != 64 && i < 6 {
			t.Errorf("line %d has %d characters", i, got)
		}
	}
	if !strings.HasSuffix(lines, "\n") || strings.Contains(string(Encode(der, Bare)), "\n") {
		t.Error("the last line has no end, or one line has one")
	}
}

// What is decoded is never longer than was allowed, and allocated before that is known
// is nothing.
func TestDecodeAllocatesWithinBounds(t *testing.T) {
	body := bytes.Repeat([]byte("MAAA"), 1<<20)
	if n := testing.AllocsPerRun(3, func() {
		if _, err := Decode(body, 1000); !Is(err, TooLarge) {
			t.Fatal(err)
		}
	}); n > 8 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("MAA="), 10)
	f.Add([]byte("-----BEGIN X-----\nMAAA\n-----END X-----\n"), 10)
	f.Add([]byte("\x30\x00"), 10)
	f.Fuzz(func(t *testing.T, body []byte, most int) {
		der, err := Decode(body, most)
		if err != nil {
			return
		}
		if len(der) > max(most, 0) {
			t.Fatalf("%d bytes, at most %d", len(der), most)
		}
		if len(der) > 0 && der[0] != 0x30 {
			return // no message of EST
		}
		for _, w := range []Wrap{Wrapped, Bare} {
			if again, err := Decode(Encode(der, w), len(der)); err != nil || !bytes.Equal(again, der) {
				t.Fatalf("%x came back as %x, %v", der, again, err)
			}
		}
	})
}

func TestMediaTypes(t *testing.T) {
	for header, want := range map[string]Media{
		"application/pkcs7-mime; smime-type=certs-only":                     {Type: PKCS7Mime, SMIMEType: CertsOnly},
		"application/pkcs7-mime;smime-type=certs-only":                      {Type: PKCS7Mime, SMIMEType: CertsOnly},
		"Application/PKCS7-MIME; name=smime.p7c; SMIME-Type=\"Certs-Only\"": {Type: PKCS7Mime, SMIMEType: CertsOnly},
		"application/pkcs7-mime; smime-type=cmc-request; name=smime.p7m":    {Type: PKCS7Mime, SMIMEType: CMCRequest},
		"application/pkcs7-mime; smime-type=CMC-RESPONSE":                   {Type: PKCS7Mime, SMIMEType: CMCResponse},
		"application/pkcs7-mime; smime-type=server-generated-key; ":         {Type: PKCS7Mime, SMIMEType: ServerGeneratedKey},
		"application/pkcs10": {Type: PKCS10},
		"multipart/mixed ; boundary=estServerExampleBoundary":                  {Type: Mixed, Boundary: "estServerExampleBoundary"}, // RFC 7030 §A.4
		"multipart/mixed; boundary=\"a b\"":                                    {Type: Mixed, Boundary: "a b"},
		"multipart/mixed; boundary====a":                                       {Type: Mixed, Boundary: "===a"},
		"application/pkcs7-mime; smime-type=certs-only; smime-type=certs-only": {Type: PKCS7Mime, SMIMEType: CertsOnly},
	} {
		got, err := ParseMedia(header)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", header, got, err)
		}
		if again, err := ParseMedia(got.String()); want.Boundary != "a b" && (err != nil || again != got) {
			t.Errorf("%s: came back as %+v, %v", got, again, err)
		}
	}
	for _, header := range []string{"", ";", "application", "/", "a b/c"} {
		if got, err := ParseMedia(header); !Is(err, Malformed) {
			t.Errorf("%q: %+v, %v", header, got, err)
		}
	}
	if got := (Media{Type: PKCS7Mime, SMIMEType: CertsOnly}).String(); got != "application/pkcs7-mime; smime-type=certs-only" {
		t.Errorf("libest does not read %q", got)
	}
}

func FuzzParseMedia(f *testing.F) {
	f.Add("application/pkcs7-mime; smime-type=certs-only")
	f.Add("multipart/mixed; boundary====a")
	f.Fuzz(func(t *testing.T, header string) {
		if m, err := ParseMedia(header); err == nil && !strings.Contains(m.Type, "/") {
			t.Fatalf("%q gave the type %q", header, m.Type)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"0": 0, " 120 ": 2 * time.Minute, "9999999999": retryMax, "9223372036854775807": retryMax,
		"Sun, 22 Nov 2026 10:05:00 GMT": 5 * time.Minute, "Sun, 22 Nov 2026 09:00:00 GMT": 0, "Fri, 31 Dec 9999 23:59:59 GMT": retryMax,
		"Sunday, 22-Nov-26 10:00:01 GMT": time.Second,
	} {
		if got, ok := RetryAfter(header, now); !ok || got != want {
			t.Errorf("%q: %v, %t; want %v", header, got, ok, want)
		}
	}
	for _, header := range []string{"", "-1", "1.5", "soon", "2026-11-22T10:05:00Z", "1e3"} {
		if got, ok := RetryAfter(header, now); ok {
			t.Errorf("%q was read as %v", header, got)
		}
	}
}
