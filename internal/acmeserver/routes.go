package acmeserver

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"path"
	"runtime/debug"
	"strings"

	"chancery/acme"
)

const (
	noncePath   = "/acme/new-nonce"
	accountPath = "/acme/account/"
)

// resource is what is at a path: what a GET gives, what a signed POST does. Most
// have the latter alone (RFC 8555 §6.3).
type resource struct {
	get  func(context.Context, *http.Request) (*answer, error)
	post func(context.Context, *call) (*answer, error)
	// takes says which keys may sign a POST.
	takes signing
}

// methods gives the value of Allow.
func (r *resource) methods() string {
	switch {
	case r.get == nil:
		return "POST, OPTIONS"
	case r.post == nil:
		return "GET, HEAD, OPTIONS"
	}
	return "GET, HEAD, POST, OPTIONS"
}

// resources are all paths of the server. Those of a resource that names are
// followed by what they name.
func (s *Server) resources() map[string]resource {
	all := map[string]resource{
		wellKnownPath:             {get: s.wellKnown},
		noncePath:                 {get: s.newNonce, post: asGet(s.newNonce)},
		accountPath + "{account}": {post: s.accountResource},
		"/acme/key-change":        {post: s.changeKey},
	}
	maps.Copy(all, s.orderResources())
	for _, e := range s.entrances {
		maps.Copy(all, s.entranceResources(e))
	}
	return all
}

// asGet answers a POST-as-GET like a GET: RFC 8555 §6.3 demands both for the
// directory and newNonce.
func asGet(get func(context.Context, *http.Request) (*answer, error)) func(context.Context, *call) (*answer, error) {
	return func(ctx context.Context, c *call) (*answer, error) {
		if err := c.readOnly(); err != nil {
			return nil, err
		}
		return get(ctx, c.http)
	}
}

// Handler gives the whole server, to be mounted at /acme/ and /.well-known/acme.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, res := range s.resources() {
		mux.Handle(pattern, s.serve(res))
	}
	mux.HandleFunc("/", s.nothing)
	return s.guarded(mux)
}

// guarded does what is done for every request, wherever it goes.
func (s *Server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.recovered(w, r)
		s.prepare(w, r)
		// The mux would redirect a path such as //acme to a clean one; no request
		// survives a redirect, as its URL is signed.
		if path.Clean("/"+r.URL.Path) != r.URL.Path {
			s.nothing(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serve answers requests for one resource.
func (s *Server) serve(res resource) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a, err := s.dispatch(w, r, res)
		switch {
		case err != nil:
			s.refuse(w, r, err)
		case a != nil:
			s.respond(w, r, a)
		}
	}
}

func (s *Server) dispatch(w http.ResponseWriter, r *http.Request, res resource) (*answer, error) {
	switch {
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", res.methods())
		// The preflight of a script's request: POST with a Content-Type of JOSE.
		w.Header().Set("Access-Control-Allow-Methods", res.methods())
		w.Header().Set("Access-Control-Allow-Headers", "Content-Type")
		w.Header().Set("Access-Control-Max-Age", "86400")
		return &answer{status: http.StatusNoContent}, nil
	case res.get != nil && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		return res.get(r.Context(), r)
	case res.post != nil && r.Method == http.MethodPost:
		c, err := s.authenticate(r, res.takes)
		if err != nil {
			return nil, err
		}
		c.at = s.entranceOf(r.URL.Path)
		return res.post(r.Context(), c)
	}
	w.Header().Set("Allow", res.methods())
	// RFC 8555 §6.3: a GET of what wants POST-as-GET MUST be answered 405 and malformed.
	p := acme.Malformed("the method %.20s is not for this resource; it takes %s", r.Method, strings.TrimSuffix(res.methods(), ", OPTIONS"))
	p.Status = http.StatusMethodNotAllowed
	return nil, p
}

// nothing answers where there is no resource.
func (s *Server) nothing(w http.ResponseWriter, r *http.Request) {
	p := acme.Malformed("there is nothing here; %s says where things are", s.Base+directoryPath)
	p.Status = http.StatusNotFound
	s.refuse(w, r, p)
}

// recovered turns a panic into an answer: one request's mistake must not take
// the others with it.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler:
		panic(p)
	default:
		s.refuse(w, r, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
	}
}

// newNonce gives a fresh nonce (RFC 8555 §7.2), which [Server.prepare] has set:
// 200 to HEAD, 204 to GET and POST-as-GET.
func (s *Server) newNonce(_ context.Context, r *http.Request) (*answer, error) {
	status := http.StatusNoContent
	if r.Method == http.MethodHead {
		status = http.StatusOK
	}
	return &answer{status: status}, nil
}

// encodeDirectory: all URLs are made of the fixed base, never of what a request
// says of its host, so no proxy can make clients sign for another.
func (s *Server) encodeDirectory(e *entrance) ([]byte, error) {
	shared := func(name string) string { return s.Base + "/acme/" + name }
	own := func(name string) string { return s.Base + e.path + name }
	if len(e.Profiles) == 0 {
		return nil, fmt.Errorf("the ACME directory %q is to offer no profile at all", e.Name)
	}
	profiles := make(map[string]string, len(e.Profiles))
	for _, name := range e.Profiles {
		p, ok := s.Authority.Profiles[name]
		if !ok {
			return nil, fmt.Errorf("the ACME server is to offer the profile %q, which the authority does not have", name)
		}
		profiles[name] = p.Summary
	}
	return encode(acme.Directory{
		NewNonce: s.Base + noncePath, NewAccount: own("new-account"), NewOrder: own("new-order"), NewAuthz: own("new-authz"),
		RevokeCert: shared("revoke-cert"), KeyChange: shared("key-change"), RenewalInfo: shared("renewal-info"),
		Meta: &acme.Meta{TermsOfService: e.Terms, Website: s.Website, CAAIdentities: e.CAAIdentities,
			ExternalAccountRequired: e.RequireEAB, Profiles: profiles},
	})
}

// accountURL is the account's name and the "kid" of its requests.
func (s *Server) accountURL(id string) string { return s.Base + accountPath + id }
