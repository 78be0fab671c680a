// Package dnstest is an authoritative DNS server on loopback, for tests and for
// the demonstration: it is authoritative for every name there is, answers what it
// was told to, and is awkward on request.
//
// It must not know who asks or why: it imports nothing of ours and no testing
// package.
package dnstest
