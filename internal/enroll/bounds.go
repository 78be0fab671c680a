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

// What one certificate may ask of the world, whatever its owner wrote into the DNS.
const (
	mostCAs    = 16
	mostOffers = 48 // a CA may stand in a plan for several kinds and accounts
)

// few leaves of a plan the best, so that an owner who names hundreds of CAs costs no more
// than one who names a few, and says how many were left out.
func (r *run) few(plan *caa.Plan) {
	cas := map[string]bool{}
	var kept []caa.Offer
	left := 0
	for _, o := range plan.Offers {
		at := r.asked(o.Issuer, o.Default)
		if !cas[at] && len(cas) == mostCAs || len(kept) == mostOffers {
			left++
			continue
		}
		cas[at] = true
		kept = append(kept, o)
	}
	if left > 0 {
		plan.Offers = kept
		plan.Notes = append(plan.Notes, fmt.Sprintf("%d offers are left out: at most %d CAs are asked for one certificate, the best", left, mostCAs))
	}
}

// total is the longest time for all CAs of the run; 0 is no limit but theirs. Where nobody
// waits and nothing is there yet, or failed before, a quarter will do: the next run is not
// far, and other certificates wait for the worker.
func (r *run) total() time.Duration {
	t := r.engine.config.Settings.Total
	if r.options.Unattended && (r.record.Current == nil || r.record.Tries.Failures > 0) {
		t /= 4
	}
	return t
}

// split shares the time among the CAs of the plan, so that the last gets its turn also if
// the first ones hang.
func (r *run) split(total time.Duration, offers []caa.Offer) {
	cas := map[string]bool{}
	for _, o := range offers {
		cas[r.asked(o.Issuer, o.Default)] = true
	}
	most := r.engine.config.Settings.Patience
	if r.most = most; total > 0 {
		r.most = min(most, max(total/time.Duration(max(len(cas), 1)), most/10))
	}
}

// perCA is the longest time for one CA.
func (r *run) perCA() time.Duration {
	if r.most > 0 {
		return r.most
	}
	return r.engine.config.Settings.Patience
}
