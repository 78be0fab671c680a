package guard

import (
	"fmt"
	"net/url"
	"strings"

	"chancery/internal/plain"
)

// RefusedError says that this client will not send a request, or not read on. Repeating
// it helps nothing.
type RefusedError struct {
	URL     string // as the stranger wrote it: show it with Shown only
	Address string // what was about to be connected to, if it is an address's fault
	Reason  string // "it is a loopback address"
}

// Error says what is refused and why; it is safe to show.
func (e *RefusedError) Error() string {
	what := quoted(e.URL)
	if e.Address != "" {
		what += " at " + Shown(e.Address)
	}
	return fmt.Sprintf("%s is refused: %s", what, e.Reason)
}

// failure is an error of the layers below whose text may hold what the stranger wrote
// (names in its certificate, its status line).
type failure struct{ err error }

func (e failure) Error() string { return Shown(e.err.Error()) }

// Unwrap gives the error as it was.
func (e failure) Unwrap() error { return e.err }

// Timeout says whether time ran out, as net.Error has it.
func (e failure) Timeout() bool {
	t, ok := e.err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

// maxShown bounds what of a stranger's text is shown, in characters.
const maxShown = 300

// Shown makes a stranger's text fit for a terminal, a log or a mail: control characters,
// line ends, invisible and direction-changing characters and octets that are not UTF-8
// come out as Go writes them in quotes (\x1b, \u202e), and what is long is cut.
func Shown(text string) string { return plain.Line(text, maxShown) }

// quoted is Shown in quotation marks.
func quoted(text string) string { return `"` + strings.ReplaceAll(Shown(text), `"`, `\"`) + `"` }

func tooManyRedirects(u *url.URL) error {
	return &RefusedError{URL: u.String(), Reason: fmt.Sprintf("there were more than %d redirects", MaxRedirects)}
}
