package est

import (
	"bytes"
	"strings"
)

// Part is one part of a multipart/mixed answer (RFC 7030 §4.4.2).
type Part struct {
	Media Media
	Body  []byte // DER
}

const (
	partMax = 16 // parts in a message; EST has two
	// boundary cannot occur in a body, as "-" is no digit of base64.
	boundary = "chancery-est-boundary"
	preamble = "A private key and its certificate (RFC 7030 section 4.4.2).\r\n"
)

// Multipart writes parts as RFC 7030 §4.4.2 shows them, and gives the Content-Type and
// the body. Each part has its Content-Transfer-Encoding; the whole has none and no
// epilogue, as Bouncy Castle reads it only so.
func Multipart(parts ...Part) (contentType string, body []byte) {
	var b bytes.Buffer
	b.WriteString(preamble)
	for _, part := range parts {
		b.WriteString("--" + boundary + "\r\n")
		b.WriteString("Content-Type: " + part.Media.String() + "\r\n")
		b.WriteString("Content-Transfer-Encoding: base64\r\n\r\n")
		b.Write(bytes.ReplaceAll(Encode(part.Body, Wrapped), []byte("\n"), []byte("\r\n")))
	}
	b.WriteString("--" + boundary + "--\r\n")
	return Media{Type: Mixed, Boundary: boundary}.String(), b.Bytes()
}

// ParseMultipart reads a multipart/mixed body: preamble and epilogue are skipped, lines
// end with LF or CRLF, each part is read as [Decode] does whatever its
// Content-Transfer-Encoding says (RFC 8951 §3). A body without its closing boundary was
// cut and is [Malformed].
func ParseMultipart(contentType string, body []byte) ([]Part, error) {
	media, err := ParseMedia(contentType)
	if err != nil {
		return nil, err
	}
	if media.Type != Mixed || media.Boundary == "" {
		return nil, malformed("the answer is %s, not multipart/mixed with a boundary", media.Type)
	}
	chunks, err := split(body, "--"+media.Boundary)
	if err != nil {
		return nil, err
	}
	var parts []Part
	for _, chunk := range chunks {
		part, err := parsePart(chunk)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// split gives what stands between the lines that hold the delimiter.
func split(body []byte, delimiter string) (chunks [][]byte, err error) {
	start := -1
	for at := 0; at < len(body); {
		end := len(body)
		if n := bytes.IndexByte(body[at:], '\n'); n >= 0 {
			end = at + n + 1
		}
		line := string(bytes.TrimRight(body[at:end], " \t\r\n"))
		closing := line == delimiter+"--"
		if closing || line == delimiter {
			if start >= 0 {
				chunks = append(chunks, body[start:at])
			}
			if closing {
				return chunks, nil
			}
			if len(chunks) == partMax {
				return nil, fault(TooLarge, "the multipart body has more than %d parts", partMax)
			}
			start = end
		}
		at = end
	}
	return nil, malformed("the multipart body has no closing boundary: it was cut, or another boundary was announced")
}

// parsePart reads one part's header and body.
func parsePart(chunk []byte) (Part, error) {
	var part Part
	for {
		line, rest, ok := bytes.Cut(chunk, []byte("\n"))
		if !ok {
			return Part{}, malformed("a part of the multipart body has no end of its header")
		}
		chunk = rest
		field := strings.TrimSpace(string(line))
		if field == "" {
			break
		}
		name, value, _ := strings.Cut(field, ":")
		if strings.EqualFold(strings.TrimSpace(name), "Content-Type") {
			media, err := ParseMedia(value)
			if err != nil {
				return Part{}, err
			}
			part.Media = media
		}
	}
	var err error
	if part.Body, err = Decode(bytes.TrimSuffix(bytes.TrimSuffix(chunk, []byte("\n")), []byte("\r")), len(chunk)); err != nil {
		return Part{}, err
	}
	return part, nil
}
