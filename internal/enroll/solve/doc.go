// Package solve meets the challenges of ACME servers: http-01 from an own listener or a
// web server's directory, tls-alpn-01, dns-01 by DNS updates (RFC 2136), a program that
// fits lego's exec provider, or a libdns provider, and dns-persist-01, for which it only
// looks whether the lasting record is there.
//
// A [Set] holds the solvers that are configured, in the order of preference, and lives as
// long as the process; a [Task] is its part in one order. Listeners are shared by all
// tasks of the process, each port being opened once.
//
// Whoever runs the server is taken for a stranger: a token, a name or an issuer name is
// used only after [Check] and only for names that the task is about, never by a shell,
// and in a path only below a directory that is held open.
//
// The package must not know who chose the server and why, nor accounts, their keys or
// settings files: it is told what it needs to know in a [Job].
package solve
