package sqlstore

import (
	"fmt"
	"testing"

	"chancery/internal/ca"
)

// FuzzOrderCursor: a cursor is refused or means what was given out.
func FuzzOrderCursor(f *testing.F) {
	for _, seed := range []string{"", "1.a", "1772366400000.abcdefghijklmnopqrstuvwxyz", ".", "x.a", "1", "-1.", "9223372036854775808.a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		created, id, err := orderCursor(cursor)
		if err != nil {
			if ca.KindOf(err) != ca.Invalid {
				t.Errorf("%q gave %v", cursor, err)
			}
			return
		}
		if again, same, err := orderCursor(fmt.Sprintf("%d.%s", created, id)); cursor != "" && (err != nil || again != created || string(same) != string(id)) {
			t.Errorf("%q is read as %d, %q and written as another", cursor, created, id)
		}
	})
}
