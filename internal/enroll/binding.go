package enroll

import (
	"errors"

	"chancery/acme"
	"chancery/internal/enroll/vault"
)

// binding finds the external account binding for the first of the names that has one: of
// those that were entered by hand, and then of those of the settings. The error is
// vault.ErrNone if there is none.
func (e *Engine) binding(who ...string) (*acme.ExternalAccount, error) {
	external, err := e.config.Vault.EAB(who...)
	if e.config.EAB == nil || !errors.Is(err, vault.ErrNone) {
		return external, err
	}
	return e.config.EAB(who...)
}
