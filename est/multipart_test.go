package est

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"
)

func TestMultipart(t *testing.T) {
	key, bag := sequence(500), sequence(700)
	contentType, body := Multipart(Part{Media{Type: PKCS8}, key}, Part{Media{Type: PKCS7Mime, SMIMEType: CertsOnly}, bag})
	check := func(name, contentType string, body []byte) {
		t.Helper()
		parts, err := ParseMultipart(contentType, body)
		if err != nil || len(parts) != 2 || parts[0].Media.Type != PKCS8 || parts[1].Media.SMIMEType != CertsOnly ||
			!bytes.Equal(parts[0].Body, key) || !bytes.Equal(parts[1].Body, bag) {
			t.Errorf("%s: %d parts, %v", name, len(parts), err)
		}
	}
	check("as written", contentType, body)
	check("spaces", strings.Replace(contentType, "; ", " ; ", 1), body)
	check("quotes", strings.Replace(contentType, "boundary=", "boundary=\"", 1)+"\"", body)
	check("LF", contentType, bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")))
	check("epilogue", contentType, append(bytes.Clone(body), "--"+boundary+"\r\nContent-Type: text/plain\r\n\r\nno"...))
	check("another encoding", contentType, bytes.ReplaceAll(body, []byte("Encoding: base64"), []byte("encoding: Quoted-Printable")))
	check("no preamble", contentType, body[bytes.Index(body, []byte("--")):])
	raw := "--b\r\nContent-Type: application/pkcs8\r\nContent-Transfer-Encoding: binary\r\n\r\n" + string(key) +
		"\r\n--b\r\ncontent-type: application/pkcs7-mime;smime-type=certs-only\r\n\r\n" + string(bag) + "\r\n--b--"
	check("DER", "multipart/mixed;boundary=b", []byte(raw))

	for name, bad := range map[string][2]string{
		"cut":              {contentType, string(body[:len(body)-10])},
		"another boundary": {"multipart/mixed; boundary=x", string(body)},
		"no boundary":      {"multipart/mixed", string(body)},
		"another type":     {"application/pkcs8; boundary=" + boundary, string(body)},
		"no header's end":  {"multipart/mixed; boundary=b", "--b\r\nContent-Type: a/b\r\n--b--\r\n"},
		"no base64":        {"multipart/mixed; boundary=b", "--b\r\n\r\n{}\r\n--b--\r\n"},
		"many parts":       {"multipart/mixed; boundary=b", strings.Repeat("--b\r\n\r\n", 20) + "--b--"},
	} {
		if parts, err := ParseMultipart(bad[0], []byte(bad[1])); err == nil {
			t.Errorf("%s: read %d parts", name, len(parts))
		}
	}
}

// The field's rules: nothing after the closing boundary, a boundary without quotes of at
// most 70 characters, CRLF throughout; and Go's own reader takes it.
func TestMultipartIsRead(t *testing.T) {
	contentType, body := Multipart(Part{Media{Type: PKCS8}, sequence(500)}, Part{Media{Type: PKCS7Mime, SMIMEType: CertsOnly}, sequence(700)})
	if !bytes.HasSuffix(body, []byte("\r\n--"+boundary+"--\r\n")) || bytes.Count(body, []byte("\n")) != bytes.Count(body, []byte("\r\n")) || len(boundary) > 70 {
		t.Errorf("written as %q", body)
	}
	_, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatal(err)
	}
	reader := multipart.NewReader(bytes.NewReader(body), parameters["boundary"])
	for _, want := range []string{"application/pkcs8", "application/pkcs7-mime; smime-type=certs-only"} {
		part, err := reader.NextRawPart()
		if err != nil || part.Header.Get("Content-Type") != want || part.Header.Get("Content-Transfer-Encoding") != "base64" {
			t.Fatalf("%v, %v", part, err)
		}
		text, err := io.ReadAll(part)
		if _, failed := Decode(text, 1000); err != nil || failed != nil {
			t.Error(err, failed)
		}
	}
	if _, err := reader.NextRawPart(); err != io.EOF {
		t.Error(err)
	}
}

func FuzzParseMultipart(f *testing.F) {
	contentType, body := Multipart(Part{Media{Type: PKCS8}, sequence(100)})
	f.Add(contentType, body)
	f.Add("multipart/mixed; boundary=b", []byte("p\n--b\n\nMAAA\n--b--"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		parts, err := ParseMultipart(contentType, body)
		if err != nil {
			return
		}
		total := 0
		for _, p := range parts {
			total += len(p.Body)
		}
		if len(parts) > partMax || total > len(body) {
			t.Fatalf("%d parts of %d bytes out of %d", len(parts), total, len(body))
		}
	})
}
