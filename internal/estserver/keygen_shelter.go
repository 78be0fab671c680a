package estserver

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"chancery/cms"
	"chancery/est"
	"chancery/internal/ca"
)

// keySigners is the profile of the certificate under which made keys are signed
// (RFC 7030 §4.4.2: by the party that generated the key).
const keySigners = "key-generation"

// shelter is how a made key travels: in TLS alone, or encrypted to a recipient within
// it (RFC 7030 §4.4.2).
type shelter struct {
	recipient cms.Recipient // nil: TLS alone
	cipher    cms.Cipher
	secret    cms.Secret // the recipient's, if it is a shared one
	signer    Delegate   // who says that the key was made here; with a recipient
	words     string     // for the auditor
}

// shelterFor reads from a request how its key is to be protected. What cannot be done
// as asked is an error, never less protection (RFC 7030 §4.4.1).
func (s *Server) shelterFor(ctx context.Context, c *call, req *est.Parsed) (*shelter, error) {
	symmetric, isSymmetric, err := req.DecryptKeyIdentifier()
	if err != nil {
		return nil, err
	}
	public, isPublic, err := req.AsymmetricDecryptKeyIdentifier()
	if err != nil {
		return nil, err
	}
	switch {
	case isSymmetric && isPublic:
		return nil, refuse(http.StatusBadRequest, "the request names a symmetric key and a public key to encrypt with; name one (RFC 7030 section 4.4.1)")
	case !isSymmetric && !isPublic && c.label.ServerKeys.Encrypted:
		return nil, refuse(http.StatusForbidden, "keys leave this server encrypted only: name the key to encrypt with by decryptKeyIdentifier or asymmetricDecryptKeyIdentifier, and what you can decrypt by SMIMECapabilities (RFC 7030 section 4.4.1)")
	case !isSymmetric && !isPublic:
		return &shelter{words: "TLS alone"}, nil
	}
	able, err := capabilities(req)
	if err != nil {
		return nil, err
	}
	to := &shelter{}
	if isSymmetric {
		err = s.toSymmetric(ctx, to, symmetric, able)
	} else {
		err = s.toPublic(ctx, to, public, able)
	}
	if err != nil {
		return nil, err
	}
	if s.Delegate == nil {
		return nil, refuse(http.StatusNotImplemented, "this server has no certificate to sign made keys with, so that it cannot send them encrypted")
	}
	if to.signer, err = s.Delegate(ctx, keySigners); err != nil {
		return nil, err
	}
	return to, nil
}

// capabilities reads the request's SMIMECapabilities (RFC 7030 §4.4.1: MUST be there).
func capabilities(req *est.Parsed) (cms.Capabilities, error) {
	der, ok, err := req.SMIMECapabilities()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, refuse(http.StatusBadRequest, "the request names a key to encrypt with, but has no SMIMECapabilities to say with which algorithms (RFC 7030 section 4.4.1)")
	}
	able, err := cms.ParseCapabilities(der)
	if err != nil {
		return nil, &refusal{Status: http.StatusBadRequest, Text: "the request's SMIMECapabilities cannot be read (RFC 8551 section 2.5.2)", Err: err}
	}
	return able, nil
}

// unknownKey is the answer to an identifier that nothing is found for (RFC 7030
// §4.4.1.1 and §4.4.1.2: the request MUST be terminated).
func unknownKey(id []byte) error {
	return refuse(http.StatusForbidden, "the key with the identifier %s is not known here; have it registered: chancery est key add", identifierShown(id))
}

// toSymmetric finds the shared key (RFC 7030 §4.4.1.1).
func (s *Server) toSymmetric(ctx context.Context, to *shelter, id []byte, able cms.Capabilities) error {
	known, err := s.DeviceKeys.DeviceKey(ctx, Symmetric, id)
	if ca.KindOf(err) == ca.NotFound {
		return unknownKey(id)
	}
	if err != nil {
		return err
	}
	key, err := s.openDeviceKey(known)
	if err != nil {
		return err
	}
	suite, err := choose(able, key)
	if err != nil {
		return err
	}
	to.recipient, to.secret, to.cipher = cms.KeyEncryption{ID: id, Key: key}, key, suite.Cipher
	to.words = fmt.Sprintf("encrypted (AES-%d-CBC) to the symmetric key %s of %d bits", suite.Cipher.Bits(), shortHex(id), 8*len(key))
	return nil
}

