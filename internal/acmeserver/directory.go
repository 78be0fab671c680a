package acmeserver

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"chancery/acme"
)

const (
	directoryPath = "/acme/directory"
	// wellKnownPath is where a client looks that knows only the host's name. It gives
	// the directory itself, since some clients do not follow a redirect there.
	wellKnownPath = "/.well-known/acme"
	// furtherPath is followed by a further directory's name.
	furtherPath = "/acme/d/"
	// wellKnownAge is how long the directory at the well-known place may be kept.
	wellKnownAge = time.Hour
)

// Directory is an ACME directory: what is offered to those who come by it. All
// directories of a server share accounts, orders and authorisations, so an
// account's URL names one account whichever issuer name CAA records use (RFC 8657
// §5.4).
type Directory struct {
	Name          string   // in its URLs; "" for the first
	Hosts         []string // at which the well-known place means it; lower case, without port
	Profiles      []string // offered, the default first; never empty
	RequireEAB    bool
	CAAIdentities []string
	Terms         string
}

// entrance is a directory with the place where it is served.
type entrance struct {
	Directory
	url    string // of the directory
	path   string // before "new-account" and its like, on this server
	object []byte // encoded once
}

// entrances makes all of them, the first being that of the configuration itself.
func (s *Server) makeEntrances() error {
	first := Directory{Profiles: s.Profiles, RequireEAB: s.RequireEAB, CAAIdentities: s.CAAIdentities, Terms: s.Terms}
	names := map[string]bool{"": true}
	for i, d := range append([]Directory{first}, s.Directories...) {
		e := &entrance{Directory: d, url: s.Base + directoryPath, path: "/acme/"}
		if i > 0 {
			if names[d.Name] || !pathSafe(d.Name) {
				return fmt.Errorf("the ACME directory %q needs a name of its own, of lower case letters, digits and hyphens", d.Name)
			}
			names[d.Name] = true
			e.path = furtherPath + d.Name + "/"
			e.url = s.Base + e.path + "directory"
		}
		var err error
		if e.object, err = s.encodeDirectory(e); err != nil {
			return err
		}
		s.entrances = append(s.entrances, e)
	}
	return nil
}

func pathSafe(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// first gives the directory that there always is.
func (s *Server) first() *entrance { return s.entrances[0] }

// entranceOf tells by which directory a request came: what has no directory of
// its own belongs to the first.
func (s *Server) entranceOf(path string) *entrance {
	if strings.HasPrefix(path, furtherPath) {
		for _, e := range s.entrances[1:] {
			if strings.HasPrefix(path, e.path) {
				return e
			}
		}
	}
	return s.first()
}

// entranceFor tells which directory the well-known place of a host means. The
// host is as a request has it; what it says picks one of the directories and gets
// into none.
func (s *Server) entranceFor(host string) *entrance {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	for _, e := range s.entrances[1:] {
		if slices.Contains(e.Hosts, host) {
			return e
		}
	}
	return s.first()
}

// entranceResources are the paths that each directory has for itself.
func (s *Server) entranceResources(e *entrance) map[string]resource {
	get := func(context.Context, *http.Request) (*answer, error) {
		return &answer{raw: e.object, mediaType: "application/json"}, nil
	}
	return map[string]resource{
		strings.TrimPrefix(e.url, s.Base): {get: get, post: asGet(get)},
		e.path + "new-account":            {post: s.newAccount, takes: byKey},
		e.path + "new-order":              {post: s.newOrder},
		e.path + "new-authz":              {post: s.preAuthorize},
	}
}

// wellKnown gives the directory of the host that was asked, or says where it is.
func (s *Server) wellKnown(_ context.Context, r *http.Request) (*answer, error) {
	e := s.entranceFor(r.Host)
	a := &answer{maxAge: wellKnownAge}
	if s.RedirectWellKnown {
		a.status, a.location = http.StatusFound, e.url
		return a, nil
	}
	a.raw, a.mediaType = e.object, "application/json"
	return a, nil
}

// profile picks the profile: the one asked for, or the first of those offered
// (draft-ietf-acme-profiles §4).
func (e *entrance) profile(asked string) (string, error) {
	if asked == "" {
		return e.Profiles[0], nil
	}
	if !slices.Contains(e.Profiles, asked) {
		return "", notOffered(asked)
	}
	return asked, nil
}

func notOffered(profile string) error {
	return acme.NewProblem(acme.TypeInvalidProfile, "the profile %q is not offered; the directory lists those that are", clip(profile))
}
