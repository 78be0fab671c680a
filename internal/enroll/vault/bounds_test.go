package vault

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Nothing is written that could not be read again, and what CAs say is kept in bounds.
func TestBounds(t *testing.T) {
	v := open(t)
	check(t, v.UpdateCA(t.Context(), directory, func(c *CA) error {
		c.Cached = json.RawMessage(`{"a":"` + strings.Repeat("<", 1<<20) + `"}`) // of which each could become six
		c.Account = &Account{URL: "https://ca.example/1"}
		for i := range 500 {
			c.Account.Contacts = append(c.Account.Contacts, "mailto:"+strings.Repeat("x", i*100))
			c.Terms = append(c.Terms, Terms{URL: "https://ca.example/" + strconv.Itoa(i), Seen: time.Unix(int64(i), 0)})
			c.Issuers = append(c.Issuers, strconv.Itoa(i)+".example")
		}
		c.Incident = &Incident{Cause: strings.Repeat("é", 5000)}
		return nil
	}))
	ca, err := v.CA(directory)
	check(t, err)
	if n := len(ca.Terms); n != mostTerms || ca.Terms[n-1].URL != "https://ca.example/499" {
		t.Errorf("%d terms", n)
	}
	if len(ca.Account.Contacts) > mostContacts || len(ca.Issuers) > mostIssuers || len(ca.Incident.Cause) > longestText {
		t.Errorf("%d contacts, %d issuers, a cause of %d", len(ca.Account.Contacts), len(ca.Issuers), len(ca.Incident.Cause))
	}
	text, err := os.ReadFile(v.path("cas", fingerprint(directory), "ca.json"))
	check(t, err)
	if len(text) > 5<<20/4 || strings.Contains(string(text), `\u003c`) {
		t.Errorf("the file has %d octets", len(text))
	}
	large := json.RawMessage(`"` + strings.Repeat("<", fileLimit) + `"`)
	err1 := v.UpdateCA(t.Context(), directory, func(c *CA) error { c.Cached = large; return nil })
	err2 := v.UpdateRecord(t.Context(), host, func(r *Record) error { r.Sheet.Options = large; return nil })
	for _, err := range []error{err1, err2} {
		if _, ok := errors.AsType[*FileError](err); !ok {
			t.Errorf("%v", err)
		}
	}
	if again, err := v.CA(directory); err != nil || again.Account == nil {
		t.Errorf("%v", err)
	}
	if _, err := v.Record(host); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}

// A directory is kept beside, and is not missed when it is damaged.
func TestDirectoryText(t *testing.T) {
	v := open(t)
	check(t, v.KeepDirectory(t.Context(), directory, json.RawMessage(`{"a":1}`)))
	if text := v.DirectoryText(directory); !strings.Contains(string(text), `"a"`) {
		t.Errorf("%s", text)
	}
	path := v.path("cas", fingerprint(directory), directoryFile)
	check(t, os.WriteFile(path, []byte("{"), 0o600))
	if text := v.DirectoryText(directory); text != nil {
		t.Errorf("%s", text)
	}
	for _, none := range []string{"", `"` + strings.Repeat("x", directoryLimit) + `"`} {
		check(t, v.KeepDirectory(t.Context(), directory, json.RawMessage(`{"a":1}`)))
		check(t, v.KeepDirectory(t.Context(), directory, json.RawMessage(none)))
		if text := v.DirectoryText(directory); text != nil {
			t.Errorf("%.20s is kept", text)
		}
	}
	if all, err := v.CAs(); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

// One damaged file hides no other.
func TestDamagedCAHidesNoOther(t *testing.T) {
	v := open(t)
	for _, at := range []string{directory, "https://b.example/", "https://c.example/"} {
		check(t, v.UpdateCA(t.Context(), at, func(*CA) error { return nil }))
	}
	path := v.path("cas", fingerprint("https://b.example/"), "ca.json")
	check(t, os.WriteFile(path, []byte("{"), 0o600))
	all, err := v.CAs()
	if wrong, ok := errors.AsType[*FileError](err); len(all) != 2 || !ok || wrong.Path != path || filepath.Base(path) != "ca.json" {
		t.Errorf("%v, %v", all, err)
	}
}

// What an older version wrote is read.
func TestOlderFormat(t *testing.T) {
	v := open(t)
	check(t, os.Mkdir(v.path("certificates", host), 0o700))
	path := v.path("certificates", host, recordFile)
	check(t, os.WriteFile(path, []byte(`{"format":1,"body":{"sheet":{"name":"`+host+`","names":["a.example"]},"tries":{"failures":2}}}`), 0o600))
	r, err := v.Record(host)
	if err != nil || r.Tries.Failures != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	check(t, v.UpdateRecord(t.Context(), host, func(r *Record) error { r.Tries.Told = "good"; return nil }))
	if text, _ := os.ReadFile(path); !strings.Contains(string(text), `"format": 2`) {
		t.Errorf("%s", text)
	}
	check(t, os.WriteFile(path, []byte(`{"format":0,"body":{"sheet":{"name":"`+host+`"}}}`), 0o600))
	if _, err := v.Record(host); err == nil {
		t.Error("format 0 is read")
	}
}

// CAs that were met and never used are forgotten in time; all that is of use stays.
func TestPruneCAs(t *testing.T) {
	v := open(t)
	now := time.Now()
	put := func(at string, change func(*CA)) {
		check(t, v.UpdateCA(t.Context(), at, func(c *CA) error { change(c); return nil }))
	}
	put("https://account.example/", func(c *CA) { c.Account = &Account{URL: "u"} })
	_, err := v.CreateAccountKey(t.Context(), "https://key.example/", "")
	check(t, err)
	put("https://key.example/", func(*CA) {})
	put("https://issued.example/", func(*CA) {})
	check(t, v.UpdateRecord(t.Context(), host, func(r *Record) error { r.Pending = &Pending{Directory: "https://issued.example/"}; return nil }))
	put("https://damaged.example/", func(*CA) {})
	check(t, os.WriteFile(v.path("cas", fingerprint("https://damaged.example/"), "ca.json"), []byte("{"), 0o600))
	put("https://failing.example/", func(c *CA) { c.Incident = &Incident{ID: "i"} })
	for i := range strangersKept + 20 {
		put("https://"+strconv.Itoa(i)+".example/", func(*CA) {})
	}
	count := func() int {
		entries, err := os.ReadDir(v.path("cas"))
		check(t, err)
		return len(entries)
	}
	if gone, err := v.PruneCAs(t.Context(), now); err != nil || gone != 21 || count() != strangersKept+3+1 {
		t.Errorf("%d gone, %d left, %v", gone, count(), err)
	}
	if ca, err := v.CA("https://failing.example/"); err != nil || ca.Incident == nil {
		t.Errorf("%+v, %v", ca, err)
	}
	if _, err := v.PruneCAs(t.Context(), now.Add(40*24*time.Hour)); err != nil || count() != 4 {
		t.Errorf("%d left, %v", count(), err)
	}
	if ca, err := v.CA("https://issued.example/"); err != nil {
		t.Errorf("%+v, %v", ca, err)
	}
}
