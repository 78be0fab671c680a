package sqlstore_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/registry"
	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

// Customers and keys come in pages, the newest first, each once, whole milliseconds
// together.
func TestRegistryPages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) {
		store, now := sqlstore.New(db), time.UnixMilli(1_800_000_000_000).UTC()
		by := ca.Principal{Room: "admin", ID: "clerk"}
		for i, ms := range []int{1, 2, 2, 2, 3, 4} {
			id, at := fmt.Sprint("n", i), now.Add(time.Duration(ms)*time.Millisecond)
			err := store.CreateCustomer(t.Context(), registry.Customer{ID: id, Name: id, By: by, CreatedAt: at}, by.Event(at, "test", id))
			if err == nil {
				err = store.AddContact(t.Context(), registry.ContactChange{Customer: id, Address: id + "@a.example"}, by.Event(at, "test", id))
			}
			if err == nil {
				err = store.CreateExternalKey(t.Context(), registry.Key{ID: id, Label: id, By: by, CreatedAt: at, Sealed: []byte{1}, Most: 1}, by.Event(at, "test", id))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		customers := func(p registry.Page) (ids []string, next string, err error) {
			page, next, err := store.CustomerPage(t.Context(), p)
			for _, c := range page {
				if ids = append(ids, c.ID); len(c.Contacts) != 1 || c.Contacts[0].Address != c.ID+"@a.example" {
					t.Errorf("%+v", c)
				}
			}
			return ids, next, err
		}
		keys := func(p registry.Page) (ids []string, next string, err error) {
			page, next, err := store.ExternalKeyPage(t.Context(), p)
			for _, k := range page {
				ids = append(ids, k.ID)
			}
			return ids, next, err
		}
		for what, read := range map[string]func(registry.Page) ([]string, string, error){"customers": customers, "keys": keys} {
			for limit, want := range map[int]string{1: "[n5] [n4] [n1 n2 n3] [n0]", 2: "[n4 n5] [n1 n2 n3] [n0]", 3: "[n4 n5] [n1 n2 n3] [n0]", 5: "[n1 n2 n3 n4 n5] [n0]", 6: "[n0 n1 n2 n3 n4 n5]"} {
				var got string
				for p := (registry.Page{Limit: limit}); ; {
					ids, next, err := read(p)
					if err != nil {
						t.Fatal(err)
					}
					slices.Sort(ids)
					if got += fmt.Sprint(ids); next == "" {
						break
					}
					got, p.Cursor = got+" ", next
				}
				if got != want {
					t.Errorf("%s by %d: %s; want %s", what, limit, got, want)
				}
			}
			if _, _, err := read(registry.Page{Limit: 1, Cursor: "x"}); ca.KindOf(err) != ca.Invalid {
				t.Errorf("%s: a cursor of nobody's gave %v", what, err)
			}
		}
	})
}
