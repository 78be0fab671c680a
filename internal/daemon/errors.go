package daemon

import (
	"errors"
	"strings"

	"chancery/internal/admin"
	"chancery/internal/ca"
)

// classify says in an administrator's words what the core refused; what has no
// kind stays inside.
func classify(err error) (kind, detail string, ok bool) {
	var e *ca.Error
	if !errors.As(err, &e) {
		return "", "", false
	}
	detail = e.Detail
	var lines []string
	for _, s := range e.Sub {
		lines = append(lines, "  "+s.Identifier.Value()+": "+s.Detail)
	}
	if len(lines) > 0 {
		detail += "\n" + strings.Join(lines, "\n")
	}
	switch e.Kind {
	case ca.Invalid, ca.BadKey, ca.BadCSR, ca.BadName:
		return admin.Invalid, detail, true
	case ca.NotFound:
		return admin.NotFound, detail, true
	case ca.Conflict, ca.Revoked, ca.Replayed:
		return admin.Conflict, detail, true
	case ca.Denied, ca.Limited, ca.CAA:
		return admin.Denied, detail, true
	case ca.Unavailable, ca.CAAUnknown:
		return admin.Unavailable, detail, true
	}
	return "", "", false
}
