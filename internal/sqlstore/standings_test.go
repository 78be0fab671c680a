package sqlstore_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

var noon = time.Unix(1_800_000_000, 0)

// certified settles a certificate and gives its serial.
func certified(ctx context.Context, t *testing.T, s *sqlstore.Store, n int) ca.Serial {
	t.Helper()
	in := storetest.Intent(fmt.Sprintf("standing-%d", n))
	in.Serial = ca.SerialOfBytes(binary.BigEndian.AppendUint64([]byte{0x41}, uint64(n)))
	if _, err := s.Intend(ctx, in); err != nil {
		t.Fatal(err)
	}
	e := ca.Event{ID: ca.NewID(), At: noon, Kind: "certificate.issued", Subject: string(in.Serial)}
	if _, err := s.Settle(ctx, ca.Settlement{Serial: in.Serial, DER: []byte{0x30, 0}, At: noon, Event: e}); err != nil {
		t.Fatal(err)
	}
	return in.Serial
}

func revoke(ctx context.Context, t *testing.T, s *sqlstore.Store, serial ca.Serial) {
	t.Helper()
	e := ca.Event{ID: ca.NewID(), At: noon, Kind: "certificate.revoked", Subject: string(serial)}
	if _, err := s.Revoke(ctx, ca.Revocation{Serial: serial, Reason: ca.Superseded, At: noon, Event: e}); err != nil {
		t.Fatal(err)
	}
}

// TestStandingIsRemembered: a good certificate costs SQLite one read, whoever revokes any
// is heard at once, and where other processes may revoke each answer is the database's.
func TestStandingIsRemembered(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx, s := t.Context(), sqlstore.New(db)
		one, other := certified(ctx, t, s, 1), certified(ctx, t, s, 2)
		reads := func(serial ca.Serial, revoked bool) (n uint64) {
			t.Helper()
			before := db.Stats().Queries
			for range 3 {
				if at, _, err := s.Standing(ctx, serial); err != nil || at.IsZero() == revoked {
					t.Fatalf("revoked at %v, %v", at, err)
				}
			}
			return uint64(db.Stats().Queries - before)
		}
		want := uint64(1)
		if db.Engine() == sqldb.Postgres {
			want = 3
		}
		if n := reads(one, false); n != want {
			t.Errorf("%d reads, want %d", n, want)
		}
		reads(other, false)
		revoke(ctx, t, s, other)
		if n := reads(other, true); n != 3 {
			t.Errorf("%d reads of a revoked certificate, want 3", n)
		}
		if n := reads(one, false); n != want {
			t.Errorf("after another's revocation %d reads, want %d", n, want)
		}
		if db.Engine() == sqldb.Postgres { // another process
			revoke(ctx, t, sqlstore.New(db), one)
			reads(one, true)
		}
	})
}

// TestStandingsAreBounded: certificates without end are asked for, and memory has one.
func TestStandingsAreBounded(t *testing.T) {
	db := storetest.SQLite(t)
	ctx, s := t.Context(), sqlstore.New(db)
	first := certified(ctx, t, s, 1)
	look := func(serial ca.Serial) {
		t.Helper()
		if _, _, err := s.Standing(ctx, serial); err != nil {
			t.Fatal(err)
		}
	}
	look(first)
	s.FillStandings()
	before := db.Stats().Queries
	look(first)
	if db.Stats().Queries != before+1 {
		t.Error("the first is remembered after so many others")
	}
}

// TestRevokedWhileAsked: an answer that the database gave before a revocation is not kept
// after it.
func TestRevokedWhileAsked(t *testing.T) {
	ctx, s := t.Context(), sqlstore.New(storetest.SQLite(t))
	serial := certified(ctx, t, s, 1)
	if s.RevokedWhileAsked(serial) {
		t.Error("an answer from before the revocation is remembered")
	}
}
