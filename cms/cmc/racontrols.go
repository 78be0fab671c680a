package cmc

import (
	"encoding/asn1"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// OID is id-cmc-lraPOPWitness.
func (LRAPOPWitness) OID() asn1.ObjectIdentifier { return OIDLRAPOPWitness }

func (v LRAPOPWitness) write(b builder) {
	b.sequence(func(b builder) {
		b.bodyPart(v.PKIData)
		b.bodyParts(v.Bodies, bounds{"lraPOPWitness", 0, MaxValues})
	})
}

func readLRAPOPWitness(r *reader) Value {
	var v LRAPOPWitness
	r.sub(tags.SEQUENCE, "witness", func(r *reader) {
		v.PKIData = r.bodyPart("PKIData")
		v.Bodies = r.bodyParts(bounds{"requests", 0, MaxValues})
	})
	return v
}

// OID is id-cmc-addExtensions.
func (AddExtensions) OID() asn1.ObjectIdentifier { return OIDAddExtensions }

func (v AddExtensions) write(b builder) {
	b.sequence(func(b builder) {
		b.bodyPart(v.PKIData)
		b.bodyParts(v.Requests, bounds{"addExtensions", 0, MaxValues})
		writeExtensions(b, v.Extensions, tags.SEQUENCE)
	})
}

func readAddExtensions(r *reader) Value {
	var v AddExtensions
	r.sub(tags.SEQUENCE, "extensions", func(r *reader) {
		v.PKIData = r.bodyPart("PKIData")
		v.Requests = r.bodyParts(bounds{"requests", 0, MaxValues})
		v.Extensions = readExtensions(r, tags.SEQUENCE)
	})
	return v
}

// OID is id-cmc-modCertTemplate.
func (ModCertTemplate) OID() asn1.ObjectIdentifier { return OIDModCertTemplate }

func (v ModCertTemplate) write(b builder) {
	b.sequence(func(b builder) {
		b.path(v.PKIData, "modCertTemplate")
		b.bodyParts(v.Requests, some("modCertTemplate"))
		if v.Delete { // replace is TRUE by default, which DER leaves out
			b.AddASN1Boolean(false)
		}
		v.Template.write(b)
	})
}

func readModCertTemplate(r *reader) Value {
	var v ModCertTemplate
	r.sub(tags.SEQUENCE, "change", func(r *reader) {
		v.PKIData = r.path("PKIData")
		v.Requests = r.bodyParts(some("requests"))
		if r.next(tags.BOOLEAN) {
			var replace bool
			if !r.in.ReadASN1Boolean(&replace) || replace {
				r.fail("replace: not FALSE as DER has it")
			}
			v.Delete = true
		}
		v.Template.read(r)
	})
	return v
}

// OID is id-cmc-controlProcessed.
func (ControlProcessed) OID() asn1.ObjectIdentifier { return OIDControlProcessed }

func (v ControlProcessed) write(b builder) {
	b.sequence(func(b builder) { b.references(v, "controlProcessed") })
}

func readControlProcessed(r *reader) Value {
	var v ControlProcessed
	r.sub(tags.SEQUENCE, "list", func(r *reader) { v = r.references("controls") })
	return v
}

// OID is id-cmc-trustedAnchors.
func (PublishTrustAnchors) OID() asn1.ObjectIdentifier { return OIDTrustedAnchors }

func (v PublishTrustAnchors) write(b builder) {
	b.sequence(func(b builder) {
		b.integer(v.Sequence, "seqNumber")
		b.algorithm(v.Hash, tags.SEQUENCE)
		writeHashes(b, v.Hashes)
	})
}

func readPublishTrustAnchors(r *reader) Value {
	var v PublishTrustAnchors
	r.sub(tags.SEQUENCE, "anchors", func(r *reader) {
		v.Sequence = r.integer(tags.INTEGER, "seqNumber")
		v.Hash = r.algorithm(tags.SEQUENCE, "hash algorithm")
		v.Hashes = readHashes(r)
	})
	return v
}

func writeHashes(b builder, list [][]byte) {
	if len(list) > MaxValues {
		b.refuse("hashes: more than %d", MaxValues)
	}
	b.sequence(func(b builder) {
		for _, h := range list {
			b.AddASN1OctetString(h)
		}
	})
}

func readHashes(r *reader) [][]byte {
	list := [][]byte{}
	r.sequence(tags.SEQUENCE, bounds{"hashes", 0, MaxValues}, func(r *reader) { list = append(list, r.octets("hash")) })
	return list
}

// OID is id-cmc-publishCert.
func (PublishCert) OID() asn1.ObjectIdentifier { return OIDPublishCert }

func (v PublishCert) write(b builder) {
	if !v.Publish && v.Infos != nil { // RFC 5272 §6.18
		b.refuse("publishCert: places to publish with dontPublish")
		return
	}
	b.sequence(func(b builder) {
		b.algorithm(v.Hash, tags.SEQUENCE)
		writeHashes(b, v.Hashes)
		b.sequence(func(b builder) {
			action := int64(0)
			if v.Publish {
				action = 1
			}
			b.AddASN1Int64(action)
			if v.Infos == nil {
				return
			}
			b.sequence(func(b builder) {
				for _, info := range v.Infos {
					info.write(b)
				}
			})
		})
	})
}

func (i PublicationInfo) write(b builder) {
	b.sequence(func(b builder) {
		b.AddASN1Int64(int64(i.Method))
		if i.Location != nil {
			b.generalName(i.Location, "publication place")
		}
	})
}

func readPublishCert(r *reader) Value {
	var v PublishCert
	r.sub(tags.SEQUENCE, "publication", func(r *reader) {
		v.Hash = r.algorithm(tags.SEQUENCE, "hash algorithm")
		v.Hashes = readHashes(r)
		r.sub(tags.SEQUENCE, "info", func(r *reader) {
			action := r.small(tags.INTEGER, "action")
			v.Publish = action == 1
			if action > 1 || action == 0 && r.more() {
				r.fail("action: not 0 or 1, or places to publish with dontPublish")
			}
			if r.more() {
				r.sequence(tags.SEQUENCE, some("places"), func(r *reader) { v.Infos = append(v.Infos, readPlace(r)) })
			}
		})
	})
	return v
}

func readPlace(r *reader) (info PublicationInfo) {
	r.sub(tags.SEQUENCE, "place", func(r *reader) {
		info.Method = r.small(tags.INTEGER, "method")
		if r.more() {
			info.Location = r.generalName("place")
		}
	})
	return info
}

// OID is id-cmc-encryptedPOP.
func (EncryptedPOP) OID() asn1.ObjectIdentifier { return OIDEncryptedPOP }

func (v EncryptedPOP) write(b builder) {
	b.sequence(func(b builder) {
		v.Request.write(b)
		b.tagged(v.CMS, tags.SEQUENCE, "cms")
		b.algorithm(v.POP, tags.SEQUENCE)
		b.algorithm(v.Hash, tags.SEQUENCE)
		b.AddASN1OctetString(v.Witness)
	})
}

func readEncryptedPOP(r *reader) Value {
	var v EncryptedPOP
	r.sub(tags.SEQUENCE, "challenge", func(r *reader) {
		v.Request = readRequest(r)
		v.CMS = r.tagged(tags.SEQUENCE, "cms")
		v.POP = r.algorithm(tags.SEQUENCE, "POP algorithm")
		v.Hash = r.algorithm(tags.SEQUENCE, "witness algorithm")
		v.Witness = r.octets("witness")
	})
	return v
}

// OID is id-cmc-decryptedPOP.
func (DecryptedPOP) OID() asn1.ObjectIdentifier { return OIDDecryptedPOP }

func (v DecryptedPOP) write(b builder) {
	b.sequence(func(b builder) {
		b.bodyPart(v.Part)
		b.algorithm(v.Algorithm, tags.SEQUENCE)
		b.AddASN1OctetString(v.POP)
	})
}

func readDecryptedPOP(r *reader) Value {
	var v DecryptedPOP
	r.sub(tags.SEQUENCE, "answer", func(r *reader) {
		v.Part = r.bodyPart("request")
		v.Algorithm = r.algorithm(tags.SEQUENCE, "POP algorithm")
		v.POP = r.octets("POP")
	})
	return v
}
