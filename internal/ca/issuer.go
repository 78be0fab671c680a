package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// State says what an issuer does today.
type State string

// The states of an issuer. A retired one signs no certificates any more, but
// CRLs and OCSP delegates until its last certificate has ended.
const (
	Active  State = "active"
	Retired State = "retired"
)

// IssuerRecord is what storage keeps of one certification authority: its
// certificates and where its key is, never the key.
type IssuerRecord struct {
	ID        string // from the key; see issuerID
	Name      string // the line: "root", "issuing"; a rollover keeps it
	Root      bool
	State     State
	Key       string   // its name in the key store
	Parent    string   // the ID of the issuer that signed the first certificate; its own for a root
	Certs     [][]byte // DER: its own first, then renewed and cross-certificates for the same key
	Shards    int      // into how many CRLs its certificates are spread; fixed for life
	StatusURL string   // base of the URLs in its certificates; fixed for life
	Created   time.Time
}

// Issuer is a certification authority at work. Only its sign method, which
// takes nothing but a [*Warrant], reaches the key.
type Issuer struct {
	IssuerRecord
	cert       *x509.Certificate // nil only while a root is being founded
	signer     crypto.Signer     // nil: the key is elsewhere
	subject    pkix.Name
	rawSubject []byte
	keyID      []byte
	keyHash    []byte // see [KeyHash]
	algorithm  x509.SignatureAlgorithm
	hash       crypto.Hash

	practiceOnce sync.Once
	practiceKey  practice
	practiceErr  error
}

// issuerID names an issuer by its key: 16 characters of base32 of the SHA-256
// of the SubjectPublicKeyInfo. Certificates carry it in their status URLs.
func issuerID(key crypto.PublicKey) (string, error) {
	hash, err := KeyHash(key)
	if err != nil {
		return "", err
	}
	return strings.ToLower(idEncoding.EncodeToString(hash[:10])), nil
}

// open makes an issuer ready to work; signer may be nil.
func (r IssuerRecord) open(signer crypto.Signer) (*Issuer, error) {
	cert, err := r.primary()
	if err != nil {
		return nil, fmt.Errorf("certificate of issuer %s: %w", r.Name, err)
	}
	i := &Issuer{
		IssuerRecord: r, cert: cert, signer: signer,
		subject: cert.Subject, rawSubject: cert.RawSubject, keyID: cert.SubjectKeyId,
	}
	if signer != nil {
		key, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !key.Equal(signer.Public()) {
			return nil, fmt.Errorf("the key %s does not belong to the certificate of issuer %s", r.Key, r.Name)
		}
	}
	if i.keyHash, err = KeyHash(cert.PublicKey); err != nil {
		return nil, err
	}
	return i, i.setAlgorithm(cert.PublicKey)
}

// primary gives the certificate that the issuer works under, and moves it to the
// front of Certs, where chains begin: its own, or a renewed one that lives
// longer. A cross-certificate never does; see [Authority.cross].
func (r *IssuerRecord) primary() (*x509.Certificate, error) {
	first, err := x509.ParseCertificate(r.Certs[0])
	if err != nil {
		return nil, err
	}
	best, at := first, 0
	for n, der := range r.Certs[1:] {
		if cert, err := x509.ParseCertificate(der); err == nil && renews(cert, first) && cert.NotAfter.After(best.NotAfter) {
			best, at = cert, n+1
		}
	}
	r.Certs = slices.Concat(r.Certs[at:at+1], r.Certs[:at], r.Certs[at+1:])
	return best, nil
}

// renews tells whether a certificate is another of the same authority, in the
// same place: a root's for a root's.
func renews(cert, old *x509.Certificate) bool {
	return bytes.Equal(cert.RawSubjectPublicKeyInfo, old.RawSubjectPublicKeyInfo) && bytes.Equal(cert.RawSubject, old.RawSubject) &&
		bytes.Equal(cert.SubjectKeyId, old.SubjectKeyId) && selfSigned(cert) == selfSigned(old)
}

// selfSigned tells a root's certificate from one by which the root before it or after
// it, of the same name, certifies its key (RFC 4210 §4.4).
func selfSigned(cert *x509.Certificate) bool {
	switch {
	case !bytes.Equal(cert.RawSubject, cert.RawIssuer):
		return false
	case len(cert.AuthorityKeyId) > 0 && len(cert.SubjectKeyId) > 0:
		return bytes.Equal(cert.AuthorityKeyId, cert.SubjectKeyId)
	}
	return cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}

