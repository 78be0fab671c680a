package daemon

import (
	"context"
	"time"

	"chancery/internal/sqldb"
)

// duty is a piece of background work that every replica does; each is made so
// that two doing it at once do no harm (claims, conditional writes).
type duty struct {
	name  string
	every time.Duration
	do    func(context.Context) error
}

func (d *Daemon) duties() []duty {
	all := []duty{
		{"validations and clean-up", time.Second, func(ctx context.Context) error { return d.acme.Load().Work(ctx) }},
		{"CRLs", 2 * time.Second, func(ctx context.Context) error {
			made, err := d.authority.RefreshCRLs(ctx)
			if made > 0 {
				d.Logger.InfoContext(ctx, "made CRLs", "count", made)
			}
			return err
		}},
		{"unfinished certificates", 15 * time.Second, func(ctx context.Context) error {
			done, err := d.authority.Recover(ctx)
			if done > 0 {
				d.Logger.WarnContext(ctx, "finished certificates that an interruption had left", "count", done)
			}
			return err
		}},
		{"hierarchy", 5 * time.Second, d.authority.Reload},
		{"own certificate", certificatePace, d.renewCertificate},
		{"nonce keys", time.Minute, d.turnNonceKeys},
		{"letters to customers", lettersPace, d.registry.Tell},
		{"expiry", time.Hour, d.warnOfEnds},
		{"EST requests", sweepPace, d.sweepEST},
		{"undelivered keys", sweepPace, d.sweepDeliveries},
		{"EST warnings", 24 * time.Hour, d.warnOfEST},
		{"CAA resolver", time.Hour, d.probeCAA},
	}
	if d.shares() {
		all = append(all,
			duty{"spent nonces", time.Second, d.spent.share},
			duty{"old spent nonces", time.Hour, d.spent.sweep})
	}
	return all
}

// shares tells whether there may be other processes over the same database.
// SQLite's file is locked by one.
func (d *Daemon) shares() bool { return d.db.Engine() == sqldb.Postgres }

// startWork begins every duty, each at its own pace, until ctx ends.
func (d *Daemon) startWork(ctx context.Context) {
	for _, w := range d.duties() {
		d.work.Go(func() { d.repeat(ctx, w) })
	}
}

func (d *Daemon) repeat(ctx context.Context, w duty) {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		if err := w.do(ctx); err != nil && ctx.Err() == nil {
			d.Logger.ErrorContext(ctx, "background work failed; it will be tried again", "work", w.name, "again_in", w.every, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// warnOfEnds says in time that an authority is about to end.
func (d *Daemon) warnOfEnds(ctx context.Context) error {
	now := time.Now()
	for _, i := range d.authority.Issuers().List() {
		cert := i.Certificate()
		left, life := cert.NotAfter.Sub(now), cert.NotAfter.Sub(cert.NotBefore)
		if i.Signs(now) && left < life/5 {
			d.Logger.WarnContext(ctx, "an authority ends soon; roll it over: chancery ca rollover "+i.Name,
				"authority", i.Name, "id", i.ID, "ends", cert.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	return nil
}
