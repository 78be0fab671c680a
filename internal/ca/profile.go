package ca

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"chancery/caa"
	"chancery/internal/lint"

	"github.com/pelletier/go-toml/v2"
)

// Profile is an immutable set of rules: what a certificate of this name may
// say, for whom and on what evidence. It is data ([ParseProfile]); the shipped
// ones are [Shipped].
type Profile struct {
	Name string
	rules
	life, maxLife, backdate time.Duration
	keyUsage                x509.KeyUsage
	keyUsageRSA             x509.KeyUsage
	extKeyUsage             []asn1.ObjectIdentifier
	policies                []asn1.ObjectIdentifier
	lints                   *lint.Set
}

// rules is the profile file. Durations are "90d", "12h".
type rules struct {
	Summary     string       `toml:"summary"`       // one line for people
	Rooms       []string     `toml:"rooms"`         // who may ask: "acme", "admin", …
	Identifiers []string     `toml:"identifiers"`   // types of names taken; empty: none
	MinNames    int          `toml:"min_names"`     // at least so many names
	MaxNames    int          `toml:"max_names"`     // at most; 0: 100
	Wildcards   bool         `toml:"wildcards"`     // whether *.name is taken
	Evidence    []string     `toml:"evidence"`      // methods, one of which must prove each name
	Keys        []string     `toml:"keys"`          // "ecdsa-p256", "rsa" (2048 to 4096 bits), "ed25519", …
	KeyUsage    []string     `toml:"key_usage"`     // RFC 5280 §4.2.1.3, in kebab case
	KeyUsageRSA []string     `toml:"key_usage_rsa"` // added for RSA keys
	ExtKeyUsage []string     `toml:"ext_key_usage"` // names or OIDs (RFC 5280 §4.2.1.12)
	Policies    []string     `toml:"policies"`      // certificate policy OIDs
	Kind        caa.Kind     `toml:"kind"`          // "ca-dv", "ca-ov", "ca-ev" or "ca-qwac": what CAA records call such certificates; "": none of these
	Life        string       `toml:"life"`          // when the request names no end
	MaxLife     string       `toml:"max_life"`      // the longest that a request may ask for; default: life
	Backdate    string       `toml:"backdate"`      // notBefore lies so far in the past, for slow clocks
	Endless     bool         `toml:"endless"`       // notAfter 99991231235959Z (RFC 5280 §4.1.2.5)
	Subject     subjectRules `toml:"subject"`
	Issuer      string       `toml:"issuer"`     // the line of issuers that signs; "": the default one
	Status      statusRules  `toml:"status"`     // where relying parties ask
	Extensions  extraRules   `toml:"extensions"` // what no other key says
	Lints       []string     `toml:"lints"`      // see internal/lint; default: rfc
}

type subjectRules struct {
	Take    []string `toml:"take"`    // attributes that a request may name
	Require []string `toml:"require"` // attributes that a request must name
	// Only lists the values that an attribute may have, where anything else would
	// be somebody else's: organization = ["Example Ltd"].
	Only       map[string][]string `toml:"only"`
	CommonName string              `toml:"common_name"` // "" as asked, "first-name": the first name that fits, "none"
}

type statusRules struct {
	None bool `toml:"none"` // no CRL, OCSP or issuer URLs
}

type extraRules struct {
	OCSPNoCheck     bool `toml:"ocsp_no_check"`     // RFC 6960 §4.2.2.2.1
	OmitSKI         bool `toml:"omit_ski"`          // no subject key identifier
	CriticalEKU     bool `toml:"critical_eku"`      // RFC 3161 §2.3 wants it
	NonCriticalKU   bool `toml:"non_critical_ku"`   // for devices that choke on it
	BasicConstraint bool `toml:"basic_constraints"` // CA:FALSE written out
}

// ParseProfile reads a profile file; name is the profile's name. Unknown keys,
// words and contradictions are errors of kind [Invalid] that name them.
func ParseProfile(name string, text []byte) (*Profile, error) {
	p := &Profile{Name: name}
	dec := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := dec.Decode(&p.rules); err != nil {
		var strict *toml.StrictMissingError
		if errors.As(err, &strict) {
			return nil, Errorf(Invalid, "profile %s has keys that mean nothing:\n%s", name, strict.String())
		}
		return nil, Errorf(Invalid, "profile %s: %w", name, err)
	}
	for _, step := range []func() error{p.parseTimes, p.parseUsages, p.parseNames, p.parseEvidence, p.parseLints} {
		if err := step(); err != nil {
			return nil, Errorf(Invalid, "profile %s: %w", name, err)
		}
	}
	return p, nil
}

func (p *Profile) parseTimes() (err error) {
	if p.life, err = parseLife(p.Life); err != nil {
		return fmt.Errorf("life: %w", err)
	}
	if p.life == 0 && !p.Endless {
		return fmt.Errorf(`say how long certificates live: life = "90d"`)
	}
	if p.maxLife, err = parseLife(p.MaxLife); err != nil {
		return fmt.Errorf("max_life: %w", err)
	}
	p.maxLife = max(p.maxLife, p.life)
	if p.backdate, err = parseLife(p.Backdate); err != nil {
		return fmt.Errorf("backdate: %w", err)
	}
	return nil
}

