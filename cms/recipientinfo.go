package cms

import (
	"bytes"
	"crypto/x509"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// recipients reads RecipientInfos (RFC 5652 §6.2).
func (r *reader) recipients() (list []RecipientInfo) {
	set := r.in(tags.SET, "recipientInfos")
	set.each(mostItems, "recipients", func(r *reader) {
		switch {
		case r.peek(tags.SEQUENCE):
			list = append(list, r.transport())
		case r.peek(constructed(1)):
			list = r.agreed(list)
		case r.peek(constructed(2)):
			list = append(list, r.encryption())
		case r.peek(constructed(3)):
			list = append(list, r.password())
		default:
			r.any("RecipientInfo")
			list = append(list, RecipientInfo{Kind: ByOther})
		}
	})
	if r.ok() && len(list) == 0 {
		r.fail("there are no recipients")
	}
	return list
}

func (r *reader) transport() RecipientInfo {
	i := RecipientInfo{Kind: ByKeyTransport}
	seq := r.in(tags.SEQUENCE, "KeyTransRecipientInfo")
	seq.version("KeyTransRecipientInfo")
	if seq.peek(context(0)) {
		i.KeyID = present(seq.octets(context(0), "subjectKeyIdentifier"))
	} else {
		i.Issuer, i.Serial = seq.issuerAndSerial()
	}
	i.Algorithm = seq.algorithm(tags.SEQUENCE, "keyEncryptionAlgorithm")
	i.encrypted = seq.octets(tags.OCTET_STRING, "encryptedKey")
	seq.end("KeyTransRecipientInfo")
	return i
}

// agreed adds one RecipientInfo for each encrypted key of a KeyAgreeRecipientInfo.
func (r *reader) agreed(list []RecipientInfo) []RecipientInfo {
	all := RecipientInfo{Kind: ByKeyAgreement}
	seq := r.in(constructed(1), "KeyAgreeRecipientInfo")
	seq.version("KeyAgreeRecipientInfo")
	originator := seq.in(constructed(0), "originator")
	if originator.peek(constructed(1)) {
		all.originator = originator.element(constructed(1), "originatorKey")
	} else {
		originator.any("originator")
	}
	originator.end("originator")
	if in, ok := seq.optional(constructed(1), "ukm"); ok {
		all.ukm = in.octets(tags.OCTET_STRING, "ukm")
		in.end("ukm")
	}
	all.Algorithm = seq.algorithm(tags.SEQUENCE, "keyEncryptionAlgorithm")
	keys := seq.in(tags.SEQUENCE, "recipientEncryptedKeys")
	seq.end("KeyAgreeRecipientInfo")
	keys.each(mostItems-len(list), "recipients", func(r *reader) {
		i := all
		key := r.in(tags.SEQUENCE, "RecipientEncryptedKey")
		if id, ok := key.optional(constructed(0), "rKeyId"); ok {
			i.KeyID = present(id.octets(tags.OCTET_STRING, "subjectKeyIdentifier")) // date and other may follow
		} else {
			i.Issuer, i.Serial = key.issuerAndSerial()
		}
		i.encrypted = key.octets(tags.OCTET_STRING, "encryptedKey")
		key.end("RecipientEncryptedKey")
		list = append(list, i)
	})
	return list
}

func (r *reader) encryption() RecipientInfo {
	i := RecipientInfo{Kind: ByKeyEncryption}
	seq := r.in(constructed(2), "KEKRecipientInfo")
	seq.version("KEKRecipientInfo")
	id := seq.in(tags.SEQUENCE, "kekid")
	i.KeyID = present(id.octets(tags.OCTET_STRING, "keyIdentifier")) // date and other may follow
	i.Algorithm = seq.algorithm(tags.SEQUENCE, "keyEncryptionAlgorithm")
	i.encrypted = seq.octets(tags.OCTET_STRING, "encryptedKey")
	seq.end("KEKRecipientInfo")
	return i
}

func (r *reader) password() RecipientInfo {
	i := RecipientInfo{Kind: ByPassword}
	seq := r.in(constructed(3), "PasswordRecipientInfo")
	seq.version("PasswordRecipientInfo")
	if seq.peek(constructed(0)) {
		i.derivation = seq.algorithm(constructed(0), "keyDerivationAlgorithm")
	}
	i.Algorithm = seq.algorithm(tags.SEQUENCE, "keyEncryptionAlgorithm")
	i.encrypted = seq.octets(tags.OCTET_STRING, "encryptedKey")
	seq.end("PasswordRecipientInfo")
	return i
}

// For reports whether the recipient is named by this certificate: by its issuer and serial
// number, or by its subject key identifier.
func (i *RecipientInfo) For(c *x509.Certificate) bool {
	switch i.Kind {
	case ByKeyTransport, ByKeyAgreement:
		return name{i.Issuer, i.Serial, i.KeyID}.of(c)
	}
	return false
}

// ForKeyID reports whether the recipient, of that kind, is named by the identifier.
func (i *RecipientInfo) ForKeyID(kind RecipientKind, id []byte) bool {
	return i.Kind == kind && len(id) > 0 && bytes.Equal(i.KeyID, id)
}

// open gives the content's key. One that was transported has so many octets; the length of
// another is its user's to check.
func (i *RecipientInfo) open(key any, size int) ([]byte, error) {
	switch i.Kind {
	case ByKeyTransport:
		return i.openTransport(key, size)
	case ByKeyAgreement:
		return i.openAgreement(key)
	case ByKeyEncryption:
		return i.openEncryption(key)
	case ByPassword:
		return i.openPassword(key)
	}
	return nil, fault(Unsupported, "this kind of recipient is not supported")
}

// recipientAt picks one of the list.
func recipientAt(list []RecipientInfo, n int) (*RecipientInfo, error) {
	if n < 0 || n >= len(list) {
		return nil, fault(NoRecipient, "there is no recipient %d among %d", n, len(list))
	}
	return &list[n], nil
}

// sealTo seals the key to each recipient.
func sealTo(key []byte, to []Recipient) ([][]byte, error) {
	if len(to) == 0 {
		return nil, fault(BadValue, "there are no recipients")
	}
	infos := make([][]byte, len(to))
	for n, recipient := range to {
		info, err := recipient.seal(key)
		if err != nil {
			return nil, err
		}
		infos[n] = info
	}
	return infos, nil
}
