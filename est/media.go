package est

import (
	"errors"
	"mime"
	"strings"
)

// The media types of EST (RFC 7030 §3.2.4).
const (
	PKCS7Mime    = "application/pkcs7-mime" // certificates, Full PKI messages, encrypted keys
	PKCS10       = "application/pkcs10"     // requests
	PKCS8        = "application/pkcs8"      // plain private keys
	CSRAttrsType = "application/csrattrs"
	Mixed        = "multipart/mixed" // what serverkeygen answers
	PlainText    = "text/plain"      // errors (RFC 8951 §5)
)

// The values of the smime-type parameter (RFC 7030 §3.2.4, RFC 5273 §3).
const (
	CertsOnly          = "certs-only"
	CMCRequest         = "CMC-request"
	CMCResponse        = "CMC-response"
	ServerGeneratedKey = "server-generated-key"
)

// Media is a Content-Type.
type Media struct {
	Type      string // in lower case; one of the constants if it is known
	SMIMEType string // one of the constants if it is known, however it was spelt; "" when absent
	Boundary  string // of multipart types
}

// String gives the header's value as the strictest peers in the field read it: one
// space after the semicolon and no quotes.
func (m Media) String() string {
	s := m.Type
	if m.SMIMEType != "" {
		s += "; smime-type=" + m.SMIMEType
	}
	if m.Boundary != "" {
		s += "; boundary=" + m.Boundary
	}
	return s
}

// ParseMedia reads a Content-Type: any case, any order, quotes or none, and parameters
// that it does not know. A parameter that RFC 2045 does not allow is read as far as it
// goes. Without a type it is [Malformed].
func ParseMedia(header string) (Media, error) {
	kind, parameters, err := mime.ParseMediaType(header)
	if errors.Is(err, mime.ErrInvalidMediaParameter) {
		parameters, err = looseParameters(header), nil
	}
	if err != nil || !strings.Contains(kind, "/") {
		return Media{}, malformed("the Content-Type cannot be read")
	}
	m := Media{Type: kind, SMIMEType: parameters["smime-type"], Boundary: parameters["boundary"]}
	for _, known := range []string{CertsOnly, CMCRequest, CMCResponse, ServerGeneratedKey} {
		if strings.EqualFold(m.SMIMEType, known) {
			m.SMIMEType = known
		}
	}
	return m, nil
}

// looseParameters splits at semicolons, for values that need quotes and have none. The
// first of a name counts.
func looseParameters(header string) map[string]string {
	found := map[string]string{}
	for i, part := range strings.Split(header, ";") {
		name, value, ok := strings.Cut(part, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := found[name]; i == 0 || !ok || twice {
			continue
		}
		found[name] = strings.Trim(strings.TrimSpace(value), `"`)
	}
	return found
}