// parseLife reads a duration, with "d" for days of 24 hours.
func parseLife(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 100_000 {
			return 0, fmt.Errorf("%q is not a number of days", text)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf(`%q is not a duration such as "90d" or "12h"`, text)
	}
	return d, nil
}

var keyUsages = map[string]x509.KeyUsage{
	"digital-signature":  x509.KeyUsageDigitalSignature,
	"content-commitment": x509.KeyUsageContentCommitment,
	"key-encipherment":   x509.KeyUsageKeyEncipherment,
	"data-encipherment":  x509.KeyUsageDataEncipherment,
	"key-agreement":      x509.KeyUsageKeyAgreement,
	"crl-sign":           x509.KeyUsageCRLSign,
}

var extKeyUsages = map[string]asn1.ObjectIdentifier{
	"server-auth":      {1, 3, 6, 1, 5, 5, 7, 3, 1},
	"client-auth":      {1, 3, 6, 1, 5, 5, 7, 3, 2},
	"code-signing":     {1, 3, 6, 1, 5, 5, 7, 3, 3},
	"email-protection": {1, 3, 6, 1, 5, 5, 7, 3, 4},
	"time-stamping":    {1, 3, 6, 1, 5, 5, 7, 3, 8},
	"ocsp-signing":     {1, 3, 6, 1, 5, 5, 7, 3, 9},
	"sip-domain":       {1, 3, 6, 1, 5, 5, 7, 3, 20}, // RFC 5924 §2
	"cmc-ca":           {1, 3, 6, 1, 5, 5, 7, 3, 27},
	"cmc-ra":           {1, 3, 6, 1, 5, 5, 7, 3, 28}, // RFC 6402 §2.10
}

func (p *Profile) parseUsages() error {
	for _, list := range []struct {
		words []string
		into  *x509.KeyUsage
	}{{p.KeyUsage, &p.keyUsage}, {p.KeyUsageRSA, &p.keyUsageRSA}} {
		for _, word := range list.words {
			bit, ok := keyUsages[word]
			if !ok {
				return fmt.Errorf("key usage %q is not known, or not for a leaf", word)
			}
			*list.into |= bit
		}
	}
	for _, word := range p.ExtKeyUsage {
		oid, ok := extKeyUsages[word]
		if !ok {
			var err error
			if oid, err = parseOID(word); err != nil {
				return fmt.Errorf("extended key usage %q is neither a known word nor an OID", word)
			}
		}
		p.extKeyUsage = append(p.extKeyUsage, oid)
	}
	for _, word := range p.Policies {
		oid, err := parseOID(word)
		if err != nil {
			return fmt.Errorf("policies: %w", err)
		}
		p.policies = append(p.policies, oid)
	}
	return nil
}

func (p *Profile) parseNames() error {
	known := []string{string(TypeDNS), string(TypeIP), string(TypeEmail), string(TypeURI), string(TypePermanentID), string(TypeHardwareModule)}
	for _, word := range p.Identifiers {
		if !slices.Contains(known, word) {
			return fmt.Errorf("identifier type %q is not one of %s", word, strings.Join(known, ", "))
		}
	}
	for _, word := range append(slices.Clone(p.Subject.Take), p.Subject.Require...) {
		if _, ok := (Subject{}).attributes()[word]; !ok {
			return fmt.Errorf("subject attribute %q is not known", word)
		}
	}
	for word := range p.Subject.Only {
		if _, ok := (Subject{}).attributes()[word]; !ok {
			return fmt.Errorf("subject.only: attribute %q is not known", word)
		}
	}
	if !slices.Contains([]string{"", "first-name", "none"}, p.Subject.CommonName) {
		return fmt.Errorf(`subject.common_name is "", "first-name" or "none"`)
	}
	for _, word := range p.Keys {
		if !slices.Contains(keyKinds, word) {
			return fmt.Errorf("key kind %q is not one of %s", word, strings.Join(keyKinds, ", "))
		}
	}
	if !slices.Contains([]caa.Kind{caa.AnyKind, caa.DomainValidated, caa.OrganizationValidated, caa.ExtendedValidation, caa.QualifiedWeb}, p.Kind) {
		return fmt.Errorf("kind %q is not one of ca-dv, ca-ov, ca-ev, ca-qwac", string(p.Kind))
	}
	if len(p.Keys) == 0 || len(p.Rooms) == 0 {
		return fmt.Errorf("keys and rooms must not be empty: nobody could ever be served")
	}
	if p.MaxNames == 0 {
		p.MaxNames = 100
	}
	return nil
}

func (p *Profile) parseLints() (err error) {
	if p.Lints == nil {
		p.Lints = []string{"rfc"}
	}
	p.lints, err = lint.Parse(p.Lints)
	return err
}

// LongestLife is the longest validity that a request can ask for.
func (p *Profile) LongestLife() time.Duration { return p.maxLife }

// Takes tells whether the profile takes identifiers of the type.
func (p *Profile) Takes(t IdentifierType) bool { return slices.Contains(p.Identifiers, string(t)) }

// Serves tells whether the room may ask for this profile.
func (p *Profile) Serves(room string) bool { return slices.Contains(p.Rooms, room) }
