package client

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"chancery/internal/enroll"
	"chancery/internal/enroll/settings"
	"chancery/internal/keys"
	"chancery/internal/notify"
)

// openOutbox opens the messages that wait in the data directory, and the ways to send
// them: those of the settings, and always the log.
func openOutbox(o Options) (*notify.Outbox, error) {
	channels, err := channels(o.Settings.Notify)
	if err != nil {
		return nil, err
	}
	journal := o.Journal
	if journal == nil {
		journal = notify.Prefixed(os.Stderr)
	}
	return notify.Open(filepath.Join(o.Settings.Data, "messages"), notify.Options{Channels: append(channels, journal), Now: o.Now})
}

// channels makes the ways that are configured.
func channels(s settings.Notify) ([]notify.Channel, error) {
	var all []notify.Channel
	add := func(section string, c notify.Channel, err error) error {
		if err != nil {
			return fmt.Errorf("[notify.%s]: %w", section, err)
		}
		all = append(all, c)
		return nil
	}
	if s.Mail.Server != "" {
		mail := notify.SMTP{Server: s.Mail.Server, TLS: notify.Encryption(s.Mail.Security), From: s.Mail.From, User: s.Mail.User, Password: secret(s.Mail.Password)}
		boxes, err := mail.Channels(s.Mail.To...)
		if err != nil {
			return nil, fmt.Errorf("[notify.mail]: %w", err)
		}
		all = append(all, boxes...)
	}
	if s.Webhook.URL != "" || s.Webhook.URLFrom != "" {
		url := s.Webhook.URL
		if s.Webhook.URLFrom != "" {
			text, err := keys.ReadSecret(string(s.Webhook.URLFrom))
			if err != nil {
				return nil, fmt.Errorf("[notify.webhook] url_from: %w", err)
			}
			url = text.Reveal()
		}
		c, err := notify.Webhook{URL: url, Token: secret(s.Webhook.Token), Secret: secretKey(s.Webhook.Secret)}.Channel()
		if err := add("webhook", c, err); err != nil {
			return nil, err
		}
	}
	if len(s.Exec.Command) > 0 {
		c, err := notify.Command{Command: s.Exec.Command, Timeout: s.Exec.Timeout.Std()}.Channel()
		if err := add("exec", c, err); err != nil {
			return nil, err
		}
	}
	if s.Syslog.Enabled {
		c, err := notify.Syslog{Server: s.Syslog.Server}.Channel()
		if err := add("syslog", c, err); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// secret reads a secret each time it is needed; nil for none.
func secret(r settings.Reference) func() (string, error) {
	if r == "" {
		return nil
	}
	return func() (string, error) {
		s, err := keys.ReadSecret(string(r))
		return s.Reveal(), err
	}
}

// secretKey is secret as octets.
func secretKey(r settings.Reference) func() ([]byte, error) {
	read := secret(r)
	if read == nil {
		return nil
	}
	return func() ([]byte, error) {
		text, err := read()
		return []byte(text), err
	}
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
