package device

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"

	"chancery/est"
)

// What one server's CA is trusted for is not trusted for another server, and what is
// under way does not go there.
func TestAnotherServer(t *testing.T) {
	s := start(t)
	configured := func(d *Device, anew bool, change func(*Settings)) (*State, error) {
		t.Helper()
		unlock, err := d.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		do := func(s *Settings) error { change(s); return nil }
		if anew {
			return d.ConfigureAnew(do)
		}
		return d.Configure(do)
	}
	server := func(name string) func(*Settings) { return func(s *Settings) { s.Server = name } }
	trusting := func(t *testing.T) *Device {
		d := s.open(t, t.TempDir(), nil)
		if err := locked(t, d, plain, func(state *State) error { return d.Bootstrap(t.Context(), state, s.fingerprint()) }); err != nil {
			t.Fatal(err)
		}
		return d
	}
	for name, set := range map[string]func(*testing.T) *Device{
		"anchors": trusting,
		"anchors that were lost": func(t *testing.T) *Device {
			d := trusting(t)
			if err := os.Remove(d.path(explicitFile)); err != nil {
				t.Fatal(err)
			}
			return d
		},
		"a request under way": func(t *testing.T) *Device {
			d := s.open(t, t.TempDir(), nil)
			s.set(func() { s.waits = 1 })
			err := locked(t, d, plain, func(state *State) error {
				_, err := d.Enroll(t.Context(), state, Ask{Fingerprint: s.fingerprint()})
				return err
			})
			if _, ok := errors.AsType[*est.PendingError](err); !ok {
				t.Fatal(err)
			}
			return d
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := set(t)
			for _, same := range []string{"https://" + serverName, "EST.example:443", "https://est.example/.well-known/est/"} {
				if _, err := configured(d, false, server(same)); err != nil {
					t.Errorf("%s is the same server: %v", same, err)
				}
			}
			var away *ElsewhereError
			if _, err := configured(d, false, server("other.example")); !errors.As(err, &away) || away.Enrolled {
				t.Fatalf("%v", err)
			}
			if _, err := configured(d, false, server(serverName+":8443")); !errors.As(err, &away) {
				t.Errorf("another port: %v", err)
			}
			if kept, err := d.State(); err != nil || kept.Settings.Server == "other.example" {
				t.Fatalf("%+v, %v", kept, err)
			}
			state, err := configured(d, true, server("other.example"))
			if err != nil || state.ImplicitOff || state.Pending != nil || state.Sequence != "" || !state.Refresh.IsZero() {
				t.Fatalf("%+v, %v", state, err)
			}
			for _, file := range []string{explicitFile, intermediatesFile, pendingKey} {
				if _, err := os.Stat(d.path(file)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is still there: %v", file, err)
				}
			}
			if err := d.Bootstrap(t.Context(), state, ""); !errors.Is(err, ErrNobody) {
				t.Errorf("the new server needs no word: %v", err)
			}
		})
	}
	// A label of the server is its CA's as well, but no request of one is the other's.
	label := func(s *Settings) { s.Label = "other" }
	if _, err := configured(trusting(t), false, label); err != nil {
		t.Errorf("another label: %v", err)
	}
	d := trusting(t)
	if err := locked(t, d, plain, func(state *State) error { _, err := d.Enroll(t.Context(), state, Ask{}); return err }); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*Settings){label, server("other.example")} {
		for _, anew := range []bool{false, true} { // never a certificate
			var away *ElsewhereError
			if _, err := configured(d, anew, change); !errors.As(err, &away) || !away.Enrolled {
				t.Errorf("enrolled, anew %t: %v", anew, err)
			}
		}
	}
	if state, err := d.State(); err != nil || state.Current == nil || state.Refresh.Before(time.Now()) {
		t.Errorf("%+v, %v", state, err)
	}
}
