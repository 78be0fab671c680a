package cmc

import (
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

func (p *POPSignature) read(r *reader) {
	if r.next(constructed(0)) {
		p.Input = new(SigningKeyInput)
		r.sub(constructed(0), "poposkInput", p.Input.read)
	}
	p.Algorithm = r.algorithm(tags.SEQUENCE, "signature algorithm")
	p.Signature = r.wholeBits("signature")
}

func (p *POPSignature) write(b builder) {
	if p.Input != nil {
		p.Input.write(b, constructed(0))
	}
	b.algorithm(p.Algorithm, tags.SEQUENCE)
	b.AddASN1BitString(p.Signature)
}

func (i *SigningKeyInput) read(r *reader) {
	if r.next(constructed(0)) {
		r.sub(constructed(0), "sender", func(r *reader) { i.Sender = r.generalName("sender") })
	} else {
		i.MAC = new(MACValue)
		r.sub(tags.SEQUENCE, "publicKeyMAC", i.MAC.read)
	}
	i.PublicKey = r.tagged(tags.SEQUENCE, "public key")
}

func (i *SigningKeyInput) write(b builder, tag tags.Tag) {
	if (i.Sender == nil) == (i.MAC == nil) {
		b.refuse("poposkInput: %w", errNothing)
		return
	}
	b.in(tag, func(b builder) {
		if i.Sender != nil {
			b.in(constructed(0), func(b builder) { b.generalName(i.Sender, "sender") })
		} else {
			i.MAC.write(b, tags.SEQUENCE)
		}
		b.tagged(i.PublicKey, tags.SEQUENCE, "public key")
	})
}

func (m *MACValue) read(r *reader) {
	m.Algorithm = r.algorithm(tags.SEQUENCE, "MAC algorithm")
	m.Value = r.wholeBits("MAC")
}

func (m *MACValue) write(b builder, tag tags.Tag) {
	b.in(tag, func(b builder) {
		b.algorithm(m.Algorithm, tags.SEQUENCE)
		b.AddASN1BitString(m.Value)
	})
}

func (p *POPPrivKey) read(r *reader) {
	switch {
	case r.next(primitive(0)):
		bits := r.bits(primitive(0), "thisMessage")
		p.ThisMessage = &bits
	case r.next(primitive(1)):
		later := Subsequent(r.small(primitive(1), "subsequentMessage"))
		p.Subsequent = &later
	case r.next(primitive(2)):
		bits := r.bits(primitive(2), "dhMAC")
		p.DHMAC = &bits
	case r.next(constructed(3)):
		p.AgreeMAC = new(MACValue)
		r.sub(constructed(3), "agreeMAC", p.AgreeMAC.read)
	default:
		p.EncryptedKey = r.implicit(constructed(4), tags.SEQUENCE, "encryptedKey")
	}
}

func (p *POPPrivKey) write(b builder) {
	if count(p.ThisMessage != nil, p.Subsequent != nil, p.DHMAC != nil, p.AgreeMAC != nil, p.EncryptedKey != nil) != 1 {
		b.refuse("proof of possession: %w", errNothing)
		return
	}
	switch {
	case p.ThisMessage != nil:
		b.bits(*p.ThisMessage, primitive(0), "thisMessage")
	case p.Subsequent != nil:
		b.AddASN1Int64WithTag(int64(*p.Subsequent), primitive(1))
	case p.DHMAC != nil:
		b.bits(*p.DHMAC, primitive(2), "dhMAC")
	case p.AgreeMAC != nil:
		p.AgreeMAC.write(b, constructed(3))
	default:
		b.tagged(p.EncryptedKey, constructed(4), "encryptedKey")
	}
}
