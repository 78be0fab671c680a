package client

import (
	"context"
	"time"

	"chancery/internal/enroll/agent"
	"chancery/internal/notify"
)

// Parts are what an agent over this client works with: the engine, what it asks CAs, the
// outbox, and the certificates of the settings.
func (c *Client) Parts() (agent.Parts, error) {
	s := c.Settings
	p := agent.Parts{
		Runner: c.Engine, Advisor: c.Engine.Advisor(), Post: mailbox{postman{c.Outbox}, c.Outbox},
		Settings: agent.Settings{
			Before: s.Renew.Before, IgnoreARI: !s.Renew.ARI, Jitter: s.Renew.Jitter.Std(), Workers: s.Renew.Workers,
			AllowCAChange: s.Renew.AllowCAChange, PinCA: s.Renew.PinCA,
		},
	}
	for _, one := range s.Certificates {
		if one.Disabled {
			p.Disabled = append(p.Disabled, one.Label())
			continue
		}
		sheet, err := one.Sheet()
		if err != nil {
			return agent.Parts{}, err
		}
		p.Wanted = append(p.Wanted, sheet)
	}
	return p, nil
}

// mailbox is the outbox as the agent sees it.
type mailbox struct {
	postman
	outbox *notify.Outbox
}

// Flush is agent.Post's.
func (m mailbox) Flush(ctx context.Context) error { return m.outbox.Flush(ctx) }

// Next is agent.Post's.
func (m mailbox) Next() (time.Time, bool) { return m.outbox.Next() }
