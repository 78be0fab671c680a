package daemon

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"chancery/internal/ca"
	"chancery/internal/config"
	"chancery/internal/estserver"
	"chancery/internal/nonce"
	"chancery/internal/sqlstore"
)

// Check judges what a configuration says of EST as a start would, but opens nothing
// that a running server has: profiles that there are, files that can be read, labels
// and makers that can be served. The error is [config.Problems].
func Check(c *config.Config) error {
	if !c.EST.Enabled {
		return nil
	}
	var problems config.Problems
	note := func(key string, err error) {
		for _, one := range parts(err) {
			problems = append(problems, config.Problem{Key: key, Text: one.Error()})
		}
	}
	_, err := readForeign(c.EST)
	note("est", err)
	in, err := estConfig(c, slog.New(slog.DiscardHandler))
	note("est", err)
	profiles, err := loadProfiles(c.Profiles)
	note("profiles", err)
	if len(problems) == 0 {
		problems = patternProblems(c)
		withoutBadPatterns(in.Labels) // which would be told again, without their place
		note("est", checkRoom(in, profiles))
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// patternProblems judges the patterns of all labels, each at its place in the file.
func patternProblems(c *config.Config) (problems config.Problems) {
	for i, l := range c.EST.Labels {
		for word, list := range map[string][]string{"names": l.Names, "ra_names": l.RANames} {
			for _, text := range list {
				if err := estserver.CheckPattern(text); err != nil {
					problems = append(problems, c.ProblemAt(fmt.Sprintf("est.label[%d].%s", i+1, word), err.Error()))
				}
			}
		}
	}
	slices.SortStableFunc(problems, func(a, b config.Problem) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key)) })
	return problems
}

// withoutBadPatterns puts a good pattern in the place of each bad one.
func withoutBadPatterns(labels []estserver.Label) {
	for i := range labels {
		for _, list := range []*[]string{&labels[i].Names, &labels[i].RANames} {
			*list = slices.Clone(*list)
			for j, text := range *list {
				if estserver.CheckPattern(text) != nil {
					(*list)[j] = "own"
				}
			}
		}
	}
}

// checkRoom makes the room with a store and an authority that are never used.
func checkRoom(in estserver.Config, profiles map[string]*ca.Profile) (err error) {
	if in.Authority, err = ca.New(ca.Config{Profiles: profiles, Clock: time.Now}); err != nil {
		return err
	}
	ring, err := nonce.NewRing([]nonce.Key{nonce.NewKey(time.Now())})
	if err != nil {
		return err
	}
	if in.Nonces, err = nonce.NewSource(nonce.Config{Purpose: noncePurpose, Ring: ring}); err != nil {
		return err
	}
	store := sqlstore.New(nil)
	in.Ledger, in.Requests, in.Credentials, in.DeviceKeys, in.Passphrases, in.Certificates = store, store, store, store, store, store
	in.Deliveries = estserver.NewDeliveries(estserver.DeliveriesConfig{Store: store, Ledger: store, Authority: in.Authority})
	_, err = estserver.New(in)
	return err
}

// parts gives what errors.Join joined, each for itself; of nil nothing.
func parts(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // the outermost alone
	if !ok {
		return []error{err}
	}
	var all []error
	for _, one := range joined.Unwrap() {
		all = append(all, parts(one)...)
	}
	return all
}
