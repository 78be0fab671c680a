package estserver

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"

	"chancery/est"
	"chancery/internal/ca"
)

// FuzzNameDemands: whatever a certificate says of its holder, the list that repeats it
// can be encoded, and is read as it was meant, by clients that know templates and by
// those that do not.
func FuzzNameDemands(f *testing.F) {
	plain, err := asn1.Marshal(pkix.Name{CommonName: "thing", SerialNumber: "7", Organization: []string{"a", "b"}}.ToRDNSequence())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain, []byte{0x30, 3, 0x82, 1, 'a'})
	f.Add([]byte{0x30, 0}, []byte{0x30, 0})
	f.Add([]byte{0x30, 2, 0x31, 0}, []byte{0x30, 2, 0x87, 0})
	f.Add([]byte{0x30, 9, 0x31, 7, 0x30, 5, 6, 3, 0x55, 4, 3}, []byte{0x30, 4, 0xa4, 2, 0x30, 0})
	f.Add([]byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, subject, san []byte) {
		cert := &x509.Certificate{RawSubject: subject, Extensions: []pkix.Extension{{Id: oidSubjectAltName, Value: san}}}
		taken, err := takenNames(cert, ca.Demands{Identifiers: []ca.IdentifierType{ca.TypeDNS, ca.TypeIP}})
		if err != nil {
			t.Fatal(err)
		}
		if taken != nil {
			names, err := ca.NamesOf(taken)
			if err != nil || len(names) == 0 {
				t.Errorf("the names %x were taken as %x: %v", san, taken, err)
			}
			for _, n := range names {
				if n.Type() != ca.TypeDNS && n.Type() != ca.TypeIP {
					t.Errorf("%s was taken", n)
				}
			}
		}
		d := est.Demand{Template: true}
		if sameNames(cert, &d) != nil {
			return // no Name
		}
		list, err := d.CSRAttrs()
		if err != nil {
			return // values that are no DER
		}
		der, err := list.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := est.ParseCSRAttrs(der)
		if err != nil {
			t.Fatal(err)
		}
		if der2, err := again.Marshal(); err != nil || !bytes.Equal(der, der2) {
			t.Errorf("%x became %x, %v", der, der2, err)
		}
	})
}