func (i *Issuer) setAlgorithm(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			i.algorithm, i.hash = x509.ECDSAWithSHA256, crypto.SHA256
		case elliptic.P384():
			i.algorithm, i.hash = x509.ECDSAWithSHA384, crypto.SHA384
		case elliptic.P521():
			i.algorithm, i.hash = x509.ECDSAWithSHA512, crypto.SHA512
		}
	case *rsa.PublicKey:
		i.algorithm, i.hash = x509.SHA256WithRSA, crypto.SHA256
	case ed25519.PublicKey:
		i.algorithm, i.hash = x509.PureEd25519, 0
	}
	if i.algorithm == x509.UnknownSignatureAlgorithm {
		return fmt.Errorf("issuers with a key of type %T are not supported", key)
	}
	return nil
}

// practice is a throw-away key and a signature that it once made, of a text without
// meaning.
type practice struct {
	crypto.Signer
	signature []byte
}

// practice gives the throw-away key under which drafts are encoded and linted.
// It has the issuer's algorithm and lives as long as the process.
func (i *Issuer) practice() (practice, error) {
	i.practiceOnce.Do(func() {
		p := &i.practiceKey
		switch i.algorithm {
		case x509.ECDSAWithSHA256:
			p.Signer, i.practiceErr = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		case x509.ECDSAWithSHA384:
			p.Signer, i.practiceErr = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		case x509.ECDSAWithSHA512:
			p.Signer, i.practiceErr = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
		case x509.SHA256WithRSA:
			p.Signer, i.practiceErr = rsa.GenerateKey(rand.Reader, 2048)
		default:
			_, p.Signer, i.practiceErr = ed25519.GenerateKey(rand.Reader)
		}
		if i.practiceErr == nil {
			p.signature, i.practiceErr = signBytes(p, i.hash, []byte("practice"))
		}
	})
	return i.practiceKey, i.practiceErr
}

// Certificate gives the issuer's own certificate; treat it as read-only.
func (i *Issuer) Certificate() *x509.Certificate { return i.cert }

// HasKey tells whether this process can sign for the issuer.
func (i *Issuer) HasKey() bool { return i.signer != nil }

// Signs tells whether the issuer takes new certificates now.
func (i *Issuer) Signs(now time.Time) bool {
	return i.State == Active && i.HasKey() && now.Before(i.cert.NotAfter)
}

// ShardOf gives the CRL that answers for a serial.
func (i *Issuer) ShardOf(s Serial) int {
	sum := sha256.Sum256(s.Bytes())
	return (int(sum[0])<<8 | int(sum[1])) % max(i.Shards, 1)
}

// CRLURL is where the shard's CRL is found, for life.
func (i *Issuer) CRLURL(shard int) string {
	return fmt.Sprintf("%s/crl/%s/%d.crl", i.StatusURL, i.ID, shard)
}

// pointers writes where relying parties ask about the certificate
// (RFC 5280 §4.2.1.13 and §4.2.2.1).
func (i *Issuer) pointers(t *x509.Certificate, s Serial) {
	if i.StatusURL == "" {
		return
	}
	t.CRLDistributionPoints = []string{i.CRLURL(i.ShardOf(s))}
	t.IssuingCertificateURL = []string{i.StatusURL + "/ca/" + i.ID + ".crt"}
	t.OCSPServer = []string{i.StatusURL + "/ocsp"}
}

// outlives refuses an end that was asked for and lies after the issuer's own:
// another than the one asked for is not to be given (RFC 8555 §7.4). Zero: none
// was asked for.
func (i *Issuer) outlives(notAfter time.Time) error {
	if end := i.cert.NotAfter; notAfter.After(end) {
		return Errorf(Invalid, "notAfter is too late: the issuer itself ends at %s; ask for less, or leave notAfter out", end.UTC().Format(time.RFC3339))
	}
	return nil
}

// answersTo tells whether a certificate names this issuer as its own.
func (i *Issuer) answersTo(cert *x509.Certificate) bool {
	return bytes.Equal(cert.RawIssuer, i.rawSubject) && cert.CheckSignatureFrom(i.cert) == nil
}
