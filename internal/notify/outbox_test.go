package notify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// tray is a channel that keeps what it is given, and fails on request.
type tray struct {
	name string
	mu   sync.Mutex
	got  []Message
	fail error
}

func (t *tray) Name() string { return t.name }

func (t *tray) Send(_ context.Context, m Message) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fail == nil {
		t.got = append(t.got, m)
	}
	return t.fail
}

func (t *tray) ids() (ids []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.got {
		ids = append(ids, m.ID)
	}
	return ids
}

// clock is set by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }

func (c *clock) pass(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.at = c.at.Add(d) }

func open(t *testing.T, dir string, o Options) *Outbox {
	t.Helper()
	outbox, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return outbox
}

func message(id string) Message {
	return Message{ID: id, Time: time.Unix(1_790_000_000, 0), Severity: Warning, Subject: "ca.example failed 2 times in a row",
		Text: "It was down.\n", Data: map[string]any{"issuer": "ca.example"}}
}

func put(t *testing.T, o *Outbox, id string) {
	t.Helper()
	if err := o.Put(t.Context(), message(id)); err != nil {
		t.Fatal(err)
	}
}

func TestOneMessageOneDeliveryPerChannel(t *testing.T) {
	dir := t.TempDir()
	a, b := &tray{name: "a"}, &tray{name: "b"}
	o := Options{Channels: []Channel{a, b}}
	box := open(t, dir, o)
	put(t, box, "one")
	put(t, box, "one")
	for range 3 {
		if err := open(t, dir, o).Flush(t.Context()); err != nil { // each a restart
			t.Fatal(err)
		}
		put(t, box, "one") // and told again of the same incident
	}
	if fmt.Sprint(a.ids(), b.ids()) != "[one] [one]" {
		t.Errorf("delivered %v and %v", a.ids(), b.ids())
	}
	if waiting, err := box.Pending(); len(waiting) != 0 || err != nil {
		t.Errorf("%v still waits, error %v", waiting, err)
	}
	told, err := os.ReadFile(box.told("one"))
	if err != nil || strings.Contains(string(told), "It was down") {
		t.Errorf("of a delivered message there remains %s, error %v", told, err)
	}
}

func TestUndeliveredIsTriedAgain(t *testing.T) {
	dir, c := t.TempDir(), &clock{at: time.Now()}
	up, down := &tray{name: "up"}, &tray{name: "down", fail: errors.New("connection\r\nrefused\x1b[2J")}
	o := Options{Channels: []Channel{down, up}, Now: c.now, Random: func() float64 { return 1 }}
	put(t, open(t, dir, o), "one")
	for try := range 4 { // pauses of 1, 2, 4, 8 minutes, over restarts
		err := open(t, dir, o).Flush(t.Context())
		failed, ok := errors.AsType[*DeliveryError](err)
		if !ok || failed.Channel != "down" || failed.ID != "one" {
			t.Fatalf("try %d: %v", try, err)
		}
		if strings.ContainsAny(err.Error(), "\x1b\r") {
			t.Errorf("the error can move a cursor: %q", err)
		}
		pause := FirstPause << try
		if next, ok := open(t, dir, o).Next(); !ok || !next.Equal(c.now().Add(pause).Round(0)) {
			t.Errorf("after try %d the next is at %v, want in %v", try, next.Sub(c.now()), pause)
		}
		c.pass(pause - time.Second)
		if err := open(t, dir, o).Flush(t.Context()); err != nil {
			t.Errorf("tried before its time: %v", err)
		}
		c.pass(time.Second)
	}
	down.fail = nil
	if err := open(t, dir, o).Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(up.ids(), down.ids()) != "[one] [one]" {
		t.Errorf("delivered %v and %v", up.ids(), down.ids())
	}
}

