package daemon

import (
	"context"
	"net/http"
	"time"

	"chancery/internal/acmeserver"

	"golang.org/x/sync/errgroup"
)

// glance is how long servers and rooms have to say that nothing is under way.
const glance = 100 * time.Millisecond

// closeServers lets the requests of all servers end until ctx does. An error
// says that some did not: that ctx has ended already is none.
func closeServers(ctx context.Context, servers []*http.Server) error {
	ctx, done := atLeast(ctx, glance)
	defer done()
	var all errgroup.Group
	for _, s := range servers {
		all.Go(func() error {
			if s.Shutdown(ctx) == nil {
				return nil
			}
			s.Close()
			return context.Cause(ctx)
		})
	}
	return all.Wait()
}

// closeRooms lets the validations of all rooms end until ctx does. An error says
// that some did not: that ctx has ended already is none.
func closeRooms(ctx context.Context, rooms []*acmeserver.Server) error {
	ctx, done := atLeast(ctx, glance)
	defer done()
	var all errgroup.Group
	for _, room := range rooms {
		all.Go(func() error {
			if room.Close(ctx) == nil {
				return nil
			}
			return context.Cause(ctx)
		})
	}
	return all.Wait()
}

// atLeast gives a context that ends with ctx, but not before d has passed.
func atLeast(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	begin := time.Now()
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(d-time.Since(begin), func() { cancel(context.Cause(ctx)) })
	})
	return longer, func() { stop(); cancel(nil) }
}
