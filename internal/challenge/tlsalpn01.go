package challenge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// alpn is the application protocol of the challenge (RFC 8737 §6.2).
const alpn = "acme-tls/1"

// tlsALPN01 does a handshake and looks at the certificate (RFC 8737 §3).
func (v *Validator) tlsALPN01(ctx context.Context, j Job, t *trail) (netip.Addr, *Failure) {
	sni := j.Target.Value
	if j.Target.Type == "ip" {
		// RFC 8738 §6: the reverse name stands for the address, which SNI cannot hold.
		reverse, err := dns.ReverseAddr(j.Target.Value)
		if err != nil {
			return netip.Addr{}, fail(Internal, "%q is not an IP address", j.Target.Value)
		}
		sni = strings.TrimSuffix(reverse, ".")
	}
	conn, addr, f := v.dial(ctx, j.Target.Value, v.conf.TLSPort, t)
	if f != nil {
		return addr, f
	}
	defer conn.Close()
	client := tls.Client(conn, &tls.Config{
		ServerName:         sni,
		NextProtos:         []string{alpn},
		MinVersion:         tls.VersionTLS12, // RFC 8737 §4
		InsecureSkipVerify: true,             // the certificate is self-signed by design
	})
	where := conn.RemoteAddr().String()
	if err := client.HandshakeContext(ctx); err != nil {
		kind := TLS
		if timedOut(err) {
			kind = Connection
		}
		return addr, fail(kind, "the TLS handshake with %s for %s failed: %s; expected a server that negotiates %q for this name", where, sni, err, alpn).because(err).at(addr)
	}
	state := client.ConnectionState()
	if state.NegotiatedProtocol != alpn {
		return addr, fail(IncorrectResponse, "the server at %s did not negotiate %q for %s; an ordinary web server seems to have answered", where, alpn, sni).at(addr)
	}
	if len(state.PeerCertificates) == 0 {
		return addr, fail(IncorrectResponse, "the server at %s sent no certificate for %s", where, sni).at(addr)
	}
	cert := state.PeerCertificates[0]
	t.add("%s with %s for %s", tls.VersionName(state.Version), alpn, sni)
	if f := checkCertificate(cert, j); f != nil {
		f.Detail = printable("the certificate that "+where+" presents for "+sni+" "+f.Detail, maxDetail)
		return addr, f.at(addr)
	}
	t.add("certificate %x has the digest", cert.SerialNumber)
	return addr, nil
}

// checkCertificate checks the shape of a challenge certificate and then its
// proof. Details continue "the certificate …".
func checkCertificate(cert *x509.Certificate, j Job) *Failure {
	san, _, n := extension(cert, "2.5.29.17") // subjectAltName, critical or not
	if n != 1 {
		return fail(IncorrectResponse, "has %d subjectAltName extensions; expected one, with %s alone", n, j.Target.Value)
	}
	if err := soleName(san, j.Target); err != nil {
		return fail(IncorrectResponse, "has a wrong subjectAltName: %s; expected %s alone", err, j.Target.Value).because(err)
	}
	value, critical, n := extension(cert, acmeIdentifier)
	switch {
	case n != 1:
		return fail(IncorrectResponse, "has %d acmeIdentifier extensions (%s); expected one", n, acmeIdentifier)
	case !critical:
		return fail(IncorrectResponse, "has an acmeIdentifier extension that is not critical (RFC 8737 §3)")
	}
	digest, err := parseAuthorization(value)
	if err != nil {
		return fail(IncorrectResponse, "has a malformed acmeIdentifier extension: %s", err).because(err)
	}
	if !selfSigned(cert) {
		return fail(IncorrectResponse, "is not self-signed (RFC 8737 §3)")
	}
	if want := j.digest(); !same(digest[:], want[:]) {
		return fail(Unauthorized, "has the digest %x; expected %x, the SHA-256 of the key authorization %q", digest, want, j.KeyAuthorization)
	}
	return nil
}

// selfSigned says whether a certificate is its own issuer. The signature is
// checked whatever the key usage says: it is no CA certificate.
func selfSigned(cert *x509.Certificate) bool {
	return same(cert.RawSubject, cert.RawIssuer) && cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}
