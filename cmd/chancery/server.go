package main

import (
	"context"
	"os"

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
	return admin.Call[In, Out](ctx, client, name, in)
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
