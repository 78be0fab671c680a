package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"chancery/internal/admin"
	"chancery/internal/config"
)

// load reads the configuration as all commands do; extra is environment that
// wins over the real one.
func (p *program) load(o config.Overrides, extra ...string) (*config.Config, []config.Warning, error) {
	if o.Data == "" {
		o.Data = p.data
	}
	return config.Load(p.config, o, append(os.Environ(), extra...))
}

// loadLoudly is load for commands that make or start something: it tells what
// is odd.
func (p *program) loadLoudly(o config.Overrides, extra ...string) (*config.Config, error) {
	c, warnings, err := p.load(o, extra...)
	for _, w := range warnings {
		p.warn("%s", w)
	}
	return c, err
}

// call does an operation on the running server.
func call[In, Out any](ctx context.Context, p *program, name string, in In) (Out, error) {
	var none Out
	c, _, err := p.load(config.Overrides{})
	if err != nil {
		return none, err
	}
	client := admin.Dial(admin.SocketPath(c.Data))
	defer client.Close()
	client.Foreign = p.foreign
	if client.Foreign == nil {
		client.Foreign = p.nameOwner
	}
	return admin.Call[In, Out](ctx, client, name, in)
}

// nameOwner tells who runs a server that is neither root's nor the caller's: root may have
// come into a directory where somebody serves his own.
func (p *program) nameOwner(e *admin.ForeignError) error {
	if p.owner != e.UID {
		p.owner = e.UID
		p.warn("%v", e)
	}
	return nil
}

// refuseOwner is nameOwner for what changes whom this machine trusts. Who called sudo is
// taken at his word about his own server.
func refuseOwner(e *admin.ForeignError) error {
	if os.Geteuid() == 0 && os.Getenv("SUDO_UID") == strconv.Itoa(e.UID) {
		return nil
	}
	return fmt.Errorf("%w, so nothing was changed: if you mean that server, ask %s for the fingerprint of its root (chancery ca root --fingerprint) and give it as --fingerprint, or name another server by --data", e, e.Owner)
}

// again gives the flags with which another command reaches the same server, with
// a space in front.
func (p *program) again() string {
	text := ""
	if p.config != "" {
		text += " --config " + p.config
	}
	if p.data != "" {
		text += " --data " + p.data
	}
	return text
}
