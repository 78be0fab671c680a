package estserver_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"

	"chancery/internal/ca"
)

// TestUsageThatForbidsSigning: a request is signed though the usage that it asks for is not
// signing (RFC 7030 §4.2.1); what the certificate has is the profile's to say.
func TestUsageThatForbidsSigning(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	device := w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example")
	bits, err := asn1.Marshal(asn1.BitString{Bytes: []byte{0x08}, BitLength: 5}) // keyAgreement alone
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{"simpleenroll", "simplereenroll"} {
		ask := like(device)
		ask.Extensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: bits}}
		cert := granted(t, w.client(device).post(op, ask.der(t)))
		if cert.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
			t.Errorf("%s: the certificate has the usage %b, which the profile does not say", op, cert.KeyUsage)
		}
	}
}
