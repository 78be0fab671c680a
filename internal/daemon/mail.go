package daemon

import (
	"context"
	"fmt"

	"chancery/internal/config"
	"chancery/internal/notify"
	"chancery/internal/registry"
)

// mailer hands the registry's letters to the mail server of the configuration.
type mailer struct{ server notify.SMTP }

// Mail implements [registry.Mailer].
func (m mailer) Mail(ctx context.Context, l registry.Letter) error {
	return m.server.Send(ctx, notify.Mail{To: l.To, Subject: l.Subject, Text: l.Text})
}

// mailerOf gives the way to the customers' mailboxes; nil if there is none. The
// password is read once now, so that a wrong reference is told at the start, and
// again for each mail, so that it can be changed.
func mailerOf(c config.Mail) (registry.Mailer, error) {
	if c.Server == "" {
		return nil, nil
	}
	server := notify.SMTP{Server: c.Server, TLS: notify.Encryption(c.TLS), From: c.From, User: c.User}
	if c.User != "" {
		server.Password = func() (string, error) {
			secret, err := named{"mail.password", c.Password}.read()
			if err != nil {
				return "", err
			}
			return secret.Reveal(), nil
		}
		if _, err := server.Password(); err != nil {
			return nil, err
		}
	}
	if err := server.Check(); err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	return mailer{server}, nil
}
