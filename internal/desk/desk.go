// Package desk is the administrators' room: what they can see and do with
// authorities, certificates and profiles, and with customers and their bindings,
// as operations over the core and the registry. Who asks was found out by the
// listener; the desk writes the name into every act.
//
// The room decides nothing that the core or the registry decides: it reads what
// was given, asks and shows the answer. It must not know HTTP, SQL, files or how
// its operations are called; external account keys and ACME accounts are the
// ACME room's.
package desk

import (
	"context"
	"crypto"
	"fmt"
	"sync"
	"time"

	"chancery/internal/admin"
	"chancery/internal/ca"
	"chancery/internal/registry"
)

// KeyImporter keeps private keys that were made elsewhere; internal/keys fits.
type KeyImporter interface {
	// Import keeps a key, given as PKCS #8 in DER.
	Import(ctx context.Context, name string, pkcs8 []byte) (crypto.Signer, error)
	// Retire puts a key out of use.
	Retire(ctx context.Context, name string) error
}

// Config is what the desk works with. All fields but ProfileText and
// Registry are needed.
type Config struct {
	Authority *ca.Authority
	Ledger    ca.Ledger
	Listing   ca.Listing
	Keys      KeyImporter
	Clock     func() time.Time
	Defaults  ca.Plan // what new and imported authorities are like unless told otherwise

	// ProfileText gives the file of a profile that is not, or not as, shipped; nil
	// for one it does not know. With ProfileText nil only shipped files can be shown.
	ProfileText func(name string) []byte

	// Registry knows the customers. With nil there are no operations on them.
	Registry *registry.Registry
}

// Desk offers the operations. It is safe for concurrent use.
type Desk struct {
	Config
	hands sync.Mutex // held while a key gets or loses its authority
}

// New gives a desk.
func New(c Config) *Desk { return &Desk{Config: c} }

// Operations are what administrators can do. Errors are of the core.
func (d *Desk) Operations() []admin.Operation {
	all := []admin.Operation{
		admin.Op(admin.Spec{Name: "ca.list", Role: admin.Auditor, Summary: "lists the authorities, roots and issuers"}, d.listAuthorities),
		admin.Op(admin.Spec{Name: "ca.roots", Role: admin.Anyone, Summary: "gives the root certificates and their fingerprints"}, d.roots),
		admin.Op(admin.Spec{Name: "ca.rollover", Role: admin.Administrator, Summary: "replaces a root or an issuer by a new one with a new key"}, d.rollover),
		admin.Op(admin.Spec{Name: "ca.csr", Role: admin.Administrator, Summary: "makes a key and a request for a foreign authority to certify"}, d.request),
		admin.Op(admin.Spec{Name: "ca.discard", Role: admin.Administrator, Summary: "puts a key out of use that no authority has"}, d.discard),
		admin.Op(admin.Spec{Name: "ca.import", Role: admin.Administrator, Summary: "takes in an authority that was certified or made elsewhere"}, d.importAuthority),
		admin.Op(admin.Spec{Name: "cert.list", Role: admin.Auditor, Summary: "lists certificates, newest first"}, d.listCertificates),
		admin.Op(admin.Spec{Name: "cert.show", Role: admin.Auditor, Summary: "shows one certificate and how it came about"}, d.showCertificate),
		admin.Op(admin.Spec{Name: "cert.revoke", Role: admin.Administrator, Summary: "revokes a certificate for good"}, d.revoke),
		admin.Op(admin.Spec{Name: "cert.sign", Role: admin.Administrator, Summary: "certifies a CSR; the caller's approval is the evidence"}, d.sign),
		admin.Op(admin.Spec{Name: "profile.list", Role: admin.Auditor, Summary: "lists the certificate profiles"}, d.listProfiles),
		admin.Op(admin.Spec{Name: "profile.show", Role: admin.Auditor, Summary: "shows a profile and its rules"}, d.showProfile),
	}
	if d.Registry != nil {
		all = append(all, d.peopleOperations()...)
	}
	return all
}

// by gives an administrator as the core and the events know him.
func by(caller admin.Caller) ca.Principal { return ca.Principal{Room: "admin", ID: caller.Name} }

// clip keeps what a caller sent from filling an error.
func clip(text string) string { return fmt.Sprintf("%.100s", text) }
