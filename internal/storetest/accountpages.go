package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"chancery/internal/acmeserver"
	"chancery/internal/ca"
)

// accountPages: all accounts come once, the newest first, whatever the pages' length
// and however many were made in the same millisecond.
func accountPages(ctx context.Context, t *testing.T, s AccountsStore) {
	newest := base.Add(time.Hour)
	want := map[string]time.Time{}
	for _, after := range []int{0, 0, 0, 0, 1, 2, 2, 3, 5} {
		a := newAccount()
		a.CreatedAt = newest.Add(time.Duration(after) * time.Millisecond)
		if _, _, err := s.CreateAccount(ctx, a, nil, write()); err != nil {
			t.Fatal(err)
		}
		want[a.ID] = a.CreatedAt
	}
	for _, limit := range []int{1, 2, 3, 4, 1000} {
		all := walkAccounts(ctx, t, s, limit)
		if !slices.IsSortedFunc(all, func(a, b acmeserver.Account) int { return b.CreatedAt.Compare(a.CreatedAt) }) {
			t.Errorf("pages of %d are not the newest first", limit)
		}
		seen := map[string]bool{}
		for i, a := range all {
			if seen[a.ID] {
				t.Errorf("pages of %d show %s twice", limit, a.ID)
			}
			seen[a.ID] = true
			if at, ours := want[a.ID]; (i < len(want)) != ours || ours && !a.CreatedAt.Equal(at) {
				t.Errorf("pages of %d: place %d has %+v", limit, i, a)
			}
		}
		if len(all) <= len(want) { // the suite made others before
			t.Errorf("pages of %d have %d accounts", limit, len(all))
		}
	}
	one, _, err := s.AccountPage(ctx, acmeserver.AccountQuery{Limit: 1})
	if err != nil || len(one) != 1 {
		t.Fatalf("%d accounts, %v", len(one), err)
	}
	if whole, err := s.Account(ctx, one[0].ID); err != nil || !sameAccount(one[0], whole) {
		t.Errorf("a page shows %+v of %+v, %v", one[0], whole, err)
	}
	for _, cursor := range []string{"x", "1.a", "+1", " 1", "9223372036854775808"} {
		if _, _, err := s.AccountPage(ctx, acmeserver.AccountQuery{Limit: 1, Cursor: cursor}); ca.KindOf(err) != ca.Invalid {
			t.Errorf("the cursor %q gave %v", cursor, err)
		}
	}
}

func walkAccounts(ctx context.Context, t *testing.T, s AccountsStore, limit int) (all []acmeserver.Account) {
	t.Helper()
	for cursor, pages := "", 0; ; pages++ {
		page, next, err := s.AccountPage(ctx, acmeserver.AccountQuery{Limit: limit, Cursor: cursor})
		if err != nil || len(page) == 0 || pages > 1000 {
			t.Fatalf("page %d of %d: %d accounts, %v", pages, limit, len(page), err)
		}
		all = append(all, page...)
		if next == "" {
			return all
		}
		cursor = next
	}
}
