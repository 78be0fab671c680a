package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"chancery/internal/anchors"
	"chancery/internal/config"
	"chancery/internal/estserver"
)

// estMakers reads the trust anchors of the makers that a configuration names.
func estMakers(c *config.Config, log *slog.Logger) (map[string]estserver.Maker, error) {
	all := map[string]estserver.Maker{}
	var errs []error
	for i, m := range c.EST.Makers {
		set, err := estMaker(&m, log, c.Loopback())
		if err != nil {
			errs = append(errs, fmt.Errorf("est.maker[%d] (%s): %w", i+1, m.Name, err))
			continue
		}
		all[m.Name] = set
	}
	return all, errors.Join(errs...)
}

func estMaker(m *config.Maker, log *slog.Logger, loopback bool) (*anchors.Set, error) {
	in := anchors.Config{
		Name: m.Name, Revocation: anchors.Revocation(m.Revocation), Soft: m.RevocationSoft, OCSP: m.OCSP, Loopback: loopback, Logger: log,
	}
	var err error
	if in.Roots, err = readCertificates(m.Roots); err != nil {
		return nil, fmt.Errorf("roots: %w", err)
	}
	if m.Intermediates != "" {
		if in.Intermediates, err = readCertificates(m.Intermediates); err != nil {
			return nil, fmt.Errorf("intermediates: %w", err)
		}
	}
	for _, place := range m.CRLs {
		if !strings.Contains(place, "://") {
			place = "file:" + place
		}
		in.CRLs = append(in.CRLs, place)
	}
	return anchors.New(in)
}
