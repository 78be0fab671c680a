package device

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"chancery/cms"
	"chancery/est"
	"chancery/internal/enroll/install"
	"chancery/internal/token"
)

// Settings are what a person wants, and renewals keep to.
type Settings struct {
	Server string `json:"server"` // as [est.ServerURL] reads it
	Label  string `json:"label,omitempty"`

	Subject []byte   `json:"subject,omitempty"` // Name, DER
	DNS     []string `json:"dns,omitempty"`
	IP      []string `json:"ip,omitempty"`
	Email   []string `json:"email,omitempty"`
	URI     []string `json:"uri,omitempty"`
	MAC     string   `json:"mac,omitempty"`  // macAddress, where the server wants it
	Unit    string   `json:"unit,omitempty"` // unstructuredName

	KeyType       string      `json:"keyType,omitempty"`  // of [install.KeyTypes]; "": the server's wish, else the first
	KeyIn         string      `json:"keyIn,omitempty"`    // names the token or TPM where keys are made; "": they are in files
	ReuseKey      bool        `json:"reuseKey,omitempty"` // renewals keep the key
	ServerKey     bool        `json:"serverKey,omitempty"`
	Linking       est.Linking `json:"linking,omitempty"`
	AcceptChanged bool        `json:"acceptChanged,omitempty"`

	// Implicit is the Implicit TA database: "system", or a PEM file; "": disabled.
	Implicit string `json:"implicit,omitempty"`
	// KeepImplicit leaves it on also when Explicit anchors are known (against the
	// SHOULD of RFC 7030 §4.1.3).
	KeepImplicit bool `json:"keepImplicit,omitempty"`
	// ImplicitSecrets lets passwords and keys travel under Implicit anchors.
	ImplicitSecrets bool   `json:"implicitSecrets,omitempty"`
	MaxTLS          string `json:"maxTLS,omitempty"` // "1.2"; "": 1.3

	// Maker is a certificate that somebody else gave the device (an IDevID), for the
	// first enrolment.
	Maker *Files `json:"maker,omitempty"`
	// Shared names a secret key for keys that the server makes.
	Shared *SharedKey `json:"shared,omitempty"`
	// SealTo names a key pair for them; without either the current certificate's key is
	// named if it may decrypt.
	SealTo *Files `json:"sealTo,omitempty"`
	// PlainKey takes such a key without encryption beside TLS.
	PlainKey bool `json:"plainKey,omitempty"`

	AnchorsOut string         `json:"anchorsOut,omitempty"` // where other software finds the roots
	Install    install.Target `json:"install,omitzero"`
	Hooks      install.Hooks  `json:"hooks,omitzero"`
}

// Files are a certificate and its key, PEM; the key's is a file, or its name in a token or
// TPM.
type Files struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// SharedKey is where a shared key is, and what the server calls it.
type SharedKey struct {
	ID  []byte `json:"id"`
	Key string `json:"key"` // "file:PATH" or "credential:NAME": 16, 24 or 32 octets, or their hexadecimal digits
}

// State is all that is kept of a device in device.json.
type State struct {
	Settings Settings `json:"settings"`
	// ImplicitOff: the CA's own anchors are known (RFC 7030 §4.1.3).
	ImplicitOff bool `json:"implicitOff,omitempty"`
	// Sequence is the latest seqNumber of publishTrustAnchors (RFC 5272 §6.15), decimal.
	Sequence string `json:"sequence,omitempty"`

	Current    *Current  `json:"current,omitempty"`
	Pending    *Pending  `json:"pending,omitempty"`
	Undeployed bool      `json:"undeployed,omitempty"` // what is current is not yet in its places
	Refresh    time.Time `json:"refresh,omitzero"`     // when to ask for the CA's certificates again
	Tries      Tries     `json:"tries,omitzero"`       // since the last success

	// Made names the keys that were made in tokens, and are deleted there when nothing
	// needs them any more.
	Made []string `json:"made,omitempty"`
	// Spent are those of them that no request takes any more, and which are only to be
	// deleted: they have had a certificate, or are of a kind that is not wanted.
	Spent []string `json:"spent,omitempty"`

	anew   bool      // the person said that what is there is to be replaced
	before *Settings // that [Device.Configure] found
}

// Current is the certificate in use.
type Current struct {
	Generation string    `json:"generation"`
	Serial     string    `json:"serial"` // hexadecimal
	SHA256     string    `json:"sha256"`
	Names      []string  `json:"names,omitempty"`
	NotBefore  time.Time `json:"notBefore"`
	NotAfter   time.Time `json:"notAfter"`
	Linked     bool      `json:"linked,omitempty"`
	ServerKey  bool      `json:"serverKey,omitempty"`
	Revoked    time.Time `json:"revoked,omitzero"` // when the server did so at the device's wish
}

