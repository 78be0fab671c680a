package status

import (
	"context"
	"errors"
	"testing"

	"chancery/internal/ca"
)

func TestQueue(t *testing.T) {
	q := newQueue(1, 1)
	leave, err := q.enter(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan func())
	go func() {
		leave, err := q.enter(context.Background())
		if err != nil {
			t.Error(err)
			leave = func() {}
		}
		entered <- leave
	}()
	for len(q.places) < 2 { // until the second waits
		select {
		case <-entered:
			t.Fatal("two sign at once")
		default:
		}
	}
	if _, err := q.enter(context.Background()); ca.KindOf(err) != ca.Limited {
		t.Errorf("a third: %v", err)
	}
	leave()
	second := <-entered
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := q.enter(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("who hung up: %v", err)
	}
	second()
	if len(q.places) != 0 || len(q.desks) != 0 {
		t.Errorf("after all left %d places and %d desks are taken", len(q.places), len(q.desks))
	}
}
