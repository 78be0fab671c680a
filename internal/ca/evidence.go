package ca

import (
	"fmt"
	"slices"
	"strings"
)

// evidenceMethods are the words that a profile's evidence can have: ACME's challenges
// (RFC 8555 §9.7.8, their registry), and what the other rooms know of who asks. A room
// that proves names in another way enters its word here; a word that nobody has would
// only keep everybody out.
var evidenceMethods = []string{
	"http-01", "dns-01", "tls-alpn-01", "dns-account-01", "dns-persist-01", "device-attest-01", "email-reply-00",
	"client-certificate", "password", "registration-authority", "approval", "manifest", "own-service",
}

func (p *Profile) parseEvidence() error {
	for _, word := range p.Evidence {
		if !slices.Contains(evidenceMethods, word) {
			return fmt.Errorf("evidence %q is not one of %s", word, strings.Join(evidenceMethods, ", "))
		}
	}
	return nil
}
