package enroll

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chancery/caa"
	"chancery/internal/enroll/vault"
)

// known gives all CAs of the vault. A record that cannot be read costs its own CA, and
// nobody else: it is told, and left out.
func (r *run) known(ctx context.Context) []vault.CA {
	cas, err := r.engine.config.Vault.CAs()
	for _, e := range each(err) {
		r.warn("what is known of a CA cannot be read: " + clean(e))
		r.notify(ctx, damagedNotice(e, r.engine.config.Now()))
	}
	return cas
}

// each takes joined errors apart.
func each(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// damagedNotice tells people of a damaged file, once a day while it is.
func damagedNotice(err error, now time.Time) Notice {
	path := ""
	if file, ok := errors.AsType[*vault.FileError](err); ok {
		path = file.Path
	}
	return Notice{ID: stableID("damaged", path, now.UTC().Format(time.DateOnly)), Severity: Error, Subject: "A file of the client cannot be read",
		Text: clean(err), Data: map[string]any{"kind": "damaged-file", "path": path, "error": clean(err)}}
}

// readable leaves out the offers of CAs whose record cannot be read: nobody knows whether
// they are to be left alone. Without another the run has failed.
func (r *run) readable(offers []caa.Offer) ([]caa.Offer, error) {
	var kept []caa.Offer
	for _, o := range offers {
		at := r.asked(o.Issuer, o.Default)
		if _, err := r.engine.config.Vault.CA(at); err != nil {
			r.attempts = append(r.attempts, Attempt{Issuer: o.Issuer, Default: o.Default, Kind: o.Kind, Directory: at, Class: ClassSkipped,
				Error: clean(fmt.Errorf("what is known of it cannot be read: %w", err))})
			continue
		}
		kept = append(kept, o)
	}
	if len(kept) == 0 {
		return nil, &RunError{Names: names(r.subjects), Attempts: r.attempts}
	}
	return kept, nil
}
