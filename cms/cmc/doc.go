// Package cmc reads and writes certificate management over CMS (RFC 5272, as
// RFC 6402 changes it) with the requests of PKCS #10 and CRMF (RFC 4211), and does
// the arithmetic of its proofs: identity, possession, and the link between the two.
//
// It is codec and arithmetic only. It must not know who may ask for what: whose
// signature counts, which secret belongs to whom, which names an authority gives
// and what it keeps are for its callers to decide. It opens no connection and
// keeps nothing.
//
// What is read is strict DER, bounded in number and depth, and is written again as
// the same octets. What is wrong is told as an [*Error], which names the body part
// at fault, so that an answer can (RFC 5272 §3.2.1.1).
package cmc
