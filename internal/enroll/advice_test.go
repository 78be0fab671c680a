package enroll

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"testing"

	"chancery/acme"
	"chancery/internal/enroll/directory"
)

// Advice says what a person can do, also about what no waiting mends.
func TestAdvice(t *testing.T) {
	unknown := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"unknown root of a directory": {&directory.Error{Kind: directory.Unproven, Err: unknown}, "--roots FILE"},
		"unknown root later":          {fmt.Errorf("new-order: %w", unknown), "[discovery]"},
		"no such name":                {&directory.Error{Kind: directory.NotThere, Err: &net.DNSError{IsNotFound: true}}, "does not exist"},
		"a closed account":            {&acme.Problem{Type: acme.TypeUnauthorized, Status: 403}, "chancery account remove CA"},
	} {
		v := classify(test.err, false)
		if v.class != ClassFinal || !strings.Contains(v.advice, test.want) {
			t.Errorf("%s: %s, %s", name, v.class, v.advice)
		}
	}
}
