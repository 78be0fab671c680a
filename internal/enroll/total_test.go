package enroll

import (
	"fmt"
	"testing"
	"time"

	"chancery/caa"
	"chancery/internal/enroll/vault"
)

// The time of a run is shared among its CAs, and is short where nothing is there to lose.
func TestTotal(t *testing.T) {
	for _, test := range []struct {
		total      time.Duration
		unattended bool
		current    bool
		failures   int
		cas        int
		want, each time.Duration
	}{
		{0, true, false, 3, 2, 0, 5 * time.Minute},
		{time.Hour, false, false, 0, 2, time.Hour, 5 * time.Minute},
		{time.Hour, true, true, 0, 16, time.Hour, 225 * time.Second},
		{time.Hour, true, false, 0, 3, 15 * time.Minute, 5 * time.Minute},
		{time.Hour, true, true, 1, 15, 15 * time.Minute, time.Minute},
		{6 * time.Minute, true, true, 1, 16, 90 * time.Second, 30 * time.Second},
	} {
		r := &run{engine: &Engine{config: Config{Settings: Settings{Total: test.total}.filled()}}, options: Options{Unattended: test.unattended}}
		if test.current {
			r.record.Current = &vault.Issued{}
		}
		r.record.Tries.Failures = test.failures
		var offers []caa.Offer
		for i := range test.cas {
			offers = append(offers, caa.Offer{Issuer: fmt.Sprintf("ca%d.example", i)})
		}
		got := r.total()
		if r.split(got, append(offers, offers...)); got != test.want || r.perCA() != test.each {
			t.Errorf("%+v: %s, %s each", test, got, r.perCA())
		}
	}
}
