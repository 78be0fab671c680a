package acmeserver

import (
	"net/url"
	"strings"

	"chancery/acme"
	"chancery/internal/ca"
)

const (
	maxContacts = 10
	maxContact  = 320 // octets: "mailto:" and the longest address
)

// checkContacts: RFC 8555 §7.3: one kind of URL is taken, mailto, with one
// address and no header fields.
func checkContacts(contacts []string) error {
	if len(contacts) > maxContacts {
		return invalidContact("there are %d contacts; at most %d are kept", len(contacts), maxContacts)
	}
	for _, contact := range contacts {
		if err := checkContact(contact); err != nil {
			return err
		}
	}
	return nil
}

func checkContact(contact string) error {
	if len(contact) > maxContact {
		return invalidContact("a contact is longer than %d octets", maxContact)
	}
	scheme, rest, ok := strings.Cut(contact, ":")
	switch {
	case !ok || !strings.EqualFold(scheme, "mailto"):
		// §7.3: MUST say what is acceptable.
		return acme.NewProblem(acme.TypeUnsupportedContact, "the contact %q is not supported; contacts look like mailto:someone@example.org", contact)
	case strings.Contains(rest, "?"):
		return invalidContact("the contact %q has header fields after \"?\"; give the address alone", contact)
	case strings.Contains(rest, ","):
		return invalidContact("the contact %q has several addresses; give each as a contact of its own", contact)
	}
	// RFC 6068 §2: the address may have percent-encoded octets.
	address, err := url.PathUnescape(rest)
	if err != nil {
		return invalidContact("the contact %q has a \"%%\" that encodes nothing", contact)
	}
	if _, err := ca.Email(address); err != nil {
		return invalidContact("the contact %q has no valid e-mail address; contacts look like mailto:someone@example.org", contact)
	}
	return nil
}

func invalidContact(format string, args ...any) error {
	return acme.NewProblem(acme.TypeInvalidContact, format, args...)
}
