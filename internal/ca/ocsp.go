package ca

import (
	"context"
	"crypto"
	_ "crypto/sha1" // CertIDs are made with SHA-1 by most clients; it protects nothing there
	_ "crypto/sha256"
	"errors"
	"time"
)

// CertID is how an OCSP client names a certificate (RFC 6960 §4.1.1): by hashes
// of its issuer's name and key, and its serial number.
type CertID struct {
	Hash     crypto.Hash // crypto.SHA1 or crypto.SHA256; others are of no known issuer
	Bare     bool        // the algorithm came without its NULL parameters; the answer repeats that
	NameHash []byte      // of the DER of the issuer's subject
	KeyHash  []byte      // of the bits of the issuer's public key
	Serial   Serial
}

// Ask is one question to [Authority.OCSP].
type Ask struct {
	Certs []CertID      // one or more, all of one issuer
	Nonce []byte        // repeated in the answer; empty: none (RFC 9654)
	Life  time.Duration // how long the answer is good, at most
}

// Answer is a signed OCSP response and what it says.
type Answer struct {
	DER        []byte       // an OCSPResponse (RFC 6960 §4.2.1)
	Statuses   []CertStatus // in the order of [Ask.Certs]
	ThisUpdate time.Time
	NextUpdate time.Time
}

// StatusWord is an OCSP certStatus (RFC 6960 §2.2).
type StatusWord int

// The three answers.
const (
	StatusGood    StatusWord = iota // issued and not revoked
	StatusRevoked                   // revoked for good
	StatusUnknown                   // not issued by the issuer in question, as far as anyone was told
)

// CertStatus is what there is to say about one certificate.
type CertStatus struct {
	Word   StatusWord
	At     time.Time // when it was revoked, in whole seconds; zero unless revoked
	Reason Reason    // 0 unless revoked
}

// Equal tells whether two statuses say the same.
func (s CertStatus) Equal(t CertStatus) bool {
	return s.Word == t.Word && s.Reason == t.Reason && s.At.Equal(t.At)
}

// UnknownLife is how long an answer with [StatusUnknown] in it is good: the
// certificate may be recorded in the next moment.
const UnknownLife = time.Minute

// issuerHash finds an issuer by a CertID without looking at each.
type issuerHash struct {
	hash      crypto.Hash
	name, key string
}

// indexHashes works out how OCSP clients name each issuer.
func (s *Issuers) indexHashes() error {
	s.asked = make(map[issuerHash]*Issuer, 2*len(s.all))
	for _, i := range s.all {
		for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
			id, err := i.CertID(hash, "")
			if err != nil {
				return err
			}
			s.asked[id.issuer()] = i
		}
	}
	return nil
}

func (c *CertID) issuer() issuerHash {
	return issuerHash{c.Hash, string(c.NameHash), string(c.KeyHash)}
}

// CertID gives the name of the issuer's certificate with the serial, by
// crypto.SHA1 or crypto.SHA256.
func (i *Issuer) CertID(hash crypto.Hash, serial Serial) (CertID, error) {
	bits, err := keyBits(i.cert.RawSubjectPublicKeyInfo)
	if err != nil {
		return CertID{}, err
	}
	return CertID{Hash: hash, NameHash: digest(hash, i.cert.RawSubject), KeyHash: digest(hash, bits), Serial: serial}, nil
}

func digest(hash crypto.Hash, of []byte) []byte {
	h := hash.New()
	h.Write(of)
	return h.Sum(nil)
}

// Asked finds the issuer that a CertID speaks of; nil when it is not ours.
func (s *Issuers) Asked(id CertID) *Issuer { return s.asked[id.issuer()] }

// Status tells how a certificate of the issuer stands in the ledger now.
func (a *Authority) Status(ctx context.Context, issuer *Issuer, serial Serial) (CertStatus, error) {
	r, err := a.Ledger.BySerial(ctx, serial)
	switch {
	case KindOf(err) == NotFound, err == nil && r.Issuer != issuer.ID:
		return a.importedStatus(ctx, issuer, serial)
	case err != nil:
		return CertStatus{}, err
	case !r.RevokedAt.IsZero():
		// Before Settled: an intent that nobody could finish is revoked, as its
		// signature may exist.
		return CertStatus{Word: StatusRevoked, At: r.RevokedAt.UTC().Truncate(time.Second), Reason: r.Reason}, nil
	case !r.Settled():
		// Nobody was given this certificate: what is handed out is settled. One
		// who shows it has it from elsewhere, and it is not vouched for.
		return CertStatus{Word: StatusUnknown}, nil
	}
	return CertStatus{Word: StatusGood}, nil
}

