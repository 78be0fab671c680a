package enroll

import (
	crand "crypto/rand"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"chancery/caa"
)

// Defaults are the Settings that the zero value means.
func Defaults() Settings {
	return Settings{
		Patience: 5 * time.Minute, Tries: 4, FirstPause: 2 * time.Second, LongestPause: time.Minute, RenewBefore: 1.0 / 3,
		BreakAfter: 3, BreakFor: 15 * time.Minute, TellAfter: 2, Rules: caa.Seed,
	}
}

// filled has the defaults where s says nothing.
func (s Settings) filled() Settings {
	d := Defaults()
	fill(&s.Patience, d.Patience)
	fill(&s.Tries, d.Tries)
	fill(&s.FirstPause, d.FirstPause)
	fill(&s.LongestPause, d.LongestPause)
	fill(&s.RenewBefore, d.RenewBefore)
	fill(&s.BreakAfter, d.BreakAfter)
	fill(&s.BreakFor, d.BreakFor)
	fill(&s.TellAfter, d.TellAfter)
	if s.Rules == "" {
		s.Rules = d.Rules
	}
	return s
}

func fill[N int | float64 | time.Duration](n *N, otherwise N) {
	if *n <= 0 {
		*n = otherwise
	}
}

// check finds what no run could work with.
func (s Settings) check() error {
	if s.RenewBefore >= 1 {
		return fmt.Errorf("enroll: a certificate with %g of its life left cannot be renewed", s.RenewBefore)
	}
	var labels []string
	for _, c := range s.CAs {
		if c.Label == "" || slices.Contains(labels, c.Label) {
			return fmt.Errorf("enroll: the label %q of a CA is empty or used twice", c.Label)
		}
		labels = append(labels, c.Label)
		if c.Directory == "" && len(c.Issuers) == 0 {
			return fmt.Errorf("enroll: the CA %s has neither a directory nor an issuer name", c.Label)
		}
		if u, err := url.Parse(c.Directory); c.Directory != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
			return fmt.Errorf("enroll: the directory %q of %s is no https URL", c.Directory, c.Label)
		}
		for _, oids := range c.Policies {
			for _, oid := range oids {
				if parseOID(oid) == nil {
					return fmt.Errorf("enroll: %q, a policy of %s, is no dotted object identifier", oid, c.Label)
				}
			}
		}
	}
	return nil
}

// parseOID reads dotted form; nil if it is none.
func parseOID(text string) asn1.ObjectIdentifier {
	var oid asn1.ObjectIdentifier
	for part := range strings.SplitSeq(text, ".") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return nil
		}
		oid = append(oid, n)
	}
	if len(oid) < 2 {
		return nil
	}
	return oid
}

// systemRandom is the system's cryptographic generator.
type systemRandom struct{}

func (systemRandom) Uint64() uint64 {
	var b [8]byte
	_, _ = crand.Read(b[:]) // never fails: it ends the process rather
	return binary.NativeEndian.Uint64(b[:])
}

// ca finds what is configured for an offer's CA: by label for a default, by issuer
// name for a discovered one. Nil: it is a stranger.
func (s *Settings) ca(issuer, label string) *CA {
	for i := range s.CAs {
		c := &s.CAs[i]
		if label != "" && c.Label == label {
			return c
		}
		if label == "" && c.knownAs(issuer) {
			return c
		}
	}
	return nil
}

// knownAs tells whether a CA has that issuer domain name.
func (c *CA) knownAs(issuer string) bool {
	return slices.ContainsFunc(c.Issuers, func(name string) bool { return strings.EqualFold(name, issuer) })
}

// caName is what people call a CA.
func caName(issuer, label string) string {
	switch {
	case label != "" && issuer != "" && label != issuer:
		return label + " (" + issuer + ")"
	case label != "":
		return label
	}
	return issuer
}
