package cms

import (
	"encoding/asn1"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// ParseContentInfo reads the outermost layer of a message, DER or BER. Content is DER. A
// message without content, as RFC 2315 allowed, has none: Content is nil.
func ParseContentInfo(in []byte) (ContentInfo, error) {
	r, err := newReader(in)
	if err != nil {
		return ContentInfo{}, err
	}
	info := ContentInfo{}
	seq := r.in(tags.SEQUENCE, "ContentInfo")
	info.Type = seq.oid("contentType")
	if content, ok := seq.optional(constructed(0), "content"); ok {
		info.Content = content.any("content")
		content.end("content")
	}
	seq.end("ContentInfo")
	return info, *r.err
}

// Marshal gives the DER.
func (c ContentInfo) Marshal() ([]byte, error) {
	return build(func(b *writer) {
		add(b, tags.SEQUENCE, func(b *writer) {
			b.AddASN1ObjectIdentifier(c.Type)
			if c.Content != nil {
				add(b, constructed(0), func(b *writer) { b.AddBytes(c.Content) })
			}
		})
	})
}

// open reads a message of the type, or of one of the types, and begins with its content.
func open(in []byte, types ...asn1.ObjectIdentifier) (reader, asn1.ObjectIdentifier, error) {
	info, err := ParseContentInfo(in)
	if err != nil {
		return reader{}, nil, err
	}
	for _, want := range types {
		if info.Type.Equal(want) {
			if info.Content == nil {
				return reader{}, nil, fault(Malformed, "the message has no content")
			}
			return readerOf(info.Content), want, nil
		}
	}
	return reader{}, nil, fault(Unsupported, "the message is a %v, not a %v", info.Type, types[0])
}

// closed gives the ContentInfo of content that f writes.
func closed(oid asn1.ObjectIdentifier, f func(*writer)) ([]byte, error) {
	return build(func(b *writer) {
		add(b, tags.SEQUENCE, func(b *writer) {
			b.AddASN1ObjectIdentifier(oid)
			add(b, constructed(0), func(b *writer) { add(b, tags.SEQUENCE, f) })
		})
	})
}