func TestPause(t *testing.T) {
	for _, test := range []struct {
		name   string
		tries  int
		random float64
		err    error
		want   time.Duration
	}{
		{"first, shortest", 1, 0, errors.New("x"), FirstPause / 2},
		{"third", 3, 1, errors.New("x"), 4 * FirstPause},
		{"bounded", 1000, 1, errors.New("x"), LongestPause},
		{"lasting", 1, 1, &Failure{Lasting: true, Err: errors.New("x")}, LongestPause},
		{"asked for", 1, 1, &Failure{After: 20 * time.Minute, Err: errors.New("x")}, 20 * time.Minute},
		{"asked for too much", 1, 1, &Failure{After: 1000 * time.Hour, Err: errors.New("x")}, LongestPause},
	} {
		box := open(t, t.TempDir(), Options{Random: func() float64 { return test.random }})
		if got := box.pause(test.tries, fmt.Errorf("wrapped: %w", test.err)); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// A crash after the other side took the message and before that is on the disk repeats
// it once, with the same ID: at least once is what the outbox promises.
func TestCrashBetweenSendAndNote(t *testing.T) {
	dir := t.TempDir()
	a := &tray{name: "a"}
	o := Options{Channels: []Channel{a}}
	box := open(t, dir, o)
	put(t, box, "one")
	if err := a.Send(t.Context(), message("one")); err != nil { // and the power fails here
		t.Fatal(err)
	}
	for range 2 {
		if err := open(t, dir, o).Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.ids(); !slices.Equal(got, []string{"one", "one"}) {
		t.Errorf("delivered %v, want exactly one repetition", got)
	}
}

// A crash after the last note, or between remembering and removing, repeats nothing.
func TestCrashWhileRetiring(t *testing.T) {
	dir := t.TempDir()
	a := &tray{name: "a"}
	o := Options{Channels: []Channel{a}}
	box := open(t, dir, o)
	put(t, box, "one")
	var kept []byte
	if err := box.note("one", "a", delivery{Done: time.Now(), Tries: 1}); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(box.waiting("one"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := box.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(box.waiting("one"), kept, 0o600); err != nil { // as if not removed
			t.Fatal(err)
		}
	}
	if len(a.ids()) != 0 {
		t.Errorf("sent %v, which was delivered before", a.ids())
	}
}

func TestTwoOutboxesSendOnce(t *testing.T) {
	dir := t.TempDir()
	a := &tray{name: "a"}
	o := Options{Channels: []Channel{a}}
	const messages, workers = 20, 4
	var wait sync.WaitGroup
	for w := range workers {
		box := open(t, dir, o)
		wait.Go(func() {
			for i := range messages {
				if err := box.Put(t.Context(), message(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
				if i%5 == w {
					if err := box.Flush(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
			if err := box.Flush(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	got := a.ids()
	slices.Sort(got)
	if len(got) != messages || len(slices.Compact(got)) != messages {
		t.Errorf("delivered %v", got)
	}
}

func TestBusyOutboxWaitsForTheContext(t *testing.T) {
	dir := t.TempDir()
	box := open(t, dir, Options{})
	unlock, err := lock(t.Context(), filepath.Join(dir, "flush"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := box.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	put(t, box, "one") // is not kept waiting by one who sends
}

func TestTooManyBecomeOne(t *testing.T) {
	c := &clock{at: time.Now()}
	a := &tray{name: "a", fail: errors.New("down")}
	box := open(t, t.TempDir(), Options{Channels: []Channel{a}, Limit: 5, Now: c.now})
	for i := range 50 {
		c.pass(time.Second)
		put(t, box, fmt.Sprintf("m%d", i))
		waiting, err := box.Pending()
		if err != nil || len(waiting) > 5 {
			t.Fatalf("after %d: %d wait, error %v", i, len(waiting), err)
		}
	}
	a.fail = nil
	if err := box.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := a.got
	if len(got) != 5 || got[0].Subject != "46 messages were dropped" || got[1].ID != "m46" || got[4].ID != "m49" {
		t.Errorf("delivered %+v", got)
	}
	if !strings.Contains(got[0].Text, "ca.example failed 2 times in a row") {
		t.Errorf("it does not say what was dropped: %s", got[0].Text)
	}
	put(t, box, "m0") // dropped is told of too
	if waiting, _ := box.Pending(); len(waiting) != 0 {
		t.Errorf("a dropped message came back: %v", waiting)
	}
}

// What was half told counts anew: the first channel knows of 2, and will hear of the rest.
func TestDroppedMessageThatSomebodyHas(t *testing.T) {
	c := &clock{at: time.Now()}
	a, b := &tray{name: "a"}, &tray{name: "b", fail: errors.New("down")}
	box := open(t, t.TempDir(), Options{Channels: []Channel{a, b}, Limit: 3, Now: c.now})
	for i := range 4 {
		c.pass(time.Second)
		put(t, box, fmt.Sprintf("m%d", i))
	}
	box.Flush(t.Context())
	for i := range 4 {
		c.pass(time.Second)
		put(t, box, fmt.Sprintf("n%d", i))
	}
	box.Flush(t.Context())
	var subjects []string
	for _, m := range a.got {
		subjects = append(subjects, m.Subject)
	}
	if waiting, err := box.Pending(); err != nil || len(waiting) > 3 {
		t.Errorf("%d wait, error %v", len(waiting), err)
	}
	if !slices.Contains(subjects, "2 messages were dropped") {
		t.Errorf("the first channel was told %q", subjects)
	}
}

func TestDamagedFileIsNamedAndStopsNothing(t *testing.T) {
	dir := t.TempDir()
	a := &tray{name: "a"}
	box := open(t, dir, Options{Channels: []Channel{a}})
	put(t, box, "bad")
	put(t, box, "good")
	if err := os.WriteFile(box.waiting("bad"), []byte(`{"message":`), 0o600); err != nil {
		t.Fatal(err)
	}
	err := box.Flush(t.Context())
	damaged, ok := errors.AsType[*DamagedError](err)
	if !ok || damaged.Path != box.waiting("bad") {
		t.Errorf("got %v", err)
	}
	if got := a.ids(); !slices.Equal(got, []string{"good"}) {
		t.Errorf("delivered %v", got)
	}
	if text, err := os.ReadFile(box.waiting("bad")); err != nil || string(text) != `{"message":` {
		t.Errorf("the damaged file is now %q, error %v", text, err)
	}
}

// A channel that is down costs two tries per flush, not one for each message.
func TestDeadChannelIsLeftAlone(t *testing.T) {
	tries := 0
	down := counting{&tries}
	a := &tray{name: "a"}
	box := open(t, t.TempDir(), Options{Channels: []Channel{down, a}})
	for i := range 10 {
		put(t, box, fmt.Sprint(i))
	}
	if err := box.Flush(t.Context()); err == nil {
		t.Error("no error")
	}
	if tries != patience || len(a.ids()) != 10 {
		t.Errorf("%d tries, and %d messages over the other channel", tries, len(a.ids()))
	}
}

type counting struct{ tries *int }

func (counting) Name() string                          { return "down" }
func (c counting) Send(context.Context, Message) error { *c.tries++; return errors.New("down") }

func TestPutKeepsWhatCanBeKept(t *testing.T) {
	dir := t.TempDir()
	box := open(t, dir, Options{})
	if err := box.Put(t.Context(), Message{Subject: "x"}); err == nil {
		t.Error("a message without ID was taken")
	}
	if err := box.Put(t.Context(), Message{ID: "x", Data: map[string]any{"f": func() {}}}); err == nil {
		t.Error("a function was taken for data")
	}
	hostile := Message{ID: "../../etc/passwd\x00", Subject: "a\r\nBcc: all@example.org\x1b[2J", Text: strings.Repeat("ä", maxText)}
	if err := box.Put(t.Context(), hostile); err != nil {
		t.Fatal(err)
	}
	waiting, err := box.Pending()
	if err != nil || len(waiting) != 1 || strings.ContainsAny(waiting[0].Subject, "\r\n\x1b") || len(waiting[0].Text) > maxText+20 {
		t.Errorf("kept %.300v, error %v", waiting, err)
	}
	info, err := os.Stat(box.waiting(hostile.ID))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, error %v", info, err)
	}
	if _, err := Open(dir, Options{Channels: []Channel{&tray{name: "a"}, &tray{name: "a"}}}); err == nil {
		t.Error("two channels of one name were taken")
	}
}

func TestForget(t *testing.T) {
	dir := t.TempDir()
	c := &clock{at: time.Now()}
	box := open(t, dir, Options{Now: c.now})
	put(t, box, "old")
	half := filepath.Join(dir, "waiting", ".x.json.chancery-1")
	if err := os.WriteFile(half, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := box.Flush(t.Context()); err != nil { // no channels: told at once
		t.Fatal(err)
	}
	if _, err := os.Stat(box.told("old")); err != nil {
		t.Fatal(err)
	}
	c.pass(remembered + time.Hour)
	if err := box.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{box.told("old"), half} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there (%v)", path, err)
		}
	}
}
