//go:build !crashpoints

package sqldb

// crash is the crash points of tests; without the build tag crashpoints they
// are empty and cost nothing.
type crash struct{}

func newCrash() *crash { return nil }

func (*crash) before(int) {}
func (*crash) after(int)  {}
