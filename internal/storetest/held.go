package storetest

import (
	"context"
	"testing"
	"time"

	"chancery/acme"
)

// heldAuthorizations: those whose name is proven, of one account, until they end.
func heldAuthorizations(ctx context.Context, t *testing.T, s OrderStore) {
	o, fresh := order(t, "holder", "held.example", "plain.example", "done.example", "ended.example")
	_, others := order(t, "another holder", "held.example")
	others[0].Proven = base
	fresh[3].Expires = base.Add(time.Minute)
	create(ctx, t, s, o, append(fresh, others...))
	for i, status := range map[int]acme.AuthorizationStatus{0: acme.AuthorizationPending, 2: acme.AuthorizationValid, 3: acme.AuthorizationPending} {
		a := fresh[i]
		a.Status, a.Method, a.Proven, a.Processing = status, "http-01", base.Add(time.Second), base.Add(time.Minute)
		if err := s.UpdateAuthorization(ctx, a, orderWrite(a.ID)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		account string
		now     time.Time
		want    int
	}{{"holder", base, 2}, {"holder", base.Add(time.Minute), 1}, {"holder", base.Add(time.Hour), 0}, {"another holder", base, 1}, {"nobody", base, 0}} {
		list, err := s.HeldAuthorizations(ctx, test.account, test.now)
		if err != nil || len(list) != test.want {
			t.Errorf("%s at %s has %+v, %v; want %d", test.account, test.now, list, err, test.want)
		}
	}
	list, err := s.HeldAuthorizations(ctx, "holder", base.Add(time.Minute))
	if err != nil || len(list) != 1 || list[0].ID != fresh[0].ID || !list[0].Proven.Equal(base.Add(time.Second)) || list[0].Version != 1 {
		t.Errorf("what is held came back as %+v, %v", list, err)
	}
	// They are claimed like validations that a process left.
	claimed, err := s.ClaimValidations(ctx, base.Add(2*time.Minute), base.Add(3*time.Minute), 100)
	found := false
	for _, a := range claimed {
		found = found || a.ID == fresh[0].ID && a.Proven.Equal(base.Add(time.Second))
	}
	if err != nil || !found {
		t.Errorf("the claim gave %+v, %v", claimed, err)
	}
}
