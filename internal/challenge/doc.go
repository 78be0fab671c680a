// Package challenge goes out and looks: it checks by http-01, dns-01 (RFC 8555
// §8) and tls-alpn-01 (RFC 8737, RFC 8738) whether whoever controls a name or an
// address has put the key authorization there.
//
// It knows the network and nothing else: no database, no server, no account, no
// order. A [Job] says what to look for, a [Result] what was seen, a [Failure]
// what was wrong, in words for the person who set the challenge up.
//
// It is the one place where strangers choose what this machine connects to. So
// every address, for every hop of every redirect, is checked against the
// [AddressPolicy] after resolution, and exactly the checked address is dialled:
// a name that answers differently the second time (DNS rebinding) gains nothing.
package challenge