// Pending is a request under way: its key is durable, and it may have been sent.
type Pending struct {
	Operation est.Operation `json:"operation"`
	Since     time.Time     `json:"since"`
	// Asked is when the server last said to wait, and Wait for how long.
	Asked  time.Time     `json:"asked,omitzero"`
	Wait   time.Duration `json:"wait,omitempty"`
	Text   string        `json:"text,omitempty"`   // what it said
	Serial string        `json:"serial,omitempty"` // of the certificate that is renewed
	Login  *Login        `json:"login,omitempty"`
	// Transaction is a CMC request's transactionId, decimal.
	Transaction string `json:"transaction,omitempty"`
	PendToken   []byte `json:"pendToken,omitempty"`
	// Change is what a re-enrolment asks to have changed: the attribute's value, DER.
	Change []byte `json:"change,omitempty"`
}

// Login says where the secrets of a request under way are; they are never kept
// themselves.
type Login struct {
	Use        bool   `json:"use,omitempty"` // there is a password, perhaps without a user
	User       string `json:"user,omitempty"`
	Password   string `json:"password,omitempty"` // "file:PATH" or "credential:NAME"; "": it was typed
	Secret     string `json:"secret,omitempty"`
	Revocation string `json:"revocation,omitempty"`
	// Proven: a shared secret proves who asks by CMC; Proof is where that is, and
	// Identification the name that goes with it.
	Proven         bool   `json:"proven,omitempty"`
	Proof          string `json:"proof,omitempty"`
	Identification string `json:"identification,omitempty"`
}

// Tries are attempts that came to nothing.
type Tries struct {
	Count int           `json:"count,omitempty"`
	Last  time.Time     `json:"last,omitzero"`
	Wait  time.Duration `json:"wait,omitempty"` // before the next
	Error string        `json:"error,omitempty"`
}

// tlsVersion reads MaxTLS.
func (s Settings) tlsVersion() (uint16, error) {
	switch s.MaxTLS {
	case "", "1.3":
		return 0, nil
	case "1.2":
		return tls.VersionTLS12, nil
	}
	return 0, fmt.Errorf("%.20q is no version of TLS that can be had: 1.2 or 1.3", s.MaxTLS)
}

// Check judges the settings by themselves.
func (s Settings) Check() error {
	if _, _, err := est.ServerURL(s.Server, s.Label); err != nil {
		return err
	}
	if _, err := s.tlsVersion(); err != nil {
		return err
	}
	if err := install.CheckKeyType(s.KeyType); err != nil {
		return err
	}
	if _, err := s.Request(); err != nil {
		return err
	}
	switch s.Linking {
	case est.LinkByDefault, est.LinkInChallenge, est.LinkInIdentity, est.LinkNever:
	default:
		return fmt.Errorf("%.20q is no way to link a request to its connection: choose challenge, identity or never, or leave it out", s.Linking)
	}
	return errors.Join(s.checkKeys(), s.Install.Validate())
}

// checkKeys judges the names of keys.
func (s Settings) checkKeys() error {
	for _, files := range []*Files{s.Maker, s.SealTo} {
		if files != nil && token.IsName(files.Key) {
			if _, err := token.Parse(files.Key); err != nil {
				return err
			}
		}
	}
	if s.KeyIn == "" {
		return nil
	}
	place, err := token.Parse(s.KeyIn)
	if err != nil {
		return err
	}
	if err := place.CheckPlace(); err != nil {
		return err
	}
	return s.stays(s.KeyIn)
}

// stays tells that a key that does not leave where it is cannot be installed elsewhere.
func (s Settings) stays(name string) error {
	for _, path := range []string{s.Install.Key, s.Install.Combined} {
		if path != "" {
			return fmt.Errorf("the key stays in %s, and nothing is written to %s: leave out --key and --combined (give them as '' where they were given before), and have programs use DIR/current/privkey.pem, which names the key for OpenSSL's providers, or the key's name itself", name, path)
		}
	}
	return nil
}

// nameless tells whether there is nothing to certify.
func (s Settings) nameless() bool {
	return s.Subject == nil && len(s.DNS)+len(s.IP)+len(s.Email)+len(s.URI) == 0
}

// Request is what is asked for.
func (s Settings) Request() (est.Request, error) {
	r := est.Request{Subject: s.Subject, DNSNames: s.DNS, EmailAddresses: s.Email}
	for _, text := range s.DNS {
		if text == "" || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return r, fmt.Errorf("%.60q is no DNS name: letters, digits, hyphens and dots; others are written as xn--…", text)
		}
	}
	for _, text := range s.IP {
		ip := net.ParseIP(text)
		if ip == nil {
			return r, fmt.Errorf("%.60q is no IP address", text)
		}
		r.IPAddresses = append(r.IPAddresses, ip)
	}
	for _, text := range s.URI {
		u, err := url.Parse(text)
		if err != nil || u.Scheme == "" {
			return r, fmt.Errorf("%.60q is no URI", text)
		}
		r.URIs = append(r.URIs, u)
	}
	r.Attributes = []cms.Attribute{}
	if s.MAC != "" {
		r.Attributes = append(r.Attributes, est.MACAddress(s.MAC))
	}
	if s.Unit != "" {
		r.Attributes = append(r.Attributes, est.UnstructuredName(s.Unit))
	}
	_, err := r.SAN()
	return r, err
}
