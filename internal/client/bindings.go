package client

import (
	"fmt"
	"slices"
	"strings"

	"chancery/acme"
	"chancery/internal/enroll/settings"
	"chancery/internal/enroll/vault"
)

// bindings finds the external account bindings of the settings, by issuer name or the
// URL of the directory. Their keys are read when they are needed and kept nowhere: what
// is taken out of the settings is gone.
func bindings(s *settings.Settings) func(who ...string) (*acme.ExternalAccount, error) {
	return func(who ...string) (*acme.ExternalAccount, error) {
		for _, one := range who {
			ca, ok := Configured(s, one)
			if !ok {
				continue
			}
			external, err := ca.EAB.Read()
			if err != nil {
				return nil, fmt.Errorf("[[ca]] %s: %w", ca.Label, err)
			}
			return external, nil
		}
		return nil, fmt.Errorf("%w: an external account binding for %s", vault.ErrNone, strings.Join(who, " or "))
	}
}

// Configured gives the CA of the settings that has an external account binding and goes
// by this issuer name or directory URL.
func Configured(s *settings.Settings, who string) (settings.CA, bool) {
	for _, ca := range s.CAs {
		named := who != "" && (who == ca.Directory || slices.ContainsFunc(ca.Issuers, func(name string) bool {
			return strings.EqualFold(strings.TrimSuffix(name, "."), strings.TrimSuffix(who, "."))
		}))
		if named && ca.EAB != (settings.EAB{}) {
			return ca, true
		}
	}
	return settings.CA{}, false
}
