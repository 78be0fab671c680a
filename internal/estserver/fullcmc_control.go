package estserver

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"chancery/cms/cmc"
	"chancery/est"
	"chancery/internal/ca"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// revoke revokes a certificate (RFC 5272 §6.11) for whoever has its key, got it, shares
// the secret by which it was got, or is an RA.
func (x *exchange) revoke(at spot, v cmc.RevokeRequest, asker *party) {
	reason, ok := revocable[v.Reason]
	if !ok {
		x.fault(at, malformed(at.part, fmt.Sprintf("a certificate cannot be revoked for the reason %d here", v.Reason)))
		return
	}
	record, cert, err := x.issued(v.Issuer, ca.SerialOf(v.Serial))
	if err == nil {
		err = x.mayRevoke(issuedCertificate{&record, cert}, v, asker)
	}
	if err != nil {
		x.fault(at, err)
		return
	}
	by := asker.who.principal()
	if by.ID == "" { // by the secret alone
		by.ID = "secret-of:" + string(record.Serial)
	}
	_, err = x.Authority.Revoke(x.ctx(), ca.Revocation{Serial: record.Serial, Reason: reason, By: by, At: x.call.now})
	switch {
	case ca.KindOf(err) == ca.Revoked:
		at.success(at.m, "the certificate was revoked before", at.part)
	case err != nil:
		x.fault(at, err)
	default:
		x.call.log.Info("revoked by CMC", "serial", record.Serial, "reason", reason, "subject", cert.Subject, "comment", clip(v.Comment))
		at.success(at.m, "", at.part)
	}
}

// revocable are the reasons that a client may give; the others are the administrators'.
var revocable = map[int]ca.Reason{
	0: ca.Unspecified, 1: ca.KeyCompromise, 3: ca.AffiliationChanged, 4: ca.Superseded, 5: ca.CessationOfOperation,
}

// issued finds a certificate of the ledger by issuer and serial number.
func (x *exchange) issued(issuer []byte, serial ca.Serial) (ca.Record, *x509.Certificate, error) {
	none := failure(cmc.BadCertID, cmc.Current, "there is no certificate with this issuer and serial number here")
	r, err := x.Ledger.BySerial(x.ctx(), serial)
	if ca.KindOf(err) == ca.NotFound || err == nil && !r.Settled() {
		return r, nil, none
	}
	if err != nil {
		return r, nil, err
	}
	cert, err := x509.ParseCertificate(r.DER)
	if err != nil {
		return r, nil, fmt.Errorf("reading the certificate %s from the ledger: %w", serial, err)
	}
	if !ca.SameName(cert.RawIssuer, issuer) {
		return r, nil, none
	}
	return r, cert, nil
}

// issuedCertificate is a certificate of the ledger, read.
type issuedCertificate struct {
	record *ca.Record
	cert   *x509.Certificate
}

// mayRevoke tells whether the asker may revoke the certificate. Wrong secrets are counted
// as wrong passwords are.
func (x *exchange) mayRevoke(c issuedCertificate, v cmc.RevokeRequest, asker *party) error {
	r, who := c.record, asker.who
	switch {
	case who.Record != nil && who.Record.Serial == r.Serial: // its key
		return nil
	case who.RA && x.couldEnrol(c, who):
		return nil
	case who.String() != "" && r.By == who.principal() && slices.ContainsFunc(x.call.label.Accept, who.meets):
		return nil
	case v.Secret == nil && who.RA:
		return failure(cmc.BadIdentity, cmc.Current, "the certificate is none that this registration authority could enrol here")
	case v.Secret == nil:
		return failure(cmc.BadIdentity, cmc.Current, "sign the revocation with the certificate's own key, or give the secret by which it was got, or its request's revocationChallenge (RFC 5272 section 6.11)")
	}
	return x.secretOf(r, v)
}

// couldEnrol tells whether a certificate is one that the label lets its RAs ask for: of
// its profiles, and with no other names and no other subject than RANames let pass.
func (x *exchange) couldEnrol(c issuedCertificate, ra Identity) bool {
	as := *x.call
	as.who = ra
	return slices.Contains(append([]string{as.label.Profile}, as.label.Holders...), c.record.Profile) &&
		len(as.policyOf(nil).beyond(c.record.Names, holdingOf(c.cert).subject)) == 0
}

// secretOf compares the secret of a revocation with the passphrase that was given with the
// certificate's request, and with the password by which it was got: a one-time one, though
// it is spent, or the standing one of its user. What was got without a password, none
// revokes. Wrong ones count by certificate and address, and hold back who guesses there,
// not his neighbours behind the same address.
func (x *exchange) secretOf(r *ca.Record, v cmc.RevokeRequest) error {
	if err := x.revocationBlocked(x.call, r.Serial); err != nil {
		return err
	}
	fits, err := x.fitsSecret(r, v.Secret)
	if !fits && (err == nil || errors.As(err, new(*refusal))) {
		x.failedRevocation(x.call, r.Serial)
	}
	if fits || err != nil {
		return err
	}
	return failure(cmc.BadIdentity, cmc.Current, "the secret is neither the one by which the certificate was got nor the revocationChallenge of its request")
}

