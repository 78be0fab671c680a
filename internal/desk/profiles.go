package desk

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"

	"chancery/internal/admin"
	"chancery/internal/ca"
)

// Profile is a set of rules for certificates, in short.
type Profile struct {
	Name        string   `json:"name"`
	Summary     string   `json:"summary"`
	Rooms       []string `json:"rooms"`       // who may ask
	Identifiers []string `json:"identifiers"` // types of names taken
	Life        string   `json:"life"`        // unless asked otherwise
	MaxLife     string   `json:"max_life"`
	Own         bool     `json:"own"` // not, or not as, shipped
}

// Profiles is the output of profile.list, by name.
type Profiles struct {
	Profiles []Profile `json:"profiles"`
}

func (d *Desk) listProfiles(context.Context, admin.Caller, struct{}) (Profiles, error) {
	out := Profiles{Profiles: []Profile{}}
	for _, name := range slices.Sorted(maps.Keys(d.Authority.Profiles)) {
		out.Profiles = append(out.Profiles, d.profileShown(d.Authority.Profiles[name]))
	}
	return out, nil
}

func (d *Desk) profileShown(p *ca.Profile) Profile {
	s := Profile{Name: p.Name, Summary: p.Summary, Rooms: p.Rooms, Identifiers: slices.Clone(p.Identifiers), Life: p.Life, MaxLife: p.MaxLife}
	switch {
	case p.Endless:
		s.Life, s.MaxLife = "endless", "endless"
	case s.MaxLife == "":
		s.MaxLife = s.Life
	}
	if s.Identifiers == nil {
		s.Identifiers = []string{}
	}
	shipped := ca.ShippedText(p.Name)
	s.Own = shipped == nil || !bytes.Equal(d.profileText(p.Name), shipped)
	return s
}

// profileText gives the file that a profile was read from.
func (d *Desk) profileText(name string) []byte {
	if d.ProfileText != nil {
		if text := d.ProfileText(name); text != nil {
			return text
		}
	}
	return ca.ShippedText(name)
}

// Named is the input of profile.show.
type Named struct {
	Name string `json:"name"`
}

// ProfileRules is the output of profile.show.
type ProfileRules struct {
	Profile
	Text string `json:"text"` // the profile's file, TOML
}

func (d *Desk) showProfile(_ context.Context, _ admin.Caller, in Named) (ProfileRules, error) {
	if in.Name == "" {
		return ProfileRules{}, ca.Errorf(ca.Invalid, "say which profile; see: chancery profile list")
	}
	p, err := d.profile(in.Name)
	if err != nil {
		return ProfileRules{}, err
	}
	return ProfileRules{Profile: d.profileShown(p), Text: string(d.profileText(p.Name))}, nil
}

// profile finds by name, the usual one for "".
func (d *Desk) profile(name string) (*ca.Profile, error) {
	if name == "" {
		name = usualProfile
	}
	if p, ok := d.Authority.Profiles[name]; ok {
		return p, nil
	}
	detail := "there is no profile " + strings.ToValidUTF8(clip(name), "?")
	for known := range maps.Keys(d.Authority.Profiles) {
		if strings.EqualFold(known, name) || strings.ReplaceAll(known, "-", "") == strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(name)) {
			return nil, ca.Errorf(ca.NotFound, "%s; did you mean %s?", detail, known)
		}
	}
	return nil, ca.Errorf(ca.NotFound, "%s; see: chancery profile list", detail)
}
