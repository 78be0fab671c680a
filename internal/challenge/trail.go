package challenge

import (
	"fmt"
	"strings"
)

// trail collects what was seen, step by step, for Result.Detail.
type trail struct {
	b strings.Builder
}

// add appends a step. What does not fit is cut off at the end, never before: the
// first steps are those that the rest can be retraced from.
func (t *trail) add(format string, args ...any) {
	if t.b.Len() > maxDetail {
		return
	}
	if t.b.Len() > 0 {
		t.b.WriteString("; ")
	}
	fmt.Fprintf(&t.b, format, args...)
}

// String gives all steps, printable and bounded.
func (t *trail) String() string { return printable(t.b.String(), maxDetail) }
