package confirm

import (
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"html/template"
	"time"

	"chancery/internal/registry"
)

//go:embed page.html
var pageText string

//go:embed page.css
var style string

// policy lets the page have its one style sheet and send its own form, and
// nothing else. No script is on the page, and none would run.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
}()

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"style": func() template.CSS { return template.CSS(style) }, // ours, from this package
	"when":  func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") },
}).Parse(pageText))

// view is what the page shows.
type view struct {
	status int // 0: 200
	Base   string
	About  bool      // no question, but what this is about
	Say    string    // no question, but a word
	Ask    *Question // the question
	Open   bool      // it can be decided
	Bound  bool      // it was confirmed, and can be ended
	Just   bool      // it was decided by this very request
	Wrong  string    // what was wrong with the answer
	State  string    // where it stands, when it is not open
}

// view gives what is to be seen of a question now.
func (p *Page) view(q Question) view {
	v := view{Ask: &q}
	state := q.State
	if state == registry.Pending && !p.Clock().Before(q.ExpiresAt) {
		state = registry.TimedOut
	}
	v.Open, v.Bound = state == registry.Pending, state == registry.Confirmed
	if !v.Open {
		v.State = string(state)
	}
	return v
}
