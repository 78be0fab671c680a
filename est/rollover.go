package est

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"time"
)

// Fingerprint gives a hash over a certificate's whole DER, as people compare it (RFC 7030
// §4.1.1): "sha256:" or "sha512:" and lower-case hexadecimal digits. Every other name of
// a hash is SHA-256.
func Fingerprint(der []byte, hash string) string {
	if hash == "sha512" {
		digest := sha512.Sum512(der)
		return hash + ":" + hex.EncodeToString(digest[:])
	}
	digest := sha256.Sum256(der)
	return "sha256:" + hex.EncodeToString(digest[:])
}

// Anchors is what a bag of CA certificates makes of the roots that were trusted before.
type Anchors struct {
	Roots         []*x509.Certificate // trusted now: what was before and has not ended, then Added
	Added         []*x509.Certificate // self-signed certificates of the bag that a trusted root vouches for
	Intermediates []*x509.Certificate // the bag's others that chain to Roots, cross certificates among them
	Unproven      []*x509.Certificate // those that do not, or not now
}

// bagMax bounds the certificates of a bag.
const bagMax = 64

// Rollover verifies a bag of CA certificates by the roots that are trusted (RFC 7030
// §4.1.3). A self-signed certificate joins them when a root of the same name certified
// its key by a certificate that is valid now: NewWithOld brings the new root, OldWithNew
// the old one (RFC 4210 §4.4, which has names and issuers be the same: otherwise each
// subordinate authority could make itself a root). Only the newest root of a name can
// bring a newer one, so that a key that was retired cannot come back. No root that is
// valid is [Untrusted]; then the bootstrap of RFC 7030 §4.1.1 is due again.
func Rollover(have, bag []*x509.Certificate, now time.Time) (Anchors, error) {
	if len(bag) > bagMax {
		return Anchors{}, fault(TooLarge, "there are more than %d CA certificates", bagMax)
	}
	var a Anchors
	for _, root := range have {
		if validAt(root, now) && !slices.ContainsFunc(a.Roots, root.Equal) {
			a.Roots = append(a.Roots, root)
		}
	}
	if len(a.Roots) == 0 {
		return Anchors{}, fault(Untrusted, "no root that is trusted is valid now: confirm the CA's certificate by its fingerprint (RFC 7030 section 4.1.1)")
	}
	var candidates []*x509.Certificate // each signature is checked once, as strangers may send many
	for _, c := range bag {
		if validAt(c, now) && !slices.ContainsFunc(a.Roots, c.Equal) && !slices.ContainsFunc(candidates, c.Equal) && isRoot(c) {
			candidates = append(candidates, c)
		}
	}
	for grown := true; grown; {
		grown = false
		candidates = slices.DeleteFunc(candidates, func(c *x509.Certificate) bool {
			if !a.vouched(c, bag, now) {
				return false
			}
			a.Roots, a.Added, grown = append(a.Roots, c), append(a.Added, c), true
			return true
		})
	}
	a.sort(bag, now)
	return a, nil
}

func validAt(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && !now.After(c.NotAfter)
}

// isRoot tells whether a certificate is an authority's that signed itself.
func isRoot(c *x509.Certificate) bool { return c.IsCA && certified(c, c) }

// certified tells whether an authority issued a certificate, going by name, signature
// and what the authority may do; not by time.
func certified(c, by *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, by.RawSubject) && c.CheckSignatureFrom(by) == nil
}

func keysEqual(a, b *x509.Certificate) bool {
	return bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo)
}

// vouched tells whether the newest trusted root of a candidate's name certified its key,
// or whether its key and name are already trusted: a root that was renewed.
func (a Anchors) vouched(candidate *x509.Certificate, bag []*x509.Certificate, now time.Time) bool {
	if a.holds(candidate) {
		return true
	}
	newest := a.newest(candidate.RawSubject)
	if newest == nil {
		return false
	}
	return slices.ContainsFunc(bag, func(cross *x509.Certificate) bool {
		return cross.IsCA && validAt(cross, now) && keysEqual(cross, candidate) && !keysEqual(cross, newest) &&
			bytes.Equal(cross.RawSubject, candidate.RawSubject) && certified(cross, newest)
	})
}

// holds tells whether a trusted root has the certificate's name and key.
func (a Anchors) holds(c *x509.Certificate) bool {
	return slices.ContainsFunc(a.Roots, func(root *x509.Certificate) bool {
		return keysEqual(root, c) && bytes.Equal(root.RawSubject, c.RawSubject)
	})
}

// newest gives the trusted root of a name that ends last: that is the current one
// (RFC 7030 §4.1.3).
func (a Anchors) newest(name []byte) (found *x509.Certificate) {
	for _, root := range a.Roots {
		if bytes.Equal(root.RawSubject, name) && (found == nil || root.NotAfter.After(found.NotAfter)) {
			found = root
		}
	}
	return found
}

// sort divides the rest of the bag by whether it chains to the roots (RFC 5280 §6).
func (a *Anchors) sort(bag []*x509.Certificate, now time.Time) {
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, root := range a.Roots {
		options.Roots.AddCert(root)
	}
	var rest []*x509.Certificate
	for _, c := range bag {
		if slices.ContainsFunc(a.Roots, c.Equal) || slices.ContainsFunc(rest, c.Equal) {
			continue
		}
		rest = append(rest, c)
		options.Intermediates.AddCert(c)
	}
	for _, c := range rest {
		if _, err := c.Verify(options); err == nil {
			a.Intermediates = append(a.Intermediates, c)
		} else {
			a.Unproven = append(a.Unproven, c)
		}
	}
	// NewWithOld, where the old root itself is not in the bag: its issuer is the key
	// that OldWithNew proves, a path that crypto/x509 takes for a loop.
	a.Unproven = slices.DeleteFunc(a.Unproven, func(c *x509.Certificate) bool {
		again := validAt(c, now) && a.holds(c) &&
			slices.ContainsFunc(a.Intermediates, func(i *x509.Certificate) bool { return certified(c, i) })
		if again {
			a.Intermediates = append(a.Intermediates, c)
		}
		return again
	})
}

const (
	refreshMost  = 30 * 24 * time.Hour
	refreshLeast = time.Hour
)

// Refresh gives the moment at which CA certificates should be asked for anew (RFC 7030
// §4.1.2: before what is stored expires): when half the time to the first end is over,
// at the latest in thirty days, as a root may change before, and not within an hour.
func Refresh(stored []*x509.Certificate, now time.Time) time.Time {
	wait := refreshMost
	for _, c := range stored {
		if left := c.NotAfter.Sub(now); left > 0 {
			wait = min(wait, left/2)
		}
	}
	return now.Add(max(wait, refreshLeast))
}
