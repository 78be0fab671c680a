package daemon

import (
	"context"
	"net/http"
	"path/filepath"

	"chancery/internal/estserver"
	"chancery/internal/srpfront"
)

// serveFront puts the front before the TLS-SRP terminator, until ctx ends.
func (d *Daemon) serveFront(ctx context.Context) error {
	if d.listeners.srp == nil {
		return nil
	}
	front, err := srpfront.New(srpfront.Config{
		Listen: d.listeners.srp, Backend: d.Config.Listen.ESTSRPBackend, Logger: d.Logger,
		State: filepath.Join(d.Config.Data, "srp-front"),
	})
	if err != nil {
		return err
	}
	d.front = front
	d.work.Go(func() {
		if err := front.Serve(ctx); err != nil {
			d.failed <- err
		}
	})
	return nil
}

// terminatorHandler serves what the terminator hands over, and tells the front whose
// handshake was a good one.
func (d *Daemon) terminatorHandler() http.Handler {
	next := d.devicesHandler(true)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user := r.Header.Get(estserver.SRPUser); user != "" && d.front != nil {
			d.front.Arrived(user)
		}
		next.ServeHTTP(w, r)
	})
}
