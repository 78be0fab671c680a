package enroll_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"chancery/internal/enroll"
	"chancery/internal/enroll/solve"
	"chancery/internal/enroll/vault"
)

// A run that fails before it began ends like any other: with the present certificate's
// result, an event, a count, and a message if nobody watches (D16, D17).
func TestFailureBeforeTheRunIsTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(1)...)
	r.set("a.test", issue("ca1.test"))
	dir := filepath.Join(t.TempDir(), "vault")
	first := r.client(dir).get(t, enroll.Options{}, "a.test")
	broken := func(cfg *enroll.Config) {
		cfg.Solver = func(vault.Sheet) (*solve.Set, error) { return nil, errors.New("no provider is called x") }
	}
	for name, test := range map[string]struct {
		sheet  vault.Sheet
		change func(*enroll.Config)
		before func(dir string)
		want   enroll.Result
		kind   string
		count  int
	}{
		"solver": {sheet: vault.Sheet{Name: "a.test", Names: []string{"a.test"}}, change: broken, want: enroll.StillValid, kind: "no-certificate", count: 1},
		"names":  {sheet: vault.Sheet{Name: "a.test", Names: []string{"a_@.test"}}, want: enroll.StillValid, kind: "no-certificate", count: 1},
		"first":  {sheet: vault.Sheet{Name: "b.test", Names: []string{"b.test"}, Origin: "configuration"}, change: broken, want: enroll.Failed, kind: "no-certificate", count: 1},
		"lock": {sheet: vault.Sheet{Name: "a.test", Names: []string{"a.test"}}, want: enroll.StillValid, kind: "no-certificate", count: 1, before: func(dir string) {
			lock := filepath.Join(dir, "certificates", "a.test", "lock")
			_ = os.Remove(lock)
			_ = os.Symlink("nowhere", lock)
		}},
		"record": {sheet: vault.Sheet{Name: "a.test", Names: []string{"a.test"}}, want: enroll.Failed, kind: "damaged-file", before: func(dir string) {
			_ = os.WriteFile(filepath.Join(dir, "certificates", "a.test", "record.json"), []byte("{"), 0o600)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			copied := filepath.Join(t.TempDir(), "vault")
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if test.before != nil {
				test.before(copied)
			}
			c := r.client(copied, func(cfg *enroll.Config) {
				if test.change != nil {
					test.change(cfg)
				}
			})
			for range 2 {
				out, err := c.Get(t.Context(), test.sheet, enroll.Options{Unattended: true, Force: true})
				if err == nil || out.Result != test.want {
					t.Errorf("%s, %v", out.Result, err)
				}
			}
			ids := map[string]bool{}
			for _, n := range c.told(test.kind) {
				ids[n.ID] = true
			}
			if len(ids) != 1 || len(c.heard(enroll.EventFailed)) != 2 {
				t.Errorf("%d messages, %d events", len(ids), len(c.heard(enroll.EventFailed)))
			}
			if test.count > 0 {
				if tries := rec(t, c, test.sheet.Name).Tries; tries.Failures != 2 || len(c.told(test.kind)) != 1 {
					t.Errorf("%+v", tries)
				}
			}
		})
	}
	if first.Issued == nil {
		t.Error("there was no certificate")
	}
}

// forgetful loses its first message of a kind.
type forgetful struct {
	*client
	puts int
}

func (f *forgetful) Put(ctx context.Context, n enroll.Notice) error {
	if n.Data["kind"] == "no-certificate" {
		if f.puts++; f.puts == 1 {
			return errors.New("the disk is full")
		}
	}
	return f.client.Put(ctx, n)
}

// A message that could not be handed over is tried again after the next failure; another
// row of failures is another message.
func TestObituaryIsNotLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(1)...)
	r.set("a.test", issue("ca1.test"))
	f := &forgetful{}
	c := r.client("", func(cfg *enroll.Config) { f.client = cfg.Notifier.(*client); cfg.Notifier = f })
	c.get(t, enroll.Options{}, "a.test")
	fail := func(times int) {
		for range times {
			c.clock.add(time.Minute)
			if _, err := c.Renew(t.Context(), "a.test", enroll.Options{Unattended: true, Force: true}); err == nil {
				t.Fatal("issued")
			}
		}
	}
	r.houses[0].set(noTLS)
	fail(4)
	if n := len(c.told("no-certificate")); n != 1 || f.puts != 2 {
		t.Errorf("%d messages in %d tries", n, f.puts)
	}
	// An agent that counts a failure of its own silences nothing.
	if err := c.vault.UpdateRecord(t.Context(), "a.test", func(r *vault.Record) error { r.Tries = vault.Tries{Failures: 3, Last: c.clock.Now()}; return nil }); err != nil {
		t.Fatal(err)
	}
	fail(2)
	told := c.told("no-certificate")
	if len(told) != 2 || told[0].ID == told[1].ID {
		t.Errorf("%d messages", len(told))
	}
}
