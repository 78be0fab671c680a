package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// responder is an OCSP delegate of one issuer (RFC 6960 §4.2.2.2): a key that
// never leaves this process's memory and a short-lived certificate for it.
type responder struct {
	key      *ecdsa.PrivateKey
	cert     []byte // DER
	keyHash  []byte // SHA-1 of the key's bits: its name in responses
	notAfter time.Time
}

// responders keeps the delegates of this process by issuer ID.
type responders struct {
	desks  sync.Map // string → *desk
	making singleflight.Group
}

// desk is one issuer's seat: who sits there, and when to look for the next.
type desk struct {
	now   atomic.Pointer[responder]
	renew atomic.Int64 // Unix seconds
}

const (
	responderProfile = "ocsp-responder"
	// responderPause lies between two attempts to renew while the present
	// delegate can still sign.
	responderPause = time.Minute
	// responderPatience bounds an attempt, as no caller's context does.
	responderPatience = 30 * time.Second
)

// responder gives the issuer's delegate, making one when there is none or half
// of its life is over. One that cannot be renewed serves until it ends.
func (a *Authority) responder(ctx context.Context, issuer *Issuer) (*responder, error) {
	now := a.Clock()
	if !issuer.HasKey() || now.After(issuer.cert.NotAfter) {
		return nil, Errorf(Denied, "this machine cannot answer for the issuer %s: it has not its key, or the issuer has ended", issuer.Name)
	}
	seat, _ := a.responders.desks.LoadOrStore(issuer.ID, &desk{})
	d := seat.(*desk)
	if r := d.serving(now); r != nil && now.Unix() < d.renew.Load() {
		return r, nil
	}
	_, err, _ := a.responders.making.Do(issuer.ID, func() (any, error) {
		if d.serving(now) != nil && now.Unix() < d.renew.Load() {
			return nil, nil // made while this caller was on its way here
		}
		// Those who wait here with others must not fail because the first hung up.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), responderPatience)
		defer cancel()
		return nil, a.seat(ctx, issuer, d)
	})
	if r := d.serving(now); r != nil {
		return r, nil
	}
	if err == nil {
		err = Errorf(Unavailable, "the issuer %s has no OCSP responder that is valid now; see whether the clock jumped", issuer.Name)
	}
	return nil, err
}

// serving gives the delegate if its certificate is valid.
func (d *desk) serving(now time.Time) *responder {
	if r := d.now.Load(); r != nil && !now.After(r.notAfter) {
		return r
	}
	return nil
}

// seat makes a delegate and puts it in place.
func (a *Authority) seat(ctx context.Context, issuer *Issuer, d *desk) error {
	r, err := a.delegate(ctx, issuer)
	now := a.Clock()
	if err != nil {
		d.renew.Store(now.Add(responderPause).Unix())
		return err
	}
	renew := now.Add(r.notAfter.Sub(now) / 2)
	if !r.notAfter.Before(issuer.cert.NotAfter) { // the next would end no later
		renew = r.notAfter
	}
	d.now.Store(r)
	d.renew.Store(renew.Unix())
	return nil
}

// delegate has the issuer itself, active or retired, certify a new key, on the
// same road as every certificate.
func (a *Authority) delegate(ctx context.Context, issuer *Issuer) (*responder, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, Errorf(Internal, "no key could be made for the OCSP responder").because(err)
	}
	name := strings.ToValidUTF8(issuer.cert.Subject.CommonName, "")
	record, err := a.issueFrom(ctx, Request{
		ID: "status:ocsp:" + issuer.ID + ":" + NewID(), By: Principal{Room: "status", ID: "ocsp"},
		Key: key.Public(), Profile: responderProfile,
		Subject: Subject{CommonName: fmt.Sprintf("%.64s", "OCSP responder "+name)},
	}, issuer)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(record.DER)
	if err != nil {
		return nil, Errorf(Internal, "the OCSP responder's certificate cannot be read back").because(err)
	}
	bits, err := keyBits(cert.RawSubjectPublicKeyInfo)
	if err != nil {
		return nil, err
	}
	return &responder{key: key, cert: cert.Raw, keyHash: digest(crypto.SHA1, bits), notAfter: cert.NotAfter}, nil
}
