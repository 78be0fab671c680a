package estserver

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"chancery/est"
	"chancery/internal/admin"
	"chancery/internal/ca"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// KeyWanted is the input of est.key.add: either key or public.
type KeyWanted struct {
	ID      string `json:"id,omitempty"`      // how requests name it, see [est.ParseKeyIdentifier]; may be left out for a certificate or public key
	Key     []byte `json:"key,omitempty"`     // a symmetric key of 16, 24 or 32 octets
	Public  string `json:"public,omitempty"`  // PEM of a certificate or public key
	Comment string `json:"comment,omitempty"` // one line
}

// String gives it without its key.
func (k KeyWanted) String() string { return "device key " + k.ID }

// GoString is String.
func (k KeyWanted) GoString() string { return k.String() }

// KeyShown is a device key as est.key.list shows it.
type KeyShown struct {
	Kind    KeyKind   `json:"kind"`
	ID      string    `json:"id"`             // hex
	Text    string    `json:"text,omitempty"` // the same as a text, if [est.ParseKeyIdentifier] takes it for that; "": it is none
	Key     string    `json:"key"`
	Comment string    `json:"comment,omitempty"`
	Created time.Time `json:"created"`
}

// KeysShown is the output of est.key.list.
type KeysShown struct {
	Keys   []KeyShown `json:"keys"`
	Cursor string     `json:"cursor,omitempty"`
}

func (s *Server) addKey(ctx context.Context, caller admin.Caller, in KeyWanted) (KeyShown, error) {
	defer clear(in.Key)
	var id []byte
	var err error
	if in.ID != "" {
		if id, err = est.ParseKeyIdentifier(in.ID); err != nil {
			return KeyShown{}, ca.Errorf(ca.Invalid, "%v", err)
		}
	}
	if len(in.Comment) > maxReason || strings.ContainsFunc(in.Comment, unicode.IsControl) {
		return KeyShown{}, ca.Errorf(ca.Invalid, "a comment is one line of at most %d octets", maxReason)
	}
	if (len(in.Key) > 0) == (in.Public != "") {
		return KeyShown{}, ca.Errorf(ca.Invalid, "give one key: a symmetric one, or a certificate or public key")
	}
	k := DeviceKey{Kind: Symmetric, ID: id, Comment: in.Comment, Created: s.Clock()}
	if in.Public != "" {
		k.Kind = Asymmetric
		err = k.takePublic(in.Public)
	} else {
		err = s.takeSymmetric(&k, in.Key)
	}
	if err != nil {
		return KeyShown{}, err
	}
	e := administrator(caller).Event(k.Created, "est-key.added", hex.EncodeToString(k.ID))
	e.Detail = map[string]string{"kind": string(k.Kind), "comment": k.Comment}
	if err := s.DeviceKeys.AddDeviceKey(ctx, k, e); err != nil {
		return KeyShown{}, err
	}
	out := keyShown(&k)
	if k.Kind == Symmetric {
		out.Key = fmt.Sprintf("AES-%d", 8*len(in.Key))
	}
	return out, nil
}

func (s *Server) takeSymmetric(k *DeviceKey, key []byte) error {
	switch {
	case len(k.ID) == 0:
		return ca.Errorf(ca.Invalid, "a symmetric key needs the identifier by which the device names it: --id ID")
	case len(key) != 16 && len(key) != 24 && len(key) != 32:
		return ca.Errorf(ca.Invalid, "a symmetric key is for AES and has 16, 24 or 32 octets, not %d", len(key))
	}
	var err error
	k.Sealed, err = s.sealDeviceKey(k.ID, key)
	return err
}

// takePublic reads a certificate or public key to which keys shall be encrypted. The
// usual identifier is the certificate's subject key identifier; of a bare key, and where
// there is none, the one of RFC 5280 §4.2.1.2, method 1.
func (k *DeviceKey) takePublic(text string) error {
	block, rest := pem.Decode([]byte(text))
	if block == nil || strings.TrimSpace(string(rest)) != "" {
		return ca.Errorf(ca.Invalid, "one block of PEM is needed: a certificate or a public key")
	}
	k.Public = block.Bytes
	var key crypto.PublicKey
	var spki, usual []byte
	switch block.Type {
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return ca.Errorf(ca.Invalid, "the certificate cannot be read: %v", err)
		}
		if err := encrypts(cert); err != nil {
			return ca.Errorf(ca.Invalid, "%v", err)
		}
		key, spki, usual = cert.PublicKey, cert.RawSubjectPublicKeyInfo, cert.SubjectKeyId
	case "PUBLIC KEY":
		var err error
		if key, err = x509.ParsePKIXPublicKey(block.Bytes); err != nil {
			return ca.Errorf(ca.Invalid, "the public key cannot be read: %v", err)
		}
		spki = block.Bytes
	default:
		return ca.Errorf(ca.Invalid, "a block of type %q is neither a certificate nor a public key", clip(block.Type))
	}
	if err := canReceive(key); err != nil {
		return err
	}
	if len(k.ID) == 0 {
		k.ID = usual
	}
	if len(k.ID) > 0 {
		return nil
	}
	var bits []byte
	in := cryptobyte.String(spki)
	if !in.ReadASN1(&in, tag.SEQUENCE) || !in.SkipASN1(tag.SEQUENCE) || !in.ReadASN1BitStringAsBytes(&bits) {
		return ca.Errorf(ca.Invalid, "the public key cannot be read")
	}
	sum := sha1.Sum(bits) // an identifier, not a proof
	k.ID = sum[:]
	return nil
}

