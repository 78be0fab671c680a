package enroll_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"
)

// Many certificates at once, by two engines over one vault as two processes would: one
// account, no double certificate, no lost record.
func TestManyAtOnce(t *testing.T) {
	r := newRig(t, plain(1)...)
	dir := t.TempDir() + "/vault"
	engines := []*client{r.client(dir), r.client(dir)}
	const count = 6
	for i := range count {
		r.set(fmt.Sprintf("n%d.example", i), issue("ca1.test"))
	}
	var wait sync.WaitGroup
	results := make([][2]enroll.Result, count)
	for i := range count {
		for j, c := range engines {
			wait.Go(func() {
				out, err := c.Get(t.Context(), sheet(fmt.Sprintf("n%d.example", i)), enroll.Options{})
				if results[i][j] = out.Result; err != nil {
					t.Error(err)
				}
			})
		}
	}
	wait.Wait()
	accounts := map[string]bool{}
	for i, both := range results {
		if both != [2]enroll.Result{enroll.Issued, enroll.NotDue} && both != [2]enroll.Result{enroll.NotDue, enroll.Issued} {
			t.Errorf("name %d: %v", i, both)
		}
		accounts[rec(t, engines[0], fmt.Sprintf("n%d.example", i)).Current.Account] = true
	}
	if len(accounts) != 1 {
		t.Errorf("%d accounts", len(accounts))
	}
}

// Addresses have no CAA: the configured default serves them (D9).
func TestAddress(t *testing.T) {
	r := newRig(t, plain(1)...)
	c := r.client("", func(c *enroll.Config) {
		c.Settings.CAs = []enroll.CA{{Label: "house", Directory: "https://ca1.test/.well-known/acme", Default: true}}
	})
	if out := c.get(t, enroll.Options{}, "127.0.0.1"); out.Issued.Default != "house" || out.Issued.Issuer != "" {
		t.Errorf("%+v", out.Issued)
	}
	if n := len(r.dns.Queries()); n != 0 {
		t.Errorf("%d DNS queries for an address", n)
	}
	if _, err := r.client("").Get(t.Context(), sheet("127.0.0.1"), enroll.Options{}); err == nil {
		t.Error("without a default somebody was found")
	}
}

// The events are valid JSON with what the documentation promises, and every kind stands there.
func TestEventsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("event.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`EventKind = "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(kinds) < 20 {
		t.Fatalf("only %d kinds found", len(kinds))
	}
	for _, k := range kinds {
		if !strings.Contains(string(text), "| `"+k[1]+"` |") {
			t.Errorf("docs/events.md does not have %s", k[1])
		}
	}
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	c := r.client("")
	c.get(t, enroll.Options{}, "shop.example")
	var order []string
	for _, e := range c.events {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var object map[string]any
		if err := json.Unmarshal(line, &object); err != nil {
			t.Fatal(err)
		}
		for _, member := range []string{"time", "event", "certificate", "message"} {
			if object[member] == nil || object[member] == "" {
				t.Errorf("%s lacks %s", line, member)
			}
		}
		order = append(order, string(e.Kind))
	}
	want := "started caa plan trying directory account order challenge issued"
	if got := strings.Join(order, " "); got != want {
		t.Errorf("events %s, want %s", got, want)
	}
}

// A name that cannot be read is said so before anybody is asked.
func TestBadNames(t *testing.T) {
	r := newRig(t)
	c := r.client("")
	for _, names := range [][]string{nil, {"no name"}, {"x@example.org"}, {"shop.example", "*.*.example"}} {
		out, err := c.Get(t.Context(), vault.Sheet{Names: names}, enroll.Options{})
		if err == nil || out.Result != enroll.Failed {
			t.Errorf("%q: %s, %v", names, out.Result, err)
		}
	}
	if len(r.dns.Queries()) != 0 {
		t.Error("the DNS was asked")
	}
}
