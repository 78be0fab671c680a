// Package estserver is the room that speaks EST (RFC 7030 with RFC 8951 and RFC 9908): it
// authenticates clients by certificate and password, judges under each label what they
// may have, keeps what waits for approval, and hands proven requests to the core. It does
// not sign, knows no SQL and no other room; what it needs of storage are the small
// interfaces in store.go.
package estserver
