// Package daemon is the one place that wires everything: it turns a
// configuration into a store, keys, an authority, rooms and listeners, runs the
// background work, and shuts it all down. It decides no policy.
package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"chancery/internal/acmeserver"
	"chancery/internal/admin"
	"chancery/internal/config"
	"chancery/internal/confirm"
	"chancery/internal/estserver"
	"chancery/internal/srpfront"
	"chancery/internal/status"
)

// Options is what a daemon is made from. Level may be nil; with it a reload can
// change how much is logged.
type Options struct {
	Config     *config.Config
	ConfigPath string
	Logger     *slog.Logger
	Level      *slog.LevelVar
	Wrap       func(http.Handler) http.Handler // around the public handler; nil: nothing. For testca.
}

// Daemon is a running server. Start makes it; all methods are safe for
// concurrent use.
type Daemon struct {
	Options
	house
	nonces
	metrics   *metrics
	listeners listeners
	cert      servingCertificate
	acme      atomic.Pointer[acmeserver.Server] // replaced by Reload
	est       atomic.Pointer[estserver.Server]  // nil: none; replaced by Reload
	delegates delegates
	status    *status.Server
	page      *confirm.Page                // where customers confirm
	public    atomic.Pointer[http.Handler] // what the public listener serves; replaced by Reload
	office    atomic.Pointer[http.Handler] // what administrators are served; replaced by Reload
	limits    atomic.Pointer[limits]       // replaced by Reload
	front     *srpfront.Front              // nil: none
	servers   []*http.Server
	failed    chan error
	stop      context.CancelFunc
	work      sync.WaitGroup
	closed    chan struct{}
	closing   sync.Once
	reloading sync.Mutex     // held by Reload, and by Close
	applied   *config.Config // the last configuration that Reload took over; guarded by reloading
	// replaced are the rooms of configurations before, whose validations may be
	// under way; owned by reloading. There are as many as there were reloads.
	replaced []*acmeserver.Server
	// deliveries are those of made keys, whatever room began them.
	deliveries *estserver.Deliveries
}

