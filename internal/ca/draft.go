package ca

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"chancery/internal/lint"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Draft is a certificate with every field decided and nothing signed.
type Draft struct {
	serial   Serial
	request  string
	by       Principal
	profile  string
	issuer   *Issuer
	key      crypto.PublicKey
	names    []Identifier
	template x509.Certificate
	lints    *lint.Set
	once     *Once
	detail   map[string]string
}

// endless is RFC 5280 §4.1.2.5's notAfter of a certificate without a good end.
var endless = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// admit checks everything that the profile decides about a request: who asks,
// the key, the subject, the names and the evidence for each.
func (p *Profile) admit(req *Request, now time.Time) error {
	if req.ID == "" || req.By.Room == "" {
		return Errorf(Internal, "a request without id or asker")
	}
	if !p.Serves(req.By.Room) {
		return Errorf(Denied, "profile %s is not offered here", p.Name)
	}
	if err := p.admitAsker(req, now); err != nil {
		return err
	}
	if err := p.admitKey(req.Key); err != nil {
		return err
	}
	if err := p.Subject.admit(req.Subject); err != nil {
		return err
	}
	if err := p.admitNames(req.Names); err != nil {
		return err
	}
	if err := p.Subject.named(req.Subject, req.Names); err != nil {
		return err
	}
	refused := Errorf(Denied, "there is no valid proof for some of the names; authorise them again")
	for _, name := range req.Names {
		if _, ok := req.evidenceFor(name, p.Evidence, now); !ok {
			refused.Sub = append(refused.Sub, SubError{Denied, name, fmt.Sprintf("no unexpired proof of %s by one of %v", name.Value(), p.Evidence)})
		}
	}
	if len(refused.Sub) > 0 {
		return refused
	}
	return nil
}

// admitAsker refuses who was not vetted, where certificates say that he was.
func (p *Profile) admitAsker(req *Request, now time.Time) error {
	if p.vetted(req, now) {
		return nil
	}
	return Errorf(Denied, "a certificate under profile %s vouches for who asks (%s), and of you nothing is known but your key: open an account with an external account binding, which this CA's administrators give out", p.Name, p.Kind)
}

// admitNames checks names against the profile alone.
func (p *Profile) admitNames(names []Identifier) error {
	switch {
	case len(names) < p.MinNames:
		return Errorf(Invalid, "profile %s needs at least %d name(s)", p.Name, p.MinNames)
	case len(names) > p.MaxNames:
		return Errorf(Invalid, "profile %s takes at most %d names; this request has %d: split it", p.Name, p.MaxNames, len(names))
	}
	refused := Errorf(BadName, "some names cannot be certified under profile %s", p.Name)
	for i, name := range names {
		switch {
		case name.IsZero() || slices.Contains(names[:i], name):
			return Errorf(Invalid, "the name %s is given twice", name)
		case !p.Takes(name.Type()):
			refused.Sub = append(refused.Sub, SubError{BadName, name, fmt.Sprintf("profile %s takes no names of type %s", p.Name, name.Type())})
		case name.IsWildcard() && !p.Wildcards:
			refused.Sub = append(refused.Sub, SubError{BadName, name, fmt.Sprintf("profile %s takes no wildcards", p.Name)})
		}
	}
	if len(refused.Sub) > 0 {
		return refused
	}
	return nil
}

// window decides the validity: what the request asked within the profile's
// bounds, the profile's life otherwise. notAfter is the last second that is
// valid (RFC 5280 §4.1.2.5).
func (p *Profile) window(notBefore, notAfter, now time.Time) (from, to time.Time, err error) {
	from = now.Add(-p.backdate)
	if !notBefore.IsZero() {
		if notBefore.Before(from.Add(-time.Minute)) || notBefore.After(now.Add(maxPostdate)) {
			return from, to, Errorf(Invalid, "notBefore must lie between now and %s from now; leave it out for now", days(maxPostdate))
		}
		from = notBefore
	}
	from = from.UTC().Truncate(time.Second)
	switch {
	case !notAfter.IsZero():
		if !notAfter.After(from) || notAfter.Before(now) {
			return from, to, Errorf(Invalid, "notAfter must lie after notBefore and after now")
		}
		to = notAfter.UTC().Truncate(time.Second)
	case p.Endless:
		to = endless
	default:
		to = from.Add(p.life - time.Second)
	}
	if (!p.Endless || !notAfter.IsZero()) && to.Sub(now) > p.maxLife {
		return from, to, Errorf(Invalid, "notAfter is too late: profile %s allows certificates of %s at most, counted from now", p.Name, days(p.maxLife))
	}
	return from, to, nil
}

// maxPostdate bounds how far ahead a certificate may begin: what proved its
// names is of today.
const maxPostdate = 30 * 24 * time.Hour

func days(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}

