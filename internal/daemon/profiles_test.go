package daemon

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"chancery/internal/admin"
)

// TestProfilesAreForAdministrators: what memory holds is not told to others,
// whatever way they came.
func TestProfilesAreForAdministrators(t *testing.T) {
	h := withProfiles(admin.NewServer())
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine", "/v1/ops"} {
		for _, test := range []struct {
			name   string
			caller *admin.Caller
			code   int
		}{
			{"nobody", nil, http.StatusForbidden},
			{"an auditor", &admin.Caller{Name: "auditor", Role: admin.Auditor}, http.StatusForbidden},
			{"an administrator", &admin.Caller{Name: "root", Role: admin.Administrator}, http.StatusOK},
		} {
			if path == "/v1/ops" && test.name == "an auditor" {
				continue // may read the list
			}
			r := httptest.NewRequest(http.MethodGet, path, nil)
			if test.caller != nil {
				r = r.WithContext(admin.WithCaller(r.Context(), *test.caller))
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != test.code {
				t.Errorf("%s as %s: %d %.100s; want %d", path, test.name, w.Code, w.Body, test.code)
			}
		}
	}
}