// fitsSecret tells whether a secret may revoke the certificate. A *refusal says that it is
// none but the user's password, which cannot be looked at now.
func (x *exchange) fitsSecret(r *ca.Record, secret []byte) (bool, error) {
	if r.By.Room != Room || len(secret) > maxPassword {
		return false, nil
	}
	if fits, err := x.fitsPassphrase(r.Serial, secret); fits || err != nil {
		return fits, err
	}
	switch one, err := x.Credentials.CredentialByDigest(x.ctx(), OneTimeDigest(string(secret))); {
	case err == nil && isAttempt(r.Request, oneTimeID(one.ID)):
		return true, nil
	case err != nil && ca.KindOf(err) != ca.NotFound:
		return false, err
	}
	_, user := splitIdentity(r.By.ID)
	user, byPassword := strings.CutPrefix(user, "user:") // alone it is the user without a name
	if !byPassword || strings.HasPrefix(r.Request, oneTimeID("")) {
		return false, nil
	}
	return x.fitsStanding(user, secret)
}

// fitsStanding compares a secret with the standing password of a user, for whom wrong ones
// count as when he logs in: else each certificate of his would allow some more guesses.
func (x *exchange) fitsStanding(user string, secret []byte) (bool, error) {
	if wait := x.attempts.wait(x.call, attemptKey(user, x.call), addressKey(x.call)); wait > 0 {
		return false, heldRevocation(wait)
	}
	list, err := x.Credentials.Credentials(x.ctx(), CredentialQuery{User: user, Limit: 1}) // the standing one comes first
	if err != nil {
		return false, err
	}
	hash := ""
	if len(list) > 0 && !list[0].OneTime && list[0].counts(x.call) {
		hash = list[0].Hash
	}
	fits, err := x.passwords.verify(x.call, string(secret), hash)
	if err == nil && !fits {
		x.attempts.count(x.call, guess{attemptKey(user, x.call), x.Attempts, slog.String("user", user)})
	}
	return fits, err
}

// poll tells what became of a request that waited (RFC 5272 §6.13): the one that asked asks
// again, with the token of its pendInfo.
func (x *exchange) poll(at spot, v cmc.QueryPending, asker *party) {
	if !x.needsSomebody(at, asker) {
		return
	}
	row, err := x.waiting(string(v))
	if err != nil {
		x.fault(at, err)
		return
	}
	ask, err := x.again(&row)
	if err != nil {
		x.fault(at, err)
		return
	}
	ask.Detail = x.details(at.m)
	ask.Detail["polled"] = row.ID
	result, err := x.issue(x.ctx(), x.call, ask)
	x.outcome(at, result, err)
}

// waiting finds the request of a token. Somebody else's, and one that has ended, is none.
func (x *exchange) waiting(token string) (Pending, error) {
	none := failure(cmc.BadRequest, cmc.Current, "no request of yours waits with this token, or not any more; send the request again")
	if !ca.WellFormedID(token) {
		return Pending{}, none
	}
	row, err := x.Requests.RequestByID(x.ctx(), token)
	switch {
	case ca.KindOf(err) == ca.NotFound:
		return row, none
	case err != nil:
		return row, err
	case row.Label != x.call.label.Name || row.Operation != string(est.FullCMC) || row.Identity != x.call.who.String() || !x.call.now.Before(row.Expires):
		return row, none
	}
	return row, nil
}

// asCRMF keeps what is asked for, for the approver and for the asker's return: the
// template alone, and no control, of which one may be a secret.
func asCRMF(id cmc.BodyPartID, t cmc.CertTemplate) ([]byte, error) {
	return (&cmc.CertReqMsg{Request: cmc.CertRequest{ID: id, Template: t}}).Marshal()
}

// again makes the ask of a request that is kept: its possession and changes were judged
// when it came first.
func (x *exchange) again(row *Pending) (Ask, error) {
	q := cmc.Request{PKCS10: row.CSR}
	if m, err := cmc.ParseCertReqMsg(row.CSR); err == nil {
		q = cmc.Request{ID: m.Request.ID, CRMF: m}
	}
	t, err := q.Template()
	if err != nil {
		return Ask{}, err
	}
	ask := Ask{CSR: row.CSR, Detail: map[string]string{}, Linking: "as when it was asked for first"}
	if ask.Key, err = certifiable(cmc.Current, t.PublicKey); err != nil {
		return ask, err
	}
	if ask.hashed = row.Passphrase; ask.hashed == "" { // a release before kept requests as they came
		if err = ask.passphraseIn(q); err != nil {
			return ask, err
		}
	}
	if t, err = x.renamed(q, t, &ask); err != nil {
		return ask, err
	}
	return ask, x.wants(&ask, t, cmc.Current)
}

