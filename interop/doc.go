// Package interop has other people's ACME clients, unmodified, obtain, renew
// and revoke certificates from the real server on loopback, and other people's
// relying parties (OpenSSL, curl) judge what they got. It is a module of its
// own, so that no client becomes a dependency of the server; there is nothing
// in it but tests.
//
// A client that is not installed is skipped with the name of its package;
// CHANCERY_PEERS=required makes that a failure. Nothing here needs a network,
// port 80 or a user's rights: names resolve to loopback in the CA's own DNS.
package interop
