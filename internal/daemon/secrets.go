package daemon

import (
	"errors"
	"fmt"
	"strings"

	"chancery/internal/config"
	"chancery/internal/keys"
)

// named is a secret that a configuration names, with the key that does.
type named struct {
	key       string
	reference config.Reference
}

// secretsOf are the secrets that a start opens.
func secretsOf(c *config.Config) (all []named) {
	if c.Keys.Unlock != "" {
		all = append(all, named{"keys.unlock", c.Keys.Unlock})
	}
	if c.Database.URL != "" && c.Database.Password != "" {
		all = append(all, named{"database.password", c.Database.Password})
	}
	if c.Mail.Server != "" && c.Mail.User != "" {
		all = append(all, named{"mail.password", c.Mail.Password})
	}
	return all
}

// read opens the secret; the error names the key.
func (n named) read() (keys.Secret, error) {
	secret, err := keys.ReadSecret(strings.TrimPrefix(string(n.reference), "passphrase-"))
	if err != nil {
		return secret, fmt.Errorf("%s: %w", n.key, err)
	}
	return secret, nil
}

// Secrets opens each secret that the configuration names as a start would, and forgets
// it. What cannot be read is a problem at its place in the configuration; a credential
// that only the service has, asked for outside of it, is a warning. Read are the keys
// whose secrets are there.
func Secrets(c *config.Config) (read []string, problems config.Problems, warnings []config.Warning) {
	for _, one := range secretsOf(c) {
		secret, err := one.read()
		secret.Wipe()
		switch {
		case err == nil:
			read = append(read, one.key)
		case errors.Is(err, keys.ErrNoCredentials):
			warnings = append(warnings, config.Warning{Key: one.key, Text: fmt.Sprintf("%s was not looked at: only the service has its credentials; "+
				"a line ExecStartPre=chancery config check in the unit looks at it", one.reference)})
		default:
			problems = append(problems, c.ProblemAt(one.key, errors.Unwrap(err).Error()))
		}
	}
	return read, problems, warnings
}
