package sqlstore

import (
	"strconv"
	"testing"

	"chancery/internal/ca"
)

// FuzzAccountCursor: a cursor is refused or means what was given out.
func FuzzAccountCursor(f *testing.F) {
	for _, seed := range []string{"", "1772366400000", "0", "-1", "+1", "01", "x", "9223372036854775808"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		before, err := accountCursor(cursor)
		if err != nil {
			if ca.KindOf(err) != ca.Invalid {
				t.Errorf("%q gave %v", cursor, err)
			}
			return
		}
		if cursor != "" && strconv.FormatInt(before, 10) != cursor {
			t.Errorf("%q is read as %d", cursor, before)
		}
	})
}
