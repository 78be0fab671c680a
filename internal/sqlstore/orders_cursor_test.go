package sqlstore

import (
	"testing"

	"chancery/internal/ca"
)

// FuzzOrderCursor: a cursor is refused or means what was given out.
func FuzzOrderCursor(f *testing.F) {
	for _, seed := range []string{"", "1.a", "1772366400000.abcdefghijklmnopqrstuvwxyz", ".", "x.a", "1", "-1.", "9223372036854775808.a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		at, err := orderCursor(cursor)
		if err != nil {
			if ca.KindOf(err) != ca.Invalid {
				t.Errorf("%q gave %v", cursor, err)
			}
			return
		}
		if again, err := orderCursor(at.String()); cursor != "" && (err != nil || again.String() != at.String()) {
			t.Errorf("%q is read as %q and written as another", cursor, at)
		}
	})
}
