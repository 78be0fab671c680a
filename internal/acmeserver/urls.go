package acmeserver

import (
	"context"
	"fmt"
	"net/http"

	"chancery/internal/ca"
)

// Where the objects of this half are. All are made of the fixed base.

func (s *Server) orderURL(id string) string    { return s.Base + "/acme/order/" + id }
func (s *Server) finalizeURL(id string) string { return s.orderURL(id) + "/finalize" }
func (s *Server) authzURL(id string) string    { return s.Base + "/acme/authz/" + id }

func (s *Server) challengeURL(authz, method string) string {
	return s.Base + "/acme/challenge/" + authz + "/" + method
}

// certificateURL gives where a certificate is; n is 0 for the chain that is
// offered first, and counts the alternates.
func (s *Server) certificateURL(serial ca.Serial, n int) string {
	url := s.Base + "/acme/certificate/" + string(serial)
	if n > 0 {
		url += fmt.Sprintf("/%d", n)
	}
	return url
}

// orderResources are the paths of this half.
func (s *Server) orderResources() map[string]resource {
	return map[string]resource{
		"/acme/order/{id}":                 {post: s.order},
		"/acme/order/{id}/finalize":        {post: s.finalize},
		"/acme/authz/{id}":                 {post: s.authorization},
		"/acme/challenge/{authz}/{method}": {post: s.challenge},
		"/acme/certificate/{serial}":       {post: s.certificate},
		"/acme/certificate/{serial}/{n}":   {post: s.alternate},
		accountPath + "{account}/orders":   {post: s.orderList},
		"/acme/revoke-cert":                {post: s.revoke, takes: byEither},
		"/acme/renewal-info/{certid}": {get: func(ctx context.Context, r *http.Request) (*answer, error) {
			return s.renewalInfo(ctx, r.PathValue("certid"))
		}},
	}
}
