// Package ca is the issuance core: it decides what a certificate says, records
// what it is about to sign, has it signed and records the result. Every
// certificate, whoever asked and by whatever protocol, takes the same road
// through [Authority.Issue]:
//
//	authorise → policy → lint → record the intent → sign → record the result
//
// The core knows no protocol, no HTTP, no SQL and no files. A room (the ACME
// server, the administrator's command line) authenticates a request, reduces
// it to a [Request] and never sees a key; storage stands behind [Ledger],
// [Recovery], [Revocations] and [Hierarchy], which internal/sqlstore fits.
package ca
