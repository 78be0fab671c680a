// Package caa reads certification authority authorisation records and decides by
// them: the records' grammar (record.go, grammar.go: RFC 8659 §4, RFC 9495), the
// climb through the tree (climb.go: RFC 8659 §3), whether a CA may issue
// (authorize.go: RFC 8659 §4, RFC 8657), and auto-discovery's choice among the CAs
// that the owners of some names wrote down (choice.go and its neighbours).
//
// A CA uses the first three before it issues, a client all four before it asks. The
// package only decides, from records and what it is told of the client: it must not
// know how DNS is spoken (the resolver is an argument), nor ACME, directories,
// accounts or configuration files, and it imports no other package of this module.
// What it decides always comes with the reason, in words for a person.
package caa
