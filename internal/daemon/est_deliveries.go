package daemon

import (
	"context"
	"time"

	"chancery/internal/estserver"
)

// newDeliveries knows which made keys are on their way from this process.
func (d *Daemon) newDeliveries() *estserver.Deliveries {
	return estserver.NewDeliveries(estserver.DeliveriesConfig{
		Store: d.store, Ledger: d.store, Authority: d.authority, Alone: !d.shares(), Clock: time.Now, Logger: d.Logger,
	})
}

// sweepDeliveries revokes the certificates of made keys that were cut off on their way,
// also when EST has been turned off since.
func (d *Daemon) sweepDeliveries(ctx context.Context) error {
	_, err := d.deliveries.Sweep(ctx)
	return err
}

// keepDeliveries records, on the way out, which keys arrived while the database could not
// be written.
func (d *Daemon) keepDeliveries() {
	if d.deliveries == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), parting)
	defer cancel()
	if err := d.deliveries.Record(ctx); err != nil {
		d.Logger.ErrorContext(ctx, "it could not be recorded that some keys were delivered; the next start revokes their certificates", "error", err)
	}
}
