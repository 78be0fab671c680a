// Package srpfront stands before a TLS terminator that speaks TLS-SRP (RFC 5054), which
// this program does not. It passes octets on, and slows down who guesses passwords
// (RFC 7030 §6): the terminator reports no failed log-in, so the front reads the user
// name out of the ClientHello, where it is in clear, counts for each the handshakes
// after which no request arrived, and holds the next one back, longer each time.
//
// What it counted can be kept in a file (book.go), for other processes and a restart.
//
// It decrypts nothing, answers nothing and knows neither EST nor who may have what:
// that a request arrived is told to it.
package srpfront
