// Package cms reads and writes the Cryptographic Message Syntax (RFC 5652): bags of
// certificates, SignedData, EnvelopedData, AuthEnvelopedData (RFC 5083), AuthenticatedData,
// key packages (RFC 5958) and the list of algorithms that a recipient can use (RFC 8551
// §2.5.2). What it writes is strict DER; what it reads may be BER, which [DER] makes DER in
// linear time within limits, before anything else looks at it.
//
// It judges form and arithmetic alone. It must not know who may sign or to whom may be
// encrypted, how certificates are verified, what an enrolment protocol is, or where
// keys and messages are stored: it has no policy, no network and no files.
//
// Every fault is an *[Error]. Those of decryption say only that it failed, alike for every
// cause, so that an answer made of them is no oracle (RFC 3218, RFC 5652 §14).
package cms
