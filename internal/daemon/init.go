package daemon

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/url"

	"chancery/internal/admin"
)

// Made is what Init made.
type Made struct {
	Roots    []*x509.Certificate
	Data     string
	Database string // "sqlite" or "postgres"
}

// Init makes keys, database and hierarchy, without listening. It refuses where
// there is a hierarchy already.
func Init(ctx context.Context, o Options) (Made, error) {
	if err := own(o.Config); err != nil {
		return Made{}, err
	}
	// Whoever has the socket has the data directory.
	socket, err := admin.Listen(admin.SocketPath(o.Config.Data))
	if err != nil {
		return Made{}, err
	}
	defer socket.Close()
	h, err := open(ctx, o)
	if err != nil {
		return Made{}, err
	}
	defer h.db.Close()
	fresh, err := h.found(ctx)
	if err != nil {
		return Made{}, err
	}
	if !fresh {
		return Made{}, fmt.Errorf("%s holds an authority already (see: chancery ca list); choose another directory with --data, or move this one away", o.Config.Data)
	}
	return Made{Roots: h.authority.Issuers().Roots(), Data: o.Config.Data, Database: h.db.Engine()}, nil
}

// withPassword puts a password into a database URL.
func withPassword(text, password string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return "", fmt.Errorf(`database.url must name a user when database.password is set: "postgres://USER@HOST/NAME"`)
	}
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String(), nil
}
