package device

import (
	"errors"
	"os"
	"slices"
	"testing"

	"chancery/est"
)

// What the device had revoked is not shown or renewed, and the agent says so until there
// is another certificate.
func TestRevokedByItself(t *testing.T) {
	s := start(t)
	d := s.open(t, t.TempDir(), nil)
	if _, err := enroll(t, d, Ask{Fingerprint: s.fingerprint()}); err != nil {
		t.Fatal(err)
	}
	err := locked(t, d, nil, func(state *State) error { return d.Revoke(t.Context(), state, est.Revocation{}) })
	if err != nil {
		t.Fatal(err)
	}
	state, err := d.State()
	if err != nil || state.Current.Revoked.IsZero() {
		t.Fatalf("not noted: %+v, %v", state, err)
	}
	if shown, err := d.identities(t.Context(), state); err != nil || len(shown) > 0 {
		t.Errorf("%d certificates are shown, %v", len(shown), err)
	}
	if _, ok := errors.AsType[*RevokedError](pass(t, d).Err); !ok {
		t.Error("the agent says nothing")
	}
	if _, err := d.Reenroll(t.Context(), state, Ask{}); d.Revoked(state) == nil || err == nil || err.Error() != d.Revoked(state).Error() {
		t.Errorf("a renewal: %v", err)
	}
	if _, err := enroll(t, d, Ask{}); err != nil {
		t.Fatal(err)
	}
	if state, err = d.State(); err != nil || d.Revoked(state) != nil {
		t.Errorf("the new one is revoked, too: %v", err)
	}
}

// What a failed order was told does not count the next time; what is under way goes on as
// it was told.
func TestWithdraw(t *testing.T) {
	s := start(t)
	d := s.open(t, t.TempDir(), nil)
	order := func(change func(*Settings) error, failed error, do func(*State) error) {
		t.Helper()
		err := locked(t, d, change, func(state *State) error {
			return errors.Join(do(state), d.Withdraw(state, failed))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	mistake := func(s *Settings) error { s.Label = "nosuch"; return plain(s) }
	nothing := func(*State) error { return nil }
	order(mistake, os.ErrInvalid, nothing)
	if _, err := d.State(); !errors.Is(err, ErrNone) {
		t.Errorf("a first attempt that failed: %v", err)
	}
	// Anchors are a server's, so its address stays with them.
	order(mistake, os.ErrInvalid, func(state *State) error { return d.Bootstrap(t.Context(), state, s.fingerprint()) })
	if state, err := d.State(); err != nil || state.Settings.Server != serverName || state.Settings.Label != "" || len(state.Settings.DNS) > 0 {
		t.Errorf("after the CA was confirmed: %+v, %v", state, err)
	}
	if _, err := enroll(t, d, Ask{}); err != nil {
		t.Fatal(err)
	}
	renamed := func(s *Settings) error { s.DNS = []string{"other.example"}; return nil }
	names := func() []string {
		state, err := d.State()
		if err != nil {
			t.Fatal(err)
		}
		return state.Settings.DNS
	}
	order(renamed, os.ErrInvalid, nothing)
	if got := names(); !slices.Equal(got, []string{"device1.example"}) {
		t.Errorf("an enrolled device asks for %q", got)
	}
	waits := func(state *State) error { state.Pending = &Pending{Operation: est.SimpleEnroll}; return d.save(state) }
	order(renamed, os.ErrDeadlineExceeded, waits)
	order(plain, &UnderWayError{Pending: &Pending{}}, nothing)
	if got := names(); !slices.Equal(got, []string{"other.example"}) {
		t.Errorf("what is under way became %q", got)
	}
}
