package conform

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"golang.org/x/crypto/cryptobyte"
)

// hello is a ClientHello that no TLS library would send.
type hello struct {
	version     uint16 // 0x0300 (SSL 3) to 0x0303 (TLS 1.2)
	suites      []uint16
	compression []byte // nil: none
}

// choice is what a server answered to a hello.
type choice struct {
	refused     string // "": it chose
	version     uint16
	suite       uint16
	compression byte
	extensions  map[uint16]bool
}

// The extensions of a ServerHello that the suite looks at.
const (
	extEMS           = 23     // RFC 7627
	extRenegotiation = 0xff01 // RFC 5746
)

// modern are suites that every server of TLS 1.2 has one of (RFC 9325 §4.2, and RFC
// 5246's mandatory one).
var modern = []uint16{0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca8, 0xcca9, 0xc009, 0xc013, 0xc00a, 0xc014, 0x009c, 0x002f, 0x0035}

// offer sends a hello on a connection of its own and reads the server's choice.
func (s *session) offer(ctx context.Context, h hello) (choice, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	conn, err := s.dial(ctx)
	if err != nil {
		return choice{}, err
	}
	defer conn.Close()
	record, err := h.record(s.host)
	if err != nil {
		return choice{}, err
	}
	if _, err := conn.Write(record); err != nil {
		return choice{refused: "the connection ended"}, nil
	}
	kind, body, err := readRecord(conn)
	switch {
	case err != nil:
		return choice{refused: "the connection ended without an alert"}, nil
	case kind == 21 && len(body) == 2:
		return choice{refused: fmt.Sprintf("alert %d", body[1])}, nil
	case kind != 22:
		return choice{}, fmt.Errorf("a record of type %d came for a ClientHello", kind)
	}
	return readChoice(body)
}

func readRecord(r io.Reader) (kind byte, body []byte, err error) {
	var header [5]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, err
	}
	body = make([]byte, min(int(binary.BigEndian.Uint16(header[3:])), 1<<14+256))
	_, err = io.ReadFull(r, body)
	return header[0], body, err
}

// record encodes the hello (RFC 5246 §7.4.1.2).
func (h hello) record(host string) ([]byte, error) {
	compression := append([]byte{}, h.compression...)
	compression = append(compression, 0)
	var b cryptobyte.Builder
	b.AddUint8(22)
	b.AddUint16(min(h.version, 0x0301))
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(1)
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint16(h.version)
			b.AddBytes(random(32))
			b.AddUint8LengthPrefixed(func(*cryptobyte.Builder) {})
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, s := range append([]uint16{}, h.suites...) {
					b.AddUint16(s)
				}
				if h.version == 0x0300 {
					b.AddUint16(0x00ff) // TLS_EMPTY_RENEGOTIATION_INFO_SCSV
				}
			})
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(compression) })
			if h.version > 0x0300 {
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { extensions(b, host) })
			}
		})
	})
	return b.Bytes()
}

// extensions are those without which some servers find nothing in common.
func extensions(b *cryptobyte.Builder, host string) {
	add := func(id uint16, body func(*cryptobyte.Builder)) {
		b.AddUint16(id)
		b.AddUint16LengthPrefixed(body)
	}
	if net.ParseIP(host) == nil {
		add(0, func(b *cryptobyte.Builder) { // server_name
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				b.AddUint8(0)
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(host)) })
			})
		})
	}
	list := func(values ...uint16) func(*cryptobyte.Builder) {
		return func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, v := range values {
					b.AddUint16(v)
				}
			})
		}
	}
	add(10, list(29, 23, 24, 25)) // supported_groups
	add(11, func(b *cryptobyte.Builder) { b.AddBytes([]byte{1, 0}) })
	add(13, list(0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201)) // signature_algorithms
	add(extEMS, func(*cryptobyte.Builder) {})
	add(extRenegotiation, func(b *cryptobyte.Builder) { b.AddUint8(0) })
}

// readChoice reads a ServerHello (RFC 5246 §7.4.1.3).
func readChoice(handshake []byte) (choice, error) {
	c := choice{extensions: map[uint16]bool{}}
	in := cryptobyte.String(handshake)
	var kind uint8
	var body, session, list cryptobyte.String
	var random []byte
	if !in.ReadUint8(&kind) || kind != 2 || !in.ReadUint24LengthPrefixed(&body) || !body.ReadUint16(&c.version) || !body.ReadBytes(&random, 32) ||
		!body.ReadUint8LengthPrefixed(&session) || !body.ReadUint16(&c.suite) || !body.ReadUint8(&c.compression) {
		return c, fmt.Errorf("no ServerHello came (handshake message %d)", kind)
	}
	if body.Empty() {
		return c, nil
	}
	if !body.ReadUint16LengthPrefixed(&list) {
		return c, fmt.Errorf("the ServerHello's extensions cannot be read")
	}
	for !list.Empty() {
		var id uint16
		var value cryptobyte.String
		if !list.ReadUint16(&id) || !list.ReadUint16LengthPrefixed(&value) {
			return c, fmt.Errorf("the ServerHello's extensions cannot be read")
		}
		c.extensions[id] = true
	}
	return c, nil
}