// canReceive refuses keys to which nothing can, or should, be encrypted.
func canReceive(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return ca.Errorf(ca.Invalid, "an RSA key of %d bits protects nothing; 2048 are the least", k.N.BitLen())
		}
		return nil
	case *ecdsa.PublicKey:
		if _, err := k.ECDH(); err == nil {
			return nil
		}
	case *ecdh.PublicKey:
		return nil
	}
	return ca.Errorf(ca.Invalid, "nothing can be encrypted to a key of this kind; use RSA, EC (P-256, P-384, P-521) or X25519")
}

func keyShown(k *DeviceKey) KeyShown {
	out := KeyShown{Kind: k.Kind, ID: hex.EncodeToString(k.ID), Text: identifierText(k.ID), Comment: k.Comment, Created: k.Created}
	out.Key = "AES"
	if k.Kind == Asymmetric {
		out.Key = publicShown(k.Public)
	}
	return out
}

// identifierText gives an identifier as the text by which people name it; "" if none does.
func identifierText(id []byte) string {
	text := string(id)
	if octets, err := est.ParseKeyIdentifier(text); err != nil || !bytes.Equal(octets, id) || strings.ContainsFunc(text, unprintable) {
		return ""
	}
	return text
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// identifierShown writes an identifier for people: in hex, and as a text where it is one.
func identifierShown(id []byte) string {
	out := shortHex(id)
	if text := identifierText(id); text != "" {
		out += fmt.Sprintf(" (%q)", text)
	}
	return out
}

// publicShown says in a few words what a public key or certificate is.
func publicShown(der []byte) string {
	key, owner := crypto.PublicKey(nil), ""
	if cert, err := x509.ParseCertificate(der); err == nil {
		key, owner = cert.PublicKey, ", certificate of "+cert.Subject.String()
	} else if key, err = x509.ParsePKIXPublicKey(der); err != nil {
		return "unreadable"
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d%s", k.N.BitLen(), owner)
	case *ecdsa.PublicKey:
		return "EC " + k.Curve.Params().Name + owner
	case *ecdh.PublicKey:
		return fmt.Sprint(k.Curve()) + owner
	}
	return "another kind" + owner
}

func (s *Server) listKeys(ctx context.Context, _ admin.Caller, in Page) (KeysShown, error) {
	limit, err := in.size()
	if err != nil {
		return KeysShown{}, err
	}
	list, next, err := s.DeviceKeys.ListDeviceKeys(ctx, in.Cursor, limit)
	out := KeysShown{Keys: []KeyShown{}, Cursor: next}
	for i := range list {
		if list[i].Kind == challenging {
			continue
		}
		out.Keys = append(out.Keys, keyShown(&list[i]))
	}
	return out, err
}

// KeyNamed is the input of est.key.remove.
type KeyNamed struct {
	Kind KeyKind `json:"kind"`
	ID   string  `json:"id"` // as [KeyWanted] has it; what est.key.list shows is one
}

func (s *Server) removeKey(ctx context.Context, caller admin.Caller, in KeyNamed) (struct{}, error) {
	id, err := est.ParseKeyIdentifier(in.ID)
	if err != nil {
		return struct{}{}, ca.Errorf(ca.Invalid, "%v; see: chancery est key list", err)
	}
	if in.Kind != Symmetric && in.Kind != Asymmetric {
		return struct{}{}, ca.Errorf(ca.Invalid, "a key is symmetric or asymmetric, not %q", clip(string(in.Kind)))
	}
	e := administrator(caller).Event(s.Clock(), "est-key.removed", hex.EncodeToString(id))
	e.Detail = map[string]string{"kind": string(in.Kind)}
	return struct{}{}, s.DeviceKeys.RemoveDeviceKey(ctx, in.Kind, id, e)
}

// CertificateNamed is the input of est.archive.get.
type CertificateNamed struct {
	Serial string `json:"serial"`
}

// ArchivedKey is the output of est.archive.get.
type ArchivedKey struct {
	Serial string `json:"serial"`
	CMS    string `json:"cms"` // PEM of an EnvelopedData, for the holder of the archive's key
}

// archivedKey gives the copy, which is of use to the holder of the archive's key alone,
// once it is recorded who had it.
func (s *Server) archivedKey(ctx context.Context, caller admin.Caller, in CertificateNamed) (ArchivedKey, error) {
	serial, err := ca.ParseSerial(in.Serial)
	if err != nil {
		return ArchivedKey{}, err
	}
	enveloped, err := s.DeviceKeys.Archived(ctx, serial)
	if err != nil {
		return ArchivedKey{}, err
	}
	if err := s.Certificates.Note(ctx, administrator(caller).Event(s.Clock(), "serverkey.fetched", string(serial))); err != nil {
		return ArchivedKey{}, err
	}
	s.Logger.WarnContext(ctx, "an archived key was fetched", slog.String("serial", string(serial)), slog.String("by", caller.Name))
	return ArchivedKey{Serial: string(serial), CMS: string(pem.EncodeToMemory(&pem.Block{Type: "CMS", Bytes: enveloped}))}, nil
}
