package enroll

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"chancery/caa"
	"chancery/internal/enroll/directory"
	"chancery/internal/enroll/guard"
	"chancery/internal/enroll/vault"
)

// Place is a CA at which an account is or can be, as [Engine.Place] finds it.
type Place struct {
	Issuer    string // its issuer name, if it goes by one
	Label     string // in the settings, if it is there
	Directory string // where its directory is asked for: its name in the vault

	chosen *CA // that no setting describes, and whose URL a person gave
}

// Name is what people call it.
func (p Place) Name() string {
	switch {
	case p.Label != "":
		return p.Label
	case p.Issuer != "":
		return p.Issuer
	}
	return p.Directory
}

// offer is the place as the turns of the engine know it.
func (p Place) offer() caa.Offer {
	if p.chosen != nil {
		return caa.Offer{Default: p.chosen.Label, Issuer: p.Issuer}
	}
	return caa.Offer{Issuer: p.Issuer, Default: p.Label}
}

// UnknownError says that nobody knows which CA is meant.
type UnknownError struct{ Who string }

// Error says how to name one.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("no CA is called %s: give the label of a [[ca]] in the settings, an issuer name as in CAA records (ca.example), or the URL of a directory", guard.Shown(e.Who))
}

// Place finds the CA that a person means by the label that it has in the settings, by its
// issuer name, or by the URL of its directory. Nothing is asked of anybody. A name that
// is in neither settings nor vault is a stranger's, with its directory at the well-known
// place (D10). The error is an *UnknownError, or the vault's.
func (e *Engine) Place(_ context.Context, who string) (Place, error) {
	who = strings.TrimSpace(who)
	if strings.Contains(who, "://") {
		return e.placeAt(who)
	}
	r := &run{engine: e}
	for _, c := range e.config.Settings.CAs {
		if c.Label == who {
			return r.place(&c), nil
		}
	}
	who = strings.ToLower(strings.TrimSuffix(who, "."))
	if c := e.config.Settings.ca(who, ""); c != nil {
		p := r.place(c)
		p.Issuer = who
		return p, nil
	}
	if s, err := caa.ParseSubject(who); err != nil || s.Form != caa.Host || !strings.Contains(s.Name, ".") {
		return Place{}, &UnknownError{who}
	} else {
		who = s.Name
	}
	return Place{Issuer: who, Directory: r.asked(who, "")}, nil
}

// place is a configured CA's.
func (r *run) place(c *CA) Place {
	p := Place{Label: c.Label, Directory: c.Directory}
	if len(c.Issuers) > 0 {
		p.Issuer = strings.ToLower(c.Issuers[0])
	}
	if p.Directory == "" {
		p.Directory = r.asked(p.Issuer, c.Label)
	}
	return p
}

// placeAt finds the CA whose directory is asked for at a URL.
func (e *Engine) placeAt(at string) (Place, error) {
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return Place{}, &UnknownError{at}
	}
	r := &run{engine: e}
	for _, c := range e.config.Settings.CAs {
		if p := r.place(&c); sameURL(p.Directory, at) {
			return p, nil
		}
	}
	known, err := e.config.Vault.CA(at)
	if err != nil {
		return Place{}, err
	}
	for _, issuer := range known.Issuers {
		if sameURL("https://"+issuer+directory.WellKnown, at) {
			return Place{Issuer: issuer, Directory: known.Directory}, nil // found by CAA: a stranger
		}
	}
	p := Place{Directory: known.Directory, chosen: &CA{Label: known.Directory, Directory: known.Directory, Issuers: known.Issuers, Default: true}}
	return p, nil
}

// AccountReport is what is known of a CA and the account there.
type AccountReport struct {
	Name      string         `json:"name"` // by which commands take it
	Label     string         `json:"label,omitempty"`
	Issuers   []string       `json:"issuers,omitempty"`
	Directory string         `json:"directory"`
	Account   *vault.Account `json:"account,omitempty"`
	// Unfinished: a change of the key, or the making of the account, was interrupted; the
	// next use of the account completes it.
	Unfinished bool          `json:"unfinished,omitempty"`
	EABKeyID   string        `json:"eabKeyID,omitempty"` // of the external account binding that is entered
	Terms      []vault.Terms `json:"terms,omitempty"`    // oldest first
	Circuit    vault.Circuit `json:"circuit,omitzero"`
	SetBack    bool          `json:"setBack,omitempty"` // it comes after others now
	// Incident is a row of failures that goes on (D16).
	Incident *vault.Incident `json:"incident,omitempty"`
}

// Accounts reports on each CA of the settings, in their order, and on each other of the
// vault, by name. Nothing is asked of anybody.
func (e *Engine) Accounts(ctx context.Context) ([]AccountReport, error) {
	known, damaged := e.config.Vault.CAs()
	r := &run{engine: e}
	var places, others []Place
	for _, c := range e.config.Settings.CAs {
		places = append(places, r.place(&c))
	}
	for _, ca := range known {
		if slices.ContainsFunc(places, func(p Place) bool { return sameURL(p.Directory, ca.Directory) }) {
			continue
		}
		p, err := e.placeAt(ca.Directory)
		if err != nil {
			p = Place{Directory: ca.Directory}
		}
		others = append(others, p)
	}
	slices.SortFunc(others, func(a, b Place) int { return strings.Compare(a.Name(), b.Name()) })
	reports := []AccountReport{}
	for _, p := range append(places, others...) {
		rep, err := e.Account(ctx, p)
		if _, bad := errors.AsType[*vault.FileError](err); bad && damaged != nil {
			continue // told already
		}
		if err != nil {
			return nil, err
		}
		reports = append(reports, rep)
	}
	return reports, damaged
}

// Account reports on one CA. Nothing is asked of anybody.
func (e *Engine) Account(_ context.Context, p Place) (AccountReport, error) {
	v := e.config.Vault
	known, err := v.CA(p.Directory)
	if err != nil {
		return AccountReport{}, err
	}
	rep := AccountReport{Name: p.Name(), Label: p.Label, Directory: p.Directory, Account: known.Account, Terms: known.Terms,
		Circuit: known.Circuit, SetBack: open(known.Circuit, e.config.Now()), Incident: known.Incident}
	for _, issuer := range append([]string{p.Issuer}, append(e.issuers(p), known.Issuers...)...) {
		if issuer != "" && !slices.ContainsFunc(rep.Issuers, func(n string) bool { return strings.EqualFold(n, issuer) }) {
			rep.Issuers = append(rep.Issuers, issuer)
		}
	}
	if key, next, err := v.AccountKeys(p.Directory); err == nil {
		rep.Unfinished = next != nil || key != nil && known.Account == nil
	}
	r := &run{engine: e, chosen: p.chosen}
	if external, err := e.binding(append([]string{p.Directory}, r.eabNames(p.Issuer, p.Label)...)...); err == nil {
		rep.EABKeyID = external.KeyID
	}
	return rep, nil
}

// issuers are the names that the settings give a CA.
func (e *Engine) issuers(p Place) []string {
	if c := e.config.Settings.ca(p.Issuer, p.Label); c != nil {
		return c.Issuers
	}
	return nil
}

// ClearIncident says that a person has seen a CA's failures: its incident is over without
// a message, and it is not set back any more.
func (e *Engine) ClearIncident(ctx context.Context, p Place) error {
	return e.config.Vault.UpdateCA(ctx, p.Directory, func(c *vault.CA) error {
		c.Incident, c.Circuit = nil, vault.Circuit{}
		return nil
	})
}