// importedStatus tells how a certificate stands that the issuer did not issue
// here: revoked, if it was before its authority was imported.
func (a *Authority) importedStatus(ctx context.Context, issuer *Issuer, serial Serial) (CertStatus, error) {
	e, err := a.Revocations.ImportedRevocation(ctx, issuer.ID, serial)
	switch {
	case KindOf(err) == NotFound:
		// RFC 6960 §2.2 would also allow "revoked" here. "unknown" is what is
		// true, and a client that can turn to a CRL does so.
		return CertStatus{Word: StatusUnknown}, nil
	case err != nil:
		return CertStatus{}, err
	}
	return CertStatus{Word: StatusRevoked, At: e.At.UTC().Truncate(time.Second), Reason: e.Reason}, nil
}

// OCSP answers an OCSP request from the ledger as it is now, signed by a
// responder that the issuer in question certified, never by the issuer itself.
// Errors: [Denied] when this machine cannot speak for the issuer (RFC 5019
// §2.2.3 "unauthorized"), [Invalid] when the question makes no sense,
// [Unavailable] when it may be asked again later.
func (a *Authority) OCSP(ctx context.Context, ask Ask) (Answer, error) {
	issuer, err := a.askedIssuer(ask)
	if err != nil {
		return Answer{}, err
	}
	// The delegate comes first: making one takes a while, and what the ledger
	// says must be as young as thisUpdate claims.
	by, err := a.responder(ctx, issuer)
	if err != nil {
		return Answer{}, err
	}
	now := a.Clock().UTC().Truncate(time.Second)
	life := ask.Life
	answer := Answer{ThisUpdate: now}
	for _, id := range ask.Certs {
		status, err := a.Status(ctx, issuer, id.Serial)
		if err != nil {
			return Answer{}, err
		}
		if status.Word == StatusUnknown {
			life = min(life, UnknownLife)
		}
		answer.Statuses = append(answer.Statuses, status)
	}
	answer.NextUpdate = now.Add(life).Truncate(time.Second)
	if answer.NextUpdate.After(by.notAfter) { // nobody could verify it any longer than that
		answer.NextUpdate = by.notAfter
	}
	answer.DER, err = a.signOCSP(by, &ask, &answer)
	return answer, err
}

// askedIssuer finds the one issuer that an ask is about. A delegate speaks for
// the issuer that certified it and no other, so one response cannot speak of
// the certificates of two.
func (a *Authority) askedIssuer(ask Ask) (*Issuer, error) {
	if len(ask.Certs) == 0 || ask.Life < time.Second {
		return nil, Errorf(Invalid, "an OCSP request asks about at least one certificate, for an answer that is good for a second or more")
	}
	known := a.Issuers()
	issuer := known.Asked(ask.Certs[0])
	if issuer == nil {
		return nil, Errorf(Denied, "the issuer asked about is not one of this authority's")
	}
	for _, id := range ask.Certs[1:] {
		if known.Asked(id) != issuer {
			return nil, Errorf(Denied, "ask about the certificates of one issuer at a time")
		}
	}
	return issuer, nil
}

// signOCSP encodes, lints and signs.
func (a *Authority) signOCSP(by *responder, ask *Ask, answer *Answer) ([]byte, error) {
	text := responseText{keyHash: by.keyHash, answer: answer, nonce: ask.Nonce}
	for n, id := range ask.Certs {
		text.singles = append(text.singles, single{id, answer.Statuses[n]})
	}
	if err := a.lintOCSP(text); err != nil {
		return nil, err
	}
	data, err := text.encode()
	if err != nil {
		return nil, Errorf(Internal, "the OCSP response cannot be encoded").because(err)
	}
	signature, err := signBytes(by.key, crypto.SHA256, data)
	if err != nil {
		return nil, Errorf(Internal, "the OCSP response could not be signed").because(err)
	}
	return signedText{data, signature, by.cert}.encode()
}

// lintOCSP lints each single response on its own, as lints look at no more
// than one, under a signature of nothing: no certificate is enclosed, so no
// lint can verify it, and what fails never meets the real key.
func (a *Authority) lintOCSP(text responseText) error {
	var errs []error
	for n := range text.singles {
		alone := text
		alone.singles = text.singles[n : n+1]
		data, err := alone.encode()
		if err != nil {
			return Errorf(Internal, "the OCSP response cannot be encoded").because(err)
		}
		der, err := signedText{data: data, signature: make([]byte, 64)}.encode()
		if err != nil {
			return Errorf(Internal, "the OCSP response cannot be encoded").because(err)
		}
		findings, err := a.crlSet.OCSP(der)
		errs = append(errs, pass(findings, err))
	}
	return errors.Join(errs...)
}
