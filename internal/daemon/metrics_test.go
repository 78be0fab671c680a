package daemon

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// What every listener's answers pass keeps them in the pieces that rooms want: EST clients
// read header fields and body separately, and keys are sent by who can flush.
func TestCountedAnswersFlush(t *testing.T) {
	d := &Daemon{metrics: newMetrics()}
	seen := httptest.NewRecorder()
	d.counted(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	})).ServeHTTP(seen, httptest.NewRequest(http.MethodGet, "/", nil))
	if !seen.Flushed {
		t.Error("nothing was flushed")
	}
}