// getCert gives a certificate (RFC 5272 §6.9).
func (x *exchange) getCert(at spot, v cmc.GetCert, asker *party) {
	if !x.needsSomebody(at, asker) {
		return
	}
	name, ok := directoryName(v.Issuer)
	if !ok {
		x.fault(at, failure(cmc.BadCertID, at.part, "the issuer is no directoryName"))
		return
	}
	serial := ca.SerialOf(v.Serial)
	for _, cert := range x.authoritiesNow() {
		if ca.SameName(cert.RawIssuer, name) && ca.SerialOf(cert.SerialNumber) == serial {
			at.enclose(cert.Raw)
			at.success(at.m, "", at.part)
			return
		}
	}
	r, _, err := x.issued(name, serial)
	if err != nil {
		x.fault(at, err)
		return
	}
	at.enclose(r.DER)
	at.success(at.m, "", at.part)
}

// directoryName gives the Name in a GeneralName.
func directoryName(general []byte) ([]byte, bool) {
	in := cryptobyte.String(general)
	var name cryptobyte.String
	ok := in.ReadASN1(&name, tag.Tag(4).ContextSpecific().Constructed()) && in.Empty()
	return name, ok
}

// maxCRLs bounds the CRLs of one answer: an issuer's list may be spread over several.
const maxCRLs = 8

// getCRL gives the newest CRLs of an issuer (RFC 5272 §6.10): the one that is named, or
// all, if they are few.
func (x *exchange) getCRL(at spot, v cmc.GetCRL, asker *party) {
	if !x.needsSomebody(at, asker) {
		return
	}
	list, err := x.crls(v)
	if err != nil {
		x.fault(at, err)
		return
	}
	for _, der := range list {
		if !slices.ContainsFunc(at.crls, func(c []byte) bool { return bytes.Equal(c, der) }) {
			at.crls = append(at.crls, der)
		}
	}
	at.success(at.m, "", at.part)
}

func (x *exchange) crls(v cmc.GetCRL) ([][]byte, error) {
	wanted := ""
	if in := cryptobyte.String(v.CRLName); v.CRLName != nil {
		var uri cryptobyte.String
		if in.ReadASN1(&uri, tag.Tag(6).ContextSpecific()) {
			wanted = string(uri)
		}
	}
	var found [][]byte
	for _, i := range slices.Backward(x.Authority.Issuers().List()) {
		cert := i.Certificate()
		if cert == nil || !ca.SameName(cert.RawSubject, v.Issuer) {
			continue
		}
		for shard := range i.Shards {
			if v.CRLName != nil && i.CRLURL(shard) != wanted {
				continue
			}
			if len(found) == maxCRLs {
				return nil, malformed(cmc.Current, "the issuer's list is spread over many CRLs; name one by its URL, which stands in the certificate")
			}
			crl, err := x.Authority.Revocations.CRL(x.ctx(), i.ID, shard)
			if err != nil {
				return nil, err
			}
			if crl.Number > 0 && (v.Time.IsZero() || !crl.NextUpdate.Before(v.Time)) {
				found = append(found, crl.DER)
			}
		}
	}
	if found == nil {
		return nil, failure(cmc.BadCertID, cmc.Current, "there is no such CRL here, or none of that time")
	}
	return found, nil
}

// accepted notes that a certificate was accepted (RFC 5272 §6.14). None waits for that, and
// one that nobody accepts is not revoked.
func (x *exchange) accepted(at spot, v cmc.ConfirmCertAcceptance, asker *party) {
	if !x.needsSomebody(at, asker) {
		return
	}
	r, _, err := x.issued(v.Issuer, ca.SerialOf(v.Serial))
	if err == nil {
		err = x.hers(&r, asker)
	}
	if err == nil {
		e := asker.who.principal().Event(x.call.now, "certificate.accepted", string(r.Serial))
		e.Detail = map[string]string{"label": x.call.label.Name, "address": x.call.address}
		err = x.Certificates.Note(context.WithoutCancel(x.ctx()), e)
	}
	if err != nil {
		x.fault(at, err)
		return
	}
	at.success(at.m, "", at.part)
}

// hers refuses to note another's acceptance.
func (x *exchange) hers(r *ca.Record, asker *party) error {
	who := asker.who
	if who.RA || r.By == who.principal() || who.Record != nil && who.Record.Serial == r.Serial {
		return nil
	}
	return refuse(http.StatusForbidden, "the certificate is not yours to accept")
}
