package acmeserver

import (
	"context"

	"chancery/internal/admin"
	"chancery/internal/ca"
)

// directoryOperations are what administrators can ask of the directories.
func (s *Server) directoryOperations() []admin.Operation {
	return []admin.Operation{
		admin.Op(admin.Spec{Name: "acme.directory.list", Role: admin.Anyone, Summary: "lists the ACME directories"}, s.listDirectories),
		admin.Op(admin.Spec{Name: "acme.directory.export", Role: admin.Anyone, Summary: "gives an ACME directory as a foreign web server is to serve it at /.well-known/acme"}, s.exportDirectory),
	}
}

// DirectoryShown is a directory as acme.directory.list shows it.
type DirectoryShown struct {
	Name          string   `json:"name,omitempty"` // "" for the first
	URL           string   `json:"url"`
	Hosts         []string `json:"hosts,omitempty"` // whose /.well-known/acme means it
	Profiles      []string `json:"profiles"`
	CAAIdentities []string `json:"caa_identities,omitempty"`
	RequireEAB    bool     `json:"require_eab"`
	Terms         string   `json:"terms,omitempty"`
}

// DirectoriesShown is the output of acme.directory.list, the first directory first.
type DirectoriesShown struct {
	Directories []DirectoryShown `json:"directories"`
}

func (s *Server) listDirectories(context.Context, admin.Caller, struct{}) (DirectoriesShown, error) {
	out := DirectoriesShown{Directories: []DirectoryShown{}}
	for _, e := range s.entrances {
		out.Directories = append(out.Directories, DirectoryShown{Name: e.Name, URL: e.url, Hosts: e.Hosts, Profiles: e.Profiles,
			CAAIdentities: e.CAAIdentities, RequireEAB: e.RequireEAB, Terms: e.Terms})
	}
	return out, nil
}

// DirectoryNamed is the input of acme.directory.export.
type DirectoryNamed struct {
	Name string `json:"name,omitempty"` // "" for the first
}

// DirectoryExported is the output of acme.directory.export.
type DirectoryExported struct {
	URL    string `json:"url"`
	Object []byte `json:"object"` // the very octets that this server gives (RFC 8555 §7.1.1)
}

func (s *Server) exportDirectory(_ context.Context, _ admin.Caller, in DirectoryNamed) (DirectoryExported, error) {
	for _, e := range s.entrances {
		if e.Name == in.Name {
			return DirectoryExported{URL: e.url, Object: e.object}, nil
		}
	}
	return DirectoryExported{}, ca.Errorf(ca.NotFound, "there is no ACME directory %q; see: chancery directory list", clip(in.Name))
}
