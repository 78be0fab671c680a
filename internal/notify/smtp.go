package notify

import (
	"crypto/x509"
	"time"
)

// Encryption says how a mail server's connection is protected.
type Encryption string

// The ways to protect a connection to a mail server.
const (
	StartTLS    Encryption = "starttls" // RFC 3207, and no mail without it; the same as ""
	ImplicitTLS Encryption = "tls"      // RFC 8314 §3.3, from the first octet
	NoTLS       Encryption = "none"     // plain, to a server on this machine alone
)

// SMTP says how to hand mail to a server (RFC 5321 as a client, RFC 6409).
type SMTP struct {
	// Server is "host:port"; the certificate must be for host.
	Server string
	TLS    Encryption
	// From is the sender: an address, or "Name <address>".
	From string
	// User and Password log in by SASL PLAIN (RFC 4616), under TLS only. Password is
	// asked for each time, so that it need not be kept in memory.
	User     string
	Password func() (string, error)
	// Roots judge the server's certificate; nil means the system's.
	Roots *x509.CertPool
	// Timeout is for the whole conversation; 0 means 30 s.
	Timeout time.Duration
	// Hello is this machine's name for EHLO; its host name if empty.
	Hello string
}

// Mail is one plain-text mail to one address.
type Mail struct {
	To      string // an address, or "Name <address>"
	Subject string
	Text    string
	// ID makes the Message-ID, so that a mail sent twice can be known as one; random if
	// empty.
	ID string
	// Time is the Date; now if zero.
	Time time.Time
}