// deviceKeyBinding is what a sealed device key is bound to, so that nobody who can
// write to the store can pass one key off as another.
func deviceKeyBinding(id []byte) []byte { return append([]byte("est device key:"), id...) }

// sealDeviceKey gives a symmetric key as [DeviceKey.Sealed] has it.
func (s *Server) sealDeviceKey(id []byte, key cms.Secret) ([]byte, error) {
	if s.Seals == nil {
		return nil, refuse(http.StatusNotImplemented, "this server has nothing to seal symmetric keys with, so that none can be registered")
	}
	return s.Seals.Seal(key, deviceKeyBinding(id)), nil
}

func (s *Server) openDeviceKey(k DeviceKey) (cms.Secret, error) {
	if s.Seals == nil {
		return nil, fmt.Errorf("the symmetric key %x is registered, but there is nothing to open its seal with", k.ID)
	}
	key, err := s.Seals.Open(k.Sealed, deviceKeyBinding(k.ID))
	if err != nil {
		return nil, fmt.Errorf("opening the symmetric key %x: %w", k.ID, err)
	}
	return key, nil
}

// leastRecipient is the strength in bits below which nothing is encrypted to a key.
const leastRecipient = 112

// toPublic finds the public key (RFC 7030 §4.4.1.2): one that was registered under the
// identifier, or that of a certificate of ours with this subject key identifier. The
// recipient is named by the identifier, which its holder knows.
func (s *Server) toPublic(ctx context.Context, to *shelter, id []byte, able cms.Capabilities) error {
	key, err := s.publicKey(ctx, id)
	if err != nil {
		return err
	}
	if cms.Strength(key) < leastRecipient {
		return refuse(http.StatusForbidden, "nothing is encrypted to the key %s: it is of a kind that can only sign, or weaker than %d bits; register an RSA key from 2048 bits, or one for ECDH", identifierShown(id), leastRecipient)
	}
	suite, err := choose(able, key)
	if err != nil {
		return err
	}
	to.cipher = suite.Cipher
	how := "ECDH"
	if _, transport := key.(*rsa.PublicKey); transport {
		to.recipient, how = cms.KeyTransport{KeyID: id, Key: key, OAEP: suite.OAEP}, "RSA PKCS #1 v1.5"
		if suite.OAEP != 0 {
			how = "RSA OAEP with " + suite.OAEP.String()
		}
	} else {
		to.recipient = cms.KeyAgreement{KeyID: id, Key: key, Hash: suite.Hash, Wrap: suite.Wrap}
	}
	to.words = fmt.Sprintf("encrypted (%s, AES-%d-CBC) to the key %s", how, suite.Cipher.Bits(), shortHex(id))
	return nil
}

// choose picks the algorithms from the request's list, the content's as strong as the
// recipient's key (RFC 7030 §4.4.2). A list of nothing but key encipherment, which is all
// that §4.4.1 asks of it, leaves the content's to us.
func choose(able cms.Capabilities, key any) (cms.Suite, error) {
	if !slices.ContainsFunc(able, encryptsContent) {
		for _, c := range []cms.Cipher{cms.AES128CBC, cms.AES192CBC, cms.AES256CBC} {
			able = append(slices.Clip(able), cms.Algorithm{OID: c.OID()})
		}
	}
	suite, err := able.Choose(key)
	if err != nil {
		return suite, &refusal{Status: http.StatusBadRequest, Err: err,
			Text: fmt.Sprintf("the request's SMIMECapabilities fit nothing that this server can encrypt to the key with: %s (RFC 7030 section 4.4.1)", lack(err))}
	}
	return suite, nil
}

// encryptsContent tells content-encryption algorithms from those that encrypt keys: they
// are below two arcs, in one of which key wraps are, too.
func encryptsContent(a cms.Algorithm) bool {
	oid := a.OID.String()
	aes, isAES := strings.CutPrefix(oid, "2.16.840.1.101.3.4.1.")
	wrap := slices.Contains([]string{"5", "8", "25", "28", "45", "48"}, aes) // RFC 3394, RFC 5649
	return isAES && !wrap || strings.HasPrefix(oid, "1.2.840.113549.3.")
}

