package srpfront

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
)

// extension is one of a made-up ClientHello.
type extension struct {
	kind  uint16
	value []byte
}

func srp(user string) extension {
	return extension{extensionSRP, append([]byte{byte(len(user))}, user...)}
}

// body makes the body of a ClientHello.
func body(extensions ...extension) []byte {
	var b cryptobyte.Builder
	b.AddUint16(0x0303)
	b.AddBytes(make([]byte, 32))
	b.AddUint8LengthPrefixed(func(*cryptobyte.Builder) {})
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint16(0xc01d) })
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint8(0) })
	if extensions != nil {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, e := range extensions {
				b.AddUint16(e.kind)
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(e.value) })
			}
		})
	}
	return b.BytesOrPanic()
}

// handshake puts a body into a ClientHello message.
func handshake(body []byte) []byte {
	return append([]byte{typeClientHello, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

// records puts octets into records of at most so many.
func records(message []byte, size int) []byte {
	var all []byte
	for len(message) > 0 {
		n := min(size, len(message))
		all = append(all, recordHandshake, 3, 1, byte(n>>8), byte(n))
		all, message = append(all, message[:n]...), message[n:]
	}
	return all
}

func hello(extensions ...extension) []byte { return records(handshake(body(extensions...)), maxRecord) }

func TestReadHello(t *testing.T) {
	other := extension{0, []byte{0, 0}}
	whole := handshake(body(other, srp("jdoe")))
	for name, test := range map[string]struct {
		in   []byte
		user string
		bad  bool
	}{
		"a name":                  {in: hello(other, srp("jdoe"), extension{13, nil}), user: "jdoe"},
		"a name of 255 octets":    {in: hello(srp(strings.Repeat("ü", 127) + "x")), user: strings.Repeat("ü", 127) + "x"},
		"no name":                 {in: hello(other)},
		"no extensions":           {in: hello()},
		"an empty list":           {in: hello([]extension{}...)},
		"in many records":         {in: records(whole, 1), user: "jdoe"},
		"in two records":          {in: records(whole, 50), user: "jdoe"},
		"an empty name":           {in: hello(srp("")), bad: true},
		"NUL in a name":           {in: hello(srp("a\x00b")), bad: true},
		"two names":               {in: hello(srp("a"), srp("b")), bad: true},
		"another extension twice": {in: hello(other, other, srp("a")), bad: true},
		"octets after the name":   {in: hello(extension{extensionSRP, []byte{1, 'a', 'b'}}), bad: true},
		"a name cut off":          {in: hello(extension{extensionSRP, []byte{3, 'a'}}), bad: true},
		"nothing":                 {in: nil, bad: true},
		"HTTP":                    {in: []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), bad: true},
		"SSL 2":                   {in: append([]byte{0x80, 0x2e, 1, 3, 1}, make([]byte, 60)...), bad: true},
		"an alert":                {in: []byte{21, 3, 3, 0, 2, 2, 40}, bad: true},
		"an empty record":         {in: []byte{22, 3, 1, 0, 0}, bad: true},
		"a record too long":       {in: append([]byte{22, 3, 1, 0x40, 1}, make([]byte, 0x4001)...), bad: true},
		"another message":         {in: records([]byte{2, 0, 0, 1, 0}, maxRecord), bad: true},
		"two messages":            {in: records(append(bytes.Clone(whole), whole...), maxRecord), bad: true},
		"too long":                {in: records(handshake(make([]byte, maxHello)), 4096), bad: true},
		"cut off":                 {in: records(whole, maxRecord)[:40], bad: true},
		"octets after the body":   {in: records(handshake(append(body(other), 0)), maxRecord), bad: true},
		"no suites":               {in: records(handshake(append(append([]byte{3, 3}, make([]byte, 32)...), 0, 0, 0, 1, 0)), maxRecord), bad: true},
	} {
		in := bytes.NewReader(append(bytes.Clone(test.in), "rest"...))
		if test.bad {
			in = bytes.NewReader(test.in)
		}
		read, user, err := readHello(in)
		if (err != nil) != test.bad || user != test.user {
			t.Errorf("%s: got %q, %v", name, user, err)
		}
		if err != nil {
			continue
		}
		if !bytes.Equal(read, test.in) {
			t.Errorf("%s: what was read is not what came", name)
		}
		if rest, _ := io.ReadAll(in); string(rest) != "rest" {
			t.Errorf("%s: more was read than the ClientHello", name)
		}
	}
}

// The standard library's own ClientHello, as a client that exists.
func TestRealHello(t *testing.T) {
	near, far := net.Pipe()
	go func() { _ = tls.Client(near, &tls.Config{ServerName: "ca.example"}).Handshake() }()
	read, user, err := readHello(far)
	if err != nil || user != "" || len(read) < 100 {
		t.Errorf("%d octets, %q, %v", len(read), user, err)
	}
	_ = far.Close()
}

func FuzzReadHello(f *testing.F) {
	f.Add(hello(srp("jdoe")))
	f.Add(records(handshake(body(srp("jdoe"), extension{0, nil})), 7))
	f.Add(hello())
	f.Fuzz(func(t *testing.T, in []byte) {
		read, user, err := readHello(bytes.NewReader(in))
		if err != nil {
			if len(read) > 0 && !errors.Is(err, errNoTLS) {
				t.Fatalf("octets beside %v", err)
			}
			return
		}
		if !bytes.HasPrefix(in, read) || len(user) > 255 {
			t.Fatalf("%x read as %x, %q", in, read, user)
		}
		// However it is cut into records, the name is the same.
		again, other, err := readHello(bytes.NewReader(records(joined(read), 3)))
		if err != nil || other != user || len(again) < len(read) {
			t.Fatalf("%q became %q, %v", user, other, err)
		}
	})
}

// joined takes the records off.
func joined(in []byte) []byte {
	var all []byte
	for len(in) > 0 {
		n := 5 + int(in[3])<<8 + int(in[4])
		all, in = append(all, in[5:n]...), in[n:]
	}
	return all
}
