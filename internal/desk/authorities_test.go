package desk_test

import (
	"testing"

	"chancery/internal/ca"
	"chancery/internal/desk"
)

// An authority whose certificate was revoked is shown as revoked, with when and why.
func TestRevokedAuthority(t *testing.T) {
	o := open(t)
	rolled, kind := do[desk.RolledOver](t, o, "ca.rollover", desk.Line{Name: "issuing"})
	if kind != "" {
		t.Fatal(kind)
	}
	old := rolled.Retired[0]
	revoked, kind := do[desk.Certificate](t, o, "cert.revoke", map[string]string{"serial": string(old.Serial), "reason": "cACompromise"})
	if kind != "" {
		t.Fatal(kind)
	}
	list, _ := do[desk.Authorities](t, o, "ca.list", struct{}{})
	for _, a := range list.Authorities {
		want := desk.Authority{State: ca.Active}
		if a.ID == old.ID {
			want = desk.Authority{State: desk.StateRevoked, Revoked: revoked.Revoked, Reason: "cACompromise"}
		}
		if a.State != want.State || !a.Revoked.Equal(want.Revoked) || a.Reason != want.Reason {
			t.Errorf("%s: %s %s %q", a.Subject, a.State, a.Revoked, a.Reason)
		}
	}
}

// A key that an authority has is not put out of use, retired or not.
func TestDiscardRefuses(t *testing.T) {
	o := open(t)
	list, _ := do[desk.Authorities](t, o, "ca.list", struct{}{})
	if _, kind := do[any](t, o, "ca.rollover", desk.Line{Name: "issuing"}); kind != "" {
		t.Fatal(kind)
	}
	for _, a := range list.Authorities {
		if _, kind := do[any](t, o, "ca.discard", desk.KeyUnwanted{KeyName: a.KeyName}); kind != string(ca.Conflict) {
			t.Errorf("%s: kind %q", a.Name, kind)
		}
	}
	made, _ := do[desk.AuthorityRequest](t, o, "ca.csr", desk.AuthorityWanted{Name: "sub"})
	for _, name := range []string{list.Authorities[0].KeyName, made.KeyName, "nothere"} { // looking does nothing
		want := map[string]string{made.KeyName: "", "nothere": string(ca.NotFound)}
		kindWanted, known := want[name]
		if !known {
			kindWanted = string(ca.Conflict)
		}
		if _, kind := do[any](t, o, "ca.discard", desk.KeyUnwanted{KeyName: name, Check: true}); kind != kindWanted {
			t.Errorf("looking at %s: kind %q", name, kind)
		}
	}
	if gone, kind := do[desk.KeyUnwanted](t, o, "ca.discard", desk.KeyUnwanted{KeyName: made.KeyName}); kind != "" || gone.KeyName != made.KeyName {
		t.Errorf("%+v, %s", gone, kind)
	}
	if _, kind := do[any](t, o, "ca.discard", desk.KeyUnwanted{KeyName: "nothere"}); kind != string(ca.NotFound) {
		t.Errorf("kind %q", kind)
	}
}
