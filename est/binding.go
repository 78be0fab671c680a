package est

import (
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
)

// The kinds of channel binding that EST carries.
const (
	TLSUnique   = "tls-unique"   // TLS 1.2, RFC 5929 §3, RFC 7030 §3.5
	TLSExporter = "tls-exporter" // TLS 1.3, RFC 9266; carried as RFC 9148 §3 carries it
)

// Binding ties a request to the TLS connection that it travels on (RFC 7030 §3.5).
type Binding struct {
	Kind  string
	Value []byte
}

const (
	exporterLabel  = "EXPORTER-Channel-Binding" // RFC 9266 §2
	exporterLength = 32
)

// BindingOf gives a connection's binding: tls-unique under TLS 1.2 and the exporter of
// RFC 9266 under TLS 1.3. Without the extended master secret (RFC 7627) tls-unique can
// be made the same on two connections, so that such a session has none: [Unlinked].
func BindingOf(cs *tls.ConnectionState) (Binding, error) {
	if cs == nil || !cs.HandshakeComplete {
		return Binding{}, fault(Unlinked, "there is no TLS connection to bind the request to")
	}
	// The context is present and empty, RFC 9266 §2. crypto/tls refuses to export
	// where the extended master secret is missing: that is how it can be told.
	value, err := cs.ExportKeyingMaterial(exporterLabel, []byte{}, exporterLength)
	if err != nil {
		return Binding{}, because(Unlinked, "this TLS session cannot bind a request (it lacks the extended master secret of RFC 7627, or allows renegotiation): reconnect with a newer TLS library", err)
	}
	if cs.Version >= tls.VersionTLS13 {
		return Binding{Kind: TLSExporter, Value: value}, nil
	}
	if len(cs.TLSUnique) == 0 {
		return Binding{}, fault(Unlinked, "this TLS session has no tls-unique value")
	}
	return Binding{Kind: TLSUnique, Value: cs.TLSUnique}, nil
}

// Text gives the value as the request's attribute holds it: base64 without line breaks
// (RFC 7030 §3.5).
func (b Binding) Text() string { return base64.StdEncoding.EncodeToString(b.Value) }

// Matches compares an attribute's text with the binding, in a time that tells nothing
// of where they differ. A binding without a value matches nothing.
func (b Binding) Matches(text string) bool {
	return len(b.Value) > 0 && subtle.ConstantTimeCompare([]byte(b.Text()), []byte(text)) == 1
}
