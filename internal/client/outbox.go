package client

import (
	"context"
	"path/filepath"

	"chancery/internal/enroll"
	"chancery/internal/notify"
)

// openOutbox opens the messages that wait in the data directory, and the ways to send
// them.
func openOutbox(o Options) (*notify.Outbox, error) {
	var channels []notify.Channel
	if o.Journal != nil {
		channels = append(channels, o.Journal)
	}
	return notify.Open(filepath.Join(o.Settings.Data, "messages"), notify.Options{Channels: channels, Now: o.Now})
}

// postman hands the engine's notices to the outbox.
type postman struct{ outbox *notify.Outbox }

// Put is enroll.Notifier's.
func (p postman) Put(ctx context.Context, n enroll.Notice) error {
	severity := map[enroll.Severity]notify.Severity{enroll.Warning: notify.Warning, enroll.Error: notify.Error}[n.Severity]
	return p.outbox.Put(ctx, notify.Message{
		ID: n.ID, Time: n.Time, Severity: severity, Subject: n.Subject, Text: n.Text, Data: n.Data,
	})
}
