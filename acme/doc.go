// Package acme holds the wire formats of ACME (RFC 8555) and a client: the signed
// requests (jws.go, key.go, eab.go, sign.go), problem documents (problem.go), the
// resources (objects.go, requests.go), what a challenge puts where it will be looked
// for (payload.go: RFC 8555 §8, RFC 8737, RFC 8738), renewal information (ari.go:
// RFC 9773), and the client (client.go and its neighbours).
//
// Servers and clients share these definitions, so they decide nothing: the package
// knows no policy, no storage and no listener, and imports no other package of this
// module. Every parser here is fed by strangers and is therefore strict: one accepted
// spelling for each value, bounded sizes, and errors that are *Problem documents ready
// to be sent.
package acme
