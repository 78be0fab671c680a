package enroll_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"chancery/internal/enroll"
)

// A CA that cannot cope with what an order replaces gets one that does not say: at once if
// it refuses it, with the next try if it falls ill over it.
func TestOrderWithoutReplaces(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(2)...)
	for i, c := range []struct {
		status int
		typ    string
		tries  int
	}{
		{400, "malformed", 1}, {409, "alreadyReplaced", 1}, {403, "unauthorized", 1}, {404, "malformed", 1},
		{500, "serverInternal", 2},
	} {
		t.Run(c.typ, func(t *testing.T) {
			r.reset()
			name := fmt.Sprintf("r%d.example", i)
			r.set(name, issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"))
			cl := r.client("")
			cl.get(t, enroll.Options{}, name)
			refusals := 0
			inner := problem("/new-order", c.status, c.typ)
			r.houses[0].set(func(w http.ResponseWriter, req *http.Request) bool {
				if !replacing(req) || !inner(w, req) {
					return false
				}
				refusals++
				return true
			})
			out := cl.get(t, enroll.Options{Force: true}, name)
			if a := out.Attempts[0]; out.Issued.Issuer != "ca1.test" || a.Tries != c.tries || refusals != 1 {
				t.Errorf("%s issued after %d tries and %d refusals: %+v", out.Issued.Issuer, a.Tries, refusals, a)
			}
		})
	}
}

// replacing tells whether a request is an order that says what it replaces.
func replacing(r *http.Request) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var signed struct{ Payload string }
	if json.Unmarshal(body, &signed) != nil {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(signed.Payload)
	return err == nil && strings.Contains(string(text), `"replaces"`)
}
