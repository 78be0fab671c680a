package daemon

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/config"
	"chancery/internal/estserver"
	"chancery/internal/nonce"
	"chancery/internal/owned"
)

const (
	// sweepPace is how often what has run out is looked for, sweepMany how much of it
	// is removed at once, and keptLonger how long it is kept for replicas whose clock
	// is behind.
	sweepPace  = time.Minute
	sweepMany  = 1000
	keptLonger = 5 * time.Minute
	// noncePurpose keeps Digest's nonces and ACME's apart (RFC 7616 §3.3).
	noncePurpose = "est"
)

// estRoom makes the EST server that a configuration asks for, and changes nothing
// else; nil when there is to be none. What it needs for long is the daemon's.
func (d *Daemon) estRoom(c *config.Config, l *limits) (*estserver.Server, error) {
	if !c.EST.Enabled {
		return nil, nil
	}
	in, err := estConfig(c, d.Logger)
	if err != nil {
		return nil, err
	}
	if in.Nonces, err = nonce.NewSource(nonce.Config{Purpose: noncePurpose, Ring: d.ring}); err != nil {
		return nil, err
	}
	in.Authority, in.Ledger, in.Logger, in.Clock = d.authority, d.store, d.Logger, time.Now
	in.Requests, in.Credentials, in.DeviceKeys, in.Passphrases, in.Certificates = d.store, d.store, d.store, d.store, d.store
	in.Seals, in.Delegate, in.Deliveries = d.deviceSeals, d.delegates.get, d.deliveries
	in.Attempts, in.AddressAttempts = l.logins.Allow, l.guesses.Allow
	in.Concerns = func(now time.Time) []string { return d.cert.foreign.Load().concerns(d.Config.URL.Base, now) }
	return estserver.New(in)
}

// estConfig reads what a configuration says of EST, and the files that it names.
func estConfig(c *config.Config, log *slog.Logger) (estserver.Config, error) {
	in := estserver.Config{Digest: c.EST.Digest, Realm: c.EST.Realm}
	var errs []error
	for i, l := range c.ESTLabels() {
		one, err := estLabel(&l)
		if err != nil {
			err = fmt.Errorf("est.label[%d]: %w", i+1, err)
		}
		in.Labels, errs = append(in.Labels, one), append(errs, err)
	}
	var err error
	in.Makers, err = estMakers(c, log)
	return in, errors.Join(append(errs, err)...)
}

func estLabel(l *config.Label) (estserver.Label, error) {
	out := estserver.Label{
		Name: l.Name, Profile: l.Profile, Holders: l.Holders, Makers: l.Makers, Names: l.Names, Manual: l.Manual, ManualRenewals: l.ManualRenewals, MACAddress: l.MACAddress,
		PendingLife: l.PendingLife.Std(), RetryAfter: l.RetryAfter.Std(), PendingLimit: l.PendingLimit,
		RequireLinking: l.RequireLinking, ChallengeSecret: l.ChallengeSecret, RAs: l.RAs, RANames: l.RANames, RAUnlinked: l.RAUnlinked,
		ChangeSubject: l.ChangeSubject, ExpiredGrace: l.ExpiredGrace.Std(), RevokeOld: l.RevokeOld, Wrap: l.Wrap,
		ServerKeys: estserver.KeyPolicy{Encrypted: l.KeysEncrypted, WeakCipher: l.KeysWeakCipher},
		Quota:      l.Quota.Count, QuotaPer: l.Quota.Per.Std(), SHA1CMC: l.SHA1CMC,
	}
	for _, op := range l.Operations {
		out.Operations = append(out.Operations, est.Operation(op))
	}
	for _, way := range l.Accept {
		var means estserver.Way
		for word := range strings.SplitSeq(way, "+") {
			means = append(means, estserver.Means(word))
		}
		out.Accept = append(out.Accept, means)
	}
	if l.KeysArchive == "" {
		return out, nil
	}
	certs, err := readCertificates(l.KeysArchive)
	if err == nil && len(certs) != 1 {
		err = fmt.Errorf("%s holds %d certificates; one is needed", l.KeysArchive, len(certs))
	}
	if err != nil {
		return out, fmt.Errorf("keys_archive: %w", err)
	}
	out.ServerKeys.ArchiveTo = certs[0]
	return out, nil
}

// readCertificates reads a PEM file with certificates alone, at least one. Nobody else
// may be able to change it: it says whom we trust.
func readCertificates(path string) ([]*x509.Certificate, error) {
	text, err := owned.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s: a block of type %q, where certificates are needed", path, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", path, len(all)+1, err)
		}
		all = append(all, cert)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: there is no certificate in it: PEM is needed, -----BEGIN CERTIFICATE-----", path)
	}
	return all, nil
}

// estHandler serves the room as it is now.
func (d *Daemon) estHandler(terminated bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		room := d.est.Load()
		switch {
		case room == nil:
			http.Error(w, "EST is not served here", http.StatusNotFound)
		case terminated:
			room.Terminated().ServeHTTP(w, r)
		default:
			room.Handler().ServeHTTP(w, r)
		}
	})
}

// isEST tells whether a path is the EST server's.
func isEST(path string) bool {
	return path == est.WellKnown || strings.HasPrefix(path, est.WellKnown+"/")
}

// sweepEST removes requests and passwords that have run out.
func (d *Daemon) sweepEST(ctx context.Context) error {
	for {
		n, err := d.store.SweepEST(ctx, time.Now().Add(-keptLonger), sweepMany)
		if err != nil || n < sweepMany {
			return err
		}
	}
}

// warnOfEST says what some clients will stumble over.
func (d *Daemon) warnOfEST(ctx context.Context) error {
	if room := d.est.Load(); room != nil {
		for _, text := range room.Warnings(ctx) {
			d.Logger.WarnContext(ctx, text)
		}
	}
	return nil
}

// lineOf gives the issuer that signs for a profile now; nil when none can.
func (d *Daemon) lineOf(profile string, now time.Time) *ca.Issuer {
	p := d.authority.Profiles[profile]
	if p == nil {
		return nil
	}
	return d.authority.Issuers().Line(cmp.Or(p.Issuer, ca.DefaultLine), now)
}

// devicesHandler serves EST and nothing else, counted and limited as every listener;
// terminated is the terminator's side.
func (d *Daemon) devicesHandler(terminated bool) http.Handler {
	if terminated {
		return d.counted(d.limitedUsers(d.estHandler(true)))
	}
	return d.counted(d.limited(refusePlainly, d.estHandler(false)))
}