// draft decides every field. The request must have been admitted.
func (p *Profile) draft(req *Request, issuer *Issuer, now time.Time) (*Draft, error) {
	from, to, err := p.window(req.NotBefore, req.NotAfter, now)
	if err != nil {
		return nil, err
	}
	if err := issuer.outlives(req.NotAfter); err != nil && !p.Endless {
		return nil, err
	}
	if end := issuer.cert.NotAfter; to.After(end) && !p.Endless {
		to = end
	}
	if !to.After(now) || !to.After(from) || now.After(issuer.cert.NotAfter) {
		return nil, Errorf(Unavailable, "the issuer %s ends at %s; it must be rolled over: chancery ca rollover", issuer.Name, issuer.cert.NotAfter.UTC().Format(time.RFC3339))
	}
	d := &Draft{
		serial: newSerial(now), request: req.ID, by: req.By, profile: p.Name, issuer: issuer,
		key: req.Key, names: req.Names, lints: p.lints, once: req.Once,
	}
	d.template = x509.Certificate{
		SerialNumber: d.serial.Int(), Subject: p.Subject.name(req.Subject, req.Names),
		NotBefore: from, NotAfter: to,
		KeyUsage:              p.usageFor(req.Key),
		BasicConstraintsValid: p.Extensions.BasicConstraint,
	}
	if !p.Extensions.OmitSKI {
		if d.template.SubjectKeyId, err = keyID(req.Key); err != nil {
			return nil, err
		}
	}
	if !p.Status.None {
		issuer.pointers(&d.template, d.serial)
	}
	if err := p.extend(&d.template, req.Names); err != nil {
		return nil, Errorf(Internal, "the certificate's extensions cannot be encoded").because(err)
	}
	d.detail = req.account(p, now)
	return d, nil
}

func (p *Profile) usageFor(key crypto.PublicKey) x509.KeyUsage {
	if kind, _ := keyKind(key); kind == "rsa" {
		return p.keyUsage | p.keyUsageRSA
	}
	return p.keyUsage
}

var (
	oidExtKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidKeyUsage    = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidOCSPNoCheck = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
)

// extend adds what crypto/x509 has no field for, or not with our rules.
func (p *Profile) extend(t *x509.Certificate, names []Identifier) error {
	if len(names) > 0 {
		value, err := encodeNames(names)
		if err != nil {
			return err
		}
		// critical exactly when the subject says nothing (RFC 5280 §4.2.1.6)
		bare := len(t.Subject.ToRDNSequence()) == 0
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: oidSubjectAltName, Critical: bare, Value: value})
	}
	if p.Extensions.CriticalEKU {
		value, err := asn1.Marshal(p.extKeyUsage)
		if err != nil {
			return err
		}
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: oidExtKeyUsage, Critical: true, Value: value})
	} else {
		t.UnknownExtKeyUsage = p.extKeyUsage
	}
	if p.Extensions.NonCriticalKU {
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: oidKeyUsage, Value: usageBits(t.KeyUsage)})
		t.KeyUsage = 0
	}
	if p.Extensions.OCSPNoCheck {
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: oidOCSPNoCheck, Value: []byte{0x05, 0x00}})
	}
	for _, oid := range p.policies {
		parts := make([]uint64, len(oid))
		for i, n := range oid {
			parts[i] = uint64(n)
		}
		policy, err := x509.OIDFromInts(parts)
		if err != nil {
			return err
		}
		t.Policies = append(t.Policies, policy)
	}
	return nil
}

// usageBits encodes KeyUsage as the shortest BIT STRING (X.690 §11.2.2).
func usageBits(u x509.KeyUsage) []byte {
	var bits asn1.BitString
	for i := range 9 {
		if u&(1<<i) != 0 {
			bits.BitLength = i + 1
		}
	}
	bits.Bytes = make([]byte, (bits.BitLength+7)/8)
	for i := range bits.BitLength {
		if u&(1<<i) != 0 {
			bits.Bytes[i/8] |= 0x80 >> (i % 8)
		}
	}
	der, _ := asn1.Marshal(bits) // a bit string always encodes
	return der
}

// keyID is the subject key identifier: the leftmost 160 bits of the SHA-256 of
// the key's bit string (RFC 7093 §2, method 1).
func keyID(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, Errorf(BadKey, "the public key cannot be encoded").because(err)
	}
	bits, err := keyBits(der)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(bits)
	return sum[:20], nil
}

// KeyID is the subject key identifier that certificates for the key have here, unless
// their profile leaves it out.
func KeyID(key crypto.PublicKey) ([]byte, error) { return keyID(key) }

// keyBits gives the BIT STRING contents of a SubjectPublicKeyInfo.
func keyBits(spki []byte) ([]byte, error) {
	var bits asn1.BitString
	s := cryptobyte.String(spki)
	if !s.ReadASN1(&s, casn1.SEQUENCE) || !s.SkipASN1(casn1.SEQUENCE) || !s.ReadASN1BitString(&bits) {
		return nil, Errorf(BadKey, "the public key cannot be encoded")
	}
	return bits.RightAlign(), nil
}
