package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	"chancery/internal/ca"
	"chancery/internal/estserver"

	"golang.org/x/sync/singleflight"
)

const (
	// delegatePatience bounds the making of a delegate, as no caller's context does.
	delegatePatience = 30 * time.Second
	// delegatePause lies between two attempts while the one before can still sign.
	delegatePause = time.Minute
)

// delegates are the keys by which the EST server signs what is no certificate. Each is
// made when it is first needed, certified by our own authority, kept in memory alone,
// and replaced at half of its life or when another issuer has taken over.
type delegates struct {
	daemon *Daemon
	making singleflight.Group

	mu  sync.Mutex
	now map[string]*delegate // by profile; guarded by mu
}

// delegate is one of them; it is not changed once it is in the map but for renew.
type delegate struct {
	estserver.Delegate
	issuer string
	ends   time.Time
	renew  time.Time // guarded by delegates.mu
}

// get gives the delegate of a profile. One that cannot be replaced serves until it ends.
func (g *delegates) get(ctx context.Context, profile string) (estserver.Delegate, error) {
	now := time.Now()
	if k := g.fresh(profile, now); k != nil {
		return k.Delegate, nil
	}
	_, err, _ := g.making.Do(profile, func() (any, error) {
		if g.fresh(profile, now) != nil {
			return nil, nil // made while this caller was on its way here
		}
		// Those who wait here with others must not fail because the first hung up.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), delegatePatience)
		defer cancel()
		return nil, g.make(ctx, profile)
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	if k := g.now[profile]; k != nil && now.Before(k.ends) {
		return k.Delegate, nil
	}
	if err == nil {
		err = ca.Errorf(ca.Unavailable, "there is no key for %s that is valid now; see whether the clock jumped", profile)
	}
	return estserver.Delegate{}, err
}

// fresh gives the delegate if it need not be replaced yet.
func (g *delegates) fresh(profile string, now time.Time) *delegate {
	issuer := g.daemon.lineOf(profile, now)
	g.mu.Lock()
	defer g.mu.Unlock()
	k := g.now[profile]
	if k == nil || !now.Before(k.renew) || !now.Before(k.ends) || issuer != nil && issuer.ID != k.issuer {
		return nil
	}
	return k
}

// make has the authority certify a new key, on the road of every certificate.
func (g *delegates) make(ctx context.Context, profile string) error {
	made, err := g.daemon.delegate(ctx, profile)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		if old := g.now[profile]; old != nil {
			old.renew = time.Now().Add(delegatePause)
		}
		return err
	}
	if g.now == nil {
		g.now = map[string]*delegate{}
	}
	g.now[profile] = made
	return nil
}

func (d *Daemon) delegate(ctx context.Context, profile string) (*delegate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	record, err := d.authority.Issue(ctx, ca.Request{
		ID: "core:est:" + profile + ":" + ca.NewID(), By: ca.Principal{Room: "core", ID: "est"}, Key: key.Public(), Profile: profile,
		Subject: ca.Subject{CommonName: fmt.Sprintf("%.64s", d.Config.Hierarchy.Organization+" EST "+profile)},
	})
	if err != nil {
		return nil, fmt.Errorf("the EST server's own certificate of profile %s: %w", profile, err)
	}
	cert, err := x509.ParseCertificate(record.DER)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	made := &delegate{
		Delegate: estserver.Delegate{Key: key, Chain: []*x509.Certificate{cert}}, issuer: record.Issuer,
		ends: cert.NotAfter, renew: now.Add(cert.NotAfter.Sub(now) / 2),
	}
	if chains := d.authority.Issuers().Chains(record.Issuer, now); len(chains) > 0 {
		made.Chain = append(made.Chain, chains[0].Certificates...)
	}
	return made, nil
}
