package estserver

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"net/http"
	"strconv"

	"chancery/est"
	"chancery/internal/ca"
)

// csrAttrs tells what requests should be like (RFC 7030 §4.5, RFC 8951 §4, RFC 9908).
// Nobody need authenticate; who does is told what is expected of it in particular.
func (s *Server) csrAttrs(c *call) error {
	demand, err := s.demand(c)
	if err != nil {
		return err
	}
	list, err := demand.CSRAttrs()
	if err != nil {
		return fmt.Errorf("the CSR attributes of label %s: %w", c.label, err)
	}
	if len(list) == 0 {
		return c.send(answer{status: http.StatusNoContent})
	}
	der, err := list.Marshal()
	if err != nil {
		return fmt.Errorf("the CSR attributes of label %s: %w", c.label, err)
	}
	return c.send(answer{mediaType: est.CSRAttrsType, body: der, encode: true})
}

// demand derives what is demanded from the profile, the label and who asks, so that
// the list cannot say anything else than what requests are judged by.
func (s *Server) demand(c *call) (est.Demand, error) {
	profile := s.profile(c).Demands()
	d := est.Demand{Template: true, Ask: c.label.asks(c.who)}
	kind, sole := wantedKey(profile)
	if sole {
		// RFC 7030 §4.5.2: a particular crypto system or hash that is required MUST be
		// in the list. Of several that are taken no list can say more than one, and a
		// client that has another key already would think it refused.
		d.Key, d.Hash = keySpec(kind)
	}
	uses, err := usageDemands(profile)
	if err != nil {
		return d, err
	}
	d.Extensions = uses
	if c.label.MACAddress {
		// No attribute of a template can be left to the client; an extension can, and in
		// this one a request may tell the address as well (RFC 9908 §3.4, §5.2).
		d.Extensions = append(d.Extensions, est.ExtensionTemplate{ID: oidSubjectDirectoryAttributes})
	}
	return d, s.nameDemands(c, profile, &d)
}

// asks lists the attributes that a label wants the client to fill in: the binding to the
// connection under every identifier that it is accepted in (RFC 7030 §4.5.2, RFC 7894
// §3.3), unless who asks is exempt, and its MAC address.
func (l *Label) asks(who Identity) (all []asn1.ObjectIdentifier) {
	switch {
	case !l.RequireLinking || who.RA && l.RAUnlinked:
	case l.ChallengeSecret:
		all = append(all, est.OIDIdentityLinking)
	default:
		all = append(all, est.OIDChallengePassword, est.OIDIdentityLinking)
	}
	if l.MACAddress {
		all = append(all, est.OIDMACAddress)
	}
	return all
}

// keySpec gives a profile's kind of key in the words of [est.ParseKeySpec], and the
// hash of a request's signature that is as strong (RFC 5480 §4).
func keySpec(kind string) (string, crypto.Hash) {
	switch kind {
	case "rsa":
		return "rsa-" + strconv.Itoa(rsaBits), crypto.SHA256
	case "ecdsa-p384":
		return kind, crypto.SHA384
	case "ecdsa-p521":
		return kind, crypto.SHA512
	case "ed25519":
		return kind, 0 // it has one of its own, and one identifier for both
	}
	return kind, crypto.SHA256
}

var (
	oidKeyUsage    = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidExtKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}

	oidSubjectDirectoryAttributes = asn1.ObjectIdentifier{2, 5, 29, 9}
)

// usageDemands gives the key usages that certificates will have. A key usage that
// depends on the kind of key is left out where several kinds are taken.
func usageDemands(d ca.Demands) ([]est.ExtensionTemplate, error) {
	var all []est.ExtensionTemplate
	usage := d.Usage(d.Keys[0])
	for _, kind := range d.Keys {
		if d.Usage(kind) != usage {
			usage = 0
		}
	}
	if usage != 0 {
		value, err := usageBits(usage)
		if err != nil {
			return nil, err
		}
		all = append(all, est.ExtensionTemplate{ID: oidKeyUsage, Critical: true, Value: value})
	}
	if len(d.ExtKeyUsage) > 0 {
		value, err := asn1.Marshal(d.ExtKeyUsage)
		if err != nil {
			return nil, err
		}
		all = append(all, est.ExtensionTemplate{ID: oidExtKeyUsage, Value: value})
	}
	return all, nil
}

// usageBits encodes a KeyUsage as DER's shortest BIT STRING (X.690 §11.2.2).
func usageBits(u x509.KeyUsage) ([]byte, error) {
	var bits asn1.BitString
	for i := range 9 {
		if u&(1<<i) != 0 {
			bits.BitLength = i + 1
		}
	}
	bits.Bytes = make([]byte, (bits.BitLength+7)/8)
	for i := range bits.BitLength {
		if u&(1<<i) != 0 {
			bits.Bytes[i/8] |= 0x80 >> (i % 8)
		}
	}
	return asn1.Marshal(bits)
}
