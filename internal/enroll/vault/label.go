package vault

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// labelPattern: a file name on every system, an argument that is no option.
var labelPattern = regexp.MustCompile(`^[a-z0-9_][a-z0-9._-]{0,99}$`)

// LabelError says that a text cannot be the name of a certificate in the vault.
type LabelError struct{ Label string }

// Error says what a name may look like.
func (e *LabelError) Error() string {
	return fmt.Sprintf("%.120q cannot name a certificate: use up to 100 of a-z, 0-9, dot, _ and -, beginning with a letter, digit or _", e.Label)
}

// CheckLabel tells whether a text can be the name of a certificate: it is the
// name of a directory. The error is a *LabelError.
func CheckLabel(name string) error {
	if !labelPattern.MatchString(name) {
		return &LabelError{name}
	}
	return nil
}

// Label derives the name of a certificate from the first name in it: as it is
// for a host, "_wildcard.x" for "*.x", which no host is called, A-labels for
// international names, and _ for what no file name should hold.
func Label(first string) string {
	name := strings.ToLower(strings.TrimSuffix(first, "."))
	if rest, wild := strings.CutPrefix(name, "*."); wild {
		name = "_wildcard." + toASCII(rest)
	} else {
		name = toASCII(name)
	}
	name = strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '.' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z') {
			return r
		}
		return '_'
	}, name)
	if name == "" || name[0] == '.' || name[0] == '-' {
		name = "_" + name
	}
	if len(name) > 80 {
		name = name[:60] + "_" + fingerprint(first)[:16]
	}
	return name
}

func toASCII(name string) string {
	if ascii, err := idna.Lookup.ToASCII(name); err == nil {
		return ascii
	}
	return name
}

// NewLabel gives the label under which to keep a certificate for names: the one
// that has a record for the same names already, else the first free one of
// Label, Label-2, Label-3 …
func (v *Vault) NewLabel(ctx context.Context, names []string) (string, error) {
	if len(names) == 0 {
		return "", errors.New("a certificate needs a name")
	}
	wanted := sorted(names)
	for n := 1; ; n++ {
		label := Label(names[0])
		if n > 1 {
			label += "-" + strconv.Itoa(n)
		}
		r, err := v.Record(label)
		switch {
		case errors.Is(err, ErrNone):
			return label, nil
		case err != nil:
			return "", err
		case slices.Equal(sorted(r.Sheet.Names), wanted):
			return label, nil
		case ctx.Err() != nil:
			return "", ctx.Err()
		}
	}
}

func sorted(names []string) []string {
	copied := slices.Clone(names)
	for i := range copied {
		copied[i] = strings.ToLower(strings.TrimSuffix(copied[i], "."))
	}
	slices.Sort(copied)
	return slices.Compact(copied)
}
