// Package enroll is the client that finds its CA (docs/client.md): from the names of a
// certificate and what their owners wrote into the DNS to the certificate in its place.
//
// An [Engine] walks the road of one certificate: the CAA of every name, the plan that
// package caa makes of it, and then one offer of the plan after the other, best first:
// the CA's directory, its terms, an account, an order, the challenges, the certificate,
// checks of all that came, installation. What a failure means is decided in one place
// (classify.go); how long a CA is tried in another (patience.go); which CAs are set back
// because they are down in a third (breaker.go). Everything is told as [Event]s, and
// what a person must hear as [Notice]s.
//
// The room must not know who runs it: not the command line, nor its configuration file,
// nor how messages travel, nor when a certificate is due (enroll/agent). It must never
// import the core or a store: it has to fit a device. A CA that it finds is a stranger
// to it, and nothing that a stranger says becomes a path, a command or a decision about
// anything but that CA.
package enroll