// lack gives an error's detail without the package's prefix.
func lack(err error) string {
	if e, ok := errors.AsType[*cms.Error](err); ok {
		return e.Detail
	}
	return "they cannot be used"
}

func (s *Server) publicKey(ctx context.Context, id []byte) (crypto.PublicKey, error) {
	known, err := s.DeviceKeys.DeviceKey(ctx, Asymmetric, id)
	switch {
	case err == nil:
		return registeredKey(known)
	case ca.KindOf(err) != ca.NotFound:
		return nil, err
	}
	records, err := s.Certificates.ByKeyID(ctx, id, s.Clock())
	if err != nil {
		return nil, err
	}
	var last error = unknownKey(id)
	for _, r := range records {
		cert, err := x509.ParseCertificate(r.DER)
		if err != nil {
			return nil, fmt.Errorf("the certificate %s cannot be read: %w", r.Serial, err)
		}
		// An identifier is a hash of the key: it must be this key's in truth.
		if !bytes.Equal(cert.SubjectKeyId, id) {
			continue
		}
		if err := encrypts(cert); err != nil {
			last = err
			continue
		}
		return cert.PublicKey, nil
	}
	return nil, last
}

// registeredKey reads what was registered: a certificate or a bare public key.
func registeredKey(k DeviceKey) (crypto.PublicKey, error) {
	if cert, err := x509.ParseCertificate(k.Public); err == nil {
		return cert.PublicKey, encrypts(cert)
	}
	key, err := x509.ParsePKIXPublicKey(k.Public)
	if err != nil {
		return nil, fmt.Errorf("the public key %x that is registered cannot be read: %w", k.ID, err)
	}
	return key, nil
}

// encrypts tells whether a certificate's key may be used for this: its use must be
// unrestricted, or allow what is done with it (RFC 7030 §4.4.1.2).
func encrypts(cert *x509.Certificate) error {
	use, word := x509.KeyUsageKeyAgreement, "keyAgreement"
	if cert.PublicKeyAlgorithm == x509.RSA {
		use, word = x509.KeyUsageKeyEncipherment, "keyEncipherment"
	}
	if cert.KeyUsage != 0 && cert.KeyUsage&use == 0 {
		return refuse(http.StatusForbidden, "the certificate of the key to encrypt with does not allow %s, so that nothing may be encrypted to it (RFC 7030 section 4.4.1.2); name a key that is for encryption", word)
	}
	return nil
}

// cipherStrength is that of a connection's cipher in bits; 0 where it is not known, as
// behind a terminator, or is none that should be used.
func cipherStrength(c *tls.ConnectionState) int {
	if c == nil {
		return 0
	}
	switch name := tls.CipherSuiteName(c.CipherSuite); {
	case strings.Contains(name, "AES_256"), strings.Contains(name, "CHACHA20"):
		return 256
	case strings.Contains(name, "AES_128"):
		return 128
	}
	return 0
}

// checkCipher refuses to send a key over a connection that is weaker than the key
// (RFC 7030 §4.4: "confidentiality commensurate with the private key"), unless it is
// encrypted besides, or the label allows it; then it says so to the auditor.
func (c *call) checkCipher(sh *shelter, strength int) error {
	have := cipherStrength(c.tls())
	name := "a terminator's TLS, of which nothing is known"
	if t := c.tls(); t != nil {
		name = tls.CipherSuiteName(t.CipherSuite)
	}
	switch {
	case have >= min(strength, 256):
		sh.words += ", over " + name
	case sh.recipient != nil:
		sh.words += fmt.Sprintf(", over %s, which alone would be too weak for a key of %d bits' strength", name, strength)
	case c.label.ServerKeys.WeakCipher:
		sh.words += fmt.Sprintf(", over %s, WEAKER than the key of %d bits' strength: the label allows it", name, strength)
	default:
		return refuse(http.StatusForbidden, "the connection (%s) protects less than a key of %d bits' strength needs: offer AES-256 or ChaCha20 alone (some clients can say so with TLS 1.2 only), or have the key encrypted (RFC 7030 section 4.4)", name, strength)
	}
	return nil
}