// Start opens everything and listens. When it returns, requests are answered.
// If there is no hierarchy yet, it makes one. Errors say what to do; nothing
// keeps running then.
func Start(ctx context.Context, o Options) (_ *Daemon, err error) {
	d := &Daemon{Options: o, metrics: newMetrics(), failed: make(chan error, 8), closed: make(chan struct{})}
	d.delegates.daemon = d
	defer func() {
		if err != nil {
			d.release()
		}
	}()
	// Before anything is made: a first start that fails leaves no authority behind.
	if err = Check(o.Config); err != nil {
		return nil, err
	}
	if err = noDumps(o.Config.ESTKeysMade()); err != nil {
		return nil, fmt.Errorf("core dumps cannot be turned off: %w", err)
	}
	if err = own(o.Config); err != nil {
		return nil, err
	}
	if d.listeners, err = listen(o.Config); err != nil {
		return nil, err
	}
	o.Config.Bound(d.listeners.publicPort(), d.listeners.statusPort())
	if d.house, err = open(ctx, o); err != nil {
		return nil, err
	}
	if d.founded, err = d.found(ctx); err != nil {
		return nil, err
	}
	if err = d.wire(ctx); err != nil {
		return nil, err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.stop = stop
	d.startWork(background)
	if err = d.serveFront(background); err != nil {
		return nil, err
	}
	d.serve()
	return d, nil
}

// wire makes the rooms and what stands before them.
func (d *Daemon) wire(ctx context.Context) error {
	d.status = status.New(status.Config{
		Authority: d.authority, Revocations: d.store, Clock: time.Now, Logger: d.Logger, OCSPLife: d.Config.Status.OCSPLife.Std(),
		MaxAge: d.Config.Status.MaxAge.Std(),
	})
	d.cert.hosts = hostsOf(d.Config)
	foreign, err := readForeign(d.Config.EST)
	if err != nil {
		return err
	}
	d.cert.foreign.Store(foreign)
	if err := d.firstCertificate(ctx); err != nil {
		return err
	}
	if err := d.openNonces(ctx); err != nil {
		return err
	}
	if err := d.openPage(); err != nil {
		return err
	}
	l, err := newLimits(d.Config.Limits, nil)
	if err != nil {
		return err
	}
	room, err := d.acmeRoom(d.Config, l)
	if err != nil {
		return err
	}
	d.deliveries = d.newDeliveries()
	devices, err := d.estRoom(d.Config, l)
	if err != nil {
		return err
	}
	d.limits.Store(l)
	d.acme.Store(room)
	d.est.Store(devices)
	d.publish()
	return nil
}

// Directory gives the ACME directory's URL.
func (d *Daemon) Directory() string { return d.BaseURL() + "/acme/directory" }

// BaseURL gives the URL that clients know, without a slash at its end.
func (d *Daemon) BaseURL() string { return d.Config.URL.Base }

// StatusURL gives the URL that certificates point to.
func (d *Daemon) StatusURL() string { return d.Config.URL.Status }

// Socket gives the path on which administrators are served.
func (d *Daemon) Socket() string { return admin.SocketPath(d.Config.Data) }

// Roots gives the certificates of the roots, the newest first.
func (d *Daemon) Roots() []*x509.Certificate { return d.authority.Issuers().Roots() }

// Founded tells whether this start made the hierarchy.
func (d *Daemon) Founded() bool { return d.founded }

// Wait returns when the daemon was closed (nil) or one of its listeners failed.
func (d *Daemon) Wait() error {
	select {
	case err := <-d.failed:
		return err
	case <-d.closed:
		return nil
	}
}

// Close stops listening, lets requests and validations under way end until ctx
// does, and closes the store. What did not end in time is taken over at the
// next start, or by another replica.
func (d *Daemon) Close(ctx context.Context) error {
	var errs []error
	d.closing.Do(func() {
		if err := closeServers(ctx, d.servers); err != nil {
			errs = append(errs, fmt.Errorf("some requests were cut off: %w", err))
		}
		d.reloading.Lock()
		defer d.reloading.Unlock()
		if err := closeRooms(ctx, append(d.replaced, d.acme.Load())); err != nil {
			errs = append(errs, fmt.Errorf("some validations go on after the next start: %w", err))
		}
		d.release()
		close(d.closed)
	})
	return errors.Join(errs...)
}

// release lets go of everything that is held.
func (d *Daemon) release() {
	if d.stop != nil {
		d.stop()
	}
	d.work.Wait()
	d.listeners.close()
	d.keepSpent()
	d.keepDeliveries()
	if d.db != nil {
		if err := d.db.Close(); err != nil {
			d.Logger.Error("closing the database failed", "error", err)
		}
	}
}

// serve hands each listener to its server.
func (d *Daemon) serve() {
	d.run(d.listeners.public, d.publicServer())
	d.run(d.listeners.status, plain(d.statusHandler()))
	if d.listeners.est != nil {
		s := plain(d.devicesHandler(false))
		s.TLSConfig = d.secured(d.Config.Listen.ESTNewest)
		d.run(d.listeners.est, s)
	}
	if d.listeners.terminator != nil {
		d.run(d.listeners.terminator, plain(d.terminatorHandler()))
	}
	if d.listeners.metrics != nil {
		d.run(d.listeners.metrics, plain(d.metricsHandler()))
	}
	d.run(d.listeners.admin, d.adminServer())
}

func (d *Daemon) run(l net.Listener, s *http.Server) {
	s.ErrorLog = slog.NewLogLogger(d.Logger.Handler(), slog.LevelDebug)
	dropUnused(s)
	d.servers = append(d.servers, s)
	go func() {
		var err error
		if s.TLSConfig != nil {
			err = s.ServeTLS(l, "", "")
		} else {
			err = s.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			d.failed <- fmt.Errorf("the listener on %s failed: %w", l.Addr(), err)
		}
	}()
}
