// Package interop has other people's ACME clients, unmodified, obtain, renew
// and revoke certificates from the real server on loopback, and other people's
// relying parties (OpenSSL, curl) judge what they got; and it has our client
// (client_*_test.go) find and use other people's authorities, Pebble and
// step-ca, well and ill. It is a module of its own, so that none of them
// becomes a dependency of the product; there is nothing in it but tests.
//
// A program that is not installed is skipped with the name of its package;
// CHANCERY_PEERS=required makes that a failure. Pebble and step-ca are built
// from their modules, once, unless PEBBLE and STEP_CA name them. Beside that
// nothing here needs a network, port 80 or a user's rights: names resolve to
// loopback in the tests' own DNS.
package interop
