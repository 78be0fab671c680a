package estserver

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"

	"chancery/internal/ca"
)

// How a user authenticated; see [Identity.Via].
const (
	ViaBasic     = "basic"
	ViaDigest    = "digest"
	ViaSRP       = "srp"
	ViaChallenge = "challenge" // by an attribute of the request
	ViaCMC       = "cmc"       // by a shared secret (RFC 5272 §6.2, §3.2)
)

// Identity is who asks: what was verified of a certificate and of a user, together
// where both are there (RFC 7030 §3.7). The zero value is nobody.
type Identity struct {
	Certificate *x509.Certificate // of the TLS client, verified; nil: none
	Record      *ca.Record        // of the certificate if it is ours; nil: a third party's
	Holder      string            // of the certificate if it is ours; see [Server.holderOf]
	Maker       string            // name of the maker that verified it; "": it is ours
	Credential  *Credential       // the user; of SRP it has a name alone; nil: none
	OneTime     *Credential       // a one-time password beside a Credential that is none; nil: see oneTime
	Via         string            // how the user proved to be it
	RA          bool              // it may enrol others (RFC 7030 §3.7): ours, and never a third party's
	Expired     bool              // ours, ended within the label's grace: good for re-enrolment alone
}

// String gives the identity as stable text: "certificate:HOLDER", "maker:NAME:SHA256",
// "user:NAME", "one-time:ID" where a one-time password has no user, joined by "+". A
// user's name comes last, as nothing is excluded from it. It outlasts renewals, so that
// neither quotas nor what waits begin anew with them.
func (i Identity) String() string { return i.text(i.Holder) }

// shown is the identity for people and for evidence: with the serial number of the very
// certificate.
func (i Identity) shown() string {
	if i.Record == nil {
		return i.text("")
	}
	return i.text(string(i.Record.Serial))
}

func (i Identity) text(certificate string) string {
	var parts []string
	switch {
	case i.Record != nil:
		parts = append(parts, "certificate:"+certificate)
	case i.Certificate != nil:
		sum := sha256.Sum256(i.Certificate.Raw)
		parts = append(parts, "maker:"+i.Maker+":"+hex.EncodeToString(sum[:]))
	}
	if user := i.user(); user != "" {
		parts = append(parts, user)
	}
	return strings.Join(parts, "+")
}

// user gives the part of a user; "" when there is none.
func (i Identity) user() string {
	switch {
	case i.Credential == nil:
		return ""
	case i.Via == ViaSRP:
		return "srp:" + i.Credential.User
	case i.Credential.OneTime && i.Credential.User == "":
		return "one-time:" + i.Credential.ID
	}
	return "user:" + i.Credential.User
}

// principal is the identity as the core knows it.
func (i Identity) principal() ca.Principal { return ca.Principal{Room: Room, ID: i.String()} }

// means lists what was shown.
func (i Identity) means() []Means {
	var shown []Means
	switch {
	case i.Record != nil:
		shown = append(shown, ByCertificate)
	case i.Certificate != nil:
		shown = append(shown, ByMaker)
	}
	switch {
	case i.Credential == nil:
	case i.Via == ViaSRP:
		shown = append(shown, BySRP)
	case i.Credential.OneTime:
		shown = append(shown, ByOneTime)
	default:
		shown = append(shown, ByPassword)
	}
	if i.OneTime != nil {
		shown = append(shown, ByOneTime)
	}
	return shown
}

// meets tells whether all means of a way were shown.
func (i Identity) meets(w Way) bool {
	shown := i.means()
	return !slices.ContainsFunc(w, func(m Means) bool { return !slices.Contains(shown, m) })
}

// oneTime gives the one-time password that was shown; nil when there is none.
func (i Identity) oneTime() *Credential {
	if i.Credential != nil && i.Credential.OneTime {
		return i.Credential
	}
	return i.OneTime
}
