package enroll_test

import (
	"io"
	"log"
	"testing"

	"chancery/internal/enroll"
	"chancery/testca"
)

var discard = log.New(io.Discard, "", 0)

func plain(n int) (list [][]testca.Option) {
	for range n {
		list = append(list, nil)
	}
	return list
}

func TestGetFollowsTheOwnersOrder(t *testing.T) {
	r := newRig(t, plain(2)...)
	r.set("shop.example", issue("ca1.test", "priority=2"), issue("ca2.test", "priority=1"))
	c := r.client("")
	out := c.get(t, enroll.Options{}, "shop.example")
	if out.Issued.Issuer != "ca2.test" {
		t.Errorf("%s issued, want ca2.test", out.Issued.Issuer)
	}
	if n := r.houses[0].seen.Load(); n != 0 {
		t.Errorf("ca1 got %d requests", n)
	}
	again, err := c.Get(t.Context(), rec(t, c, "shop.example").Sheet, enroll.Options{})
	if err != nil || again.Result != enroll.NotDue || again.Result.ExitCode() != 1 {
		t.Errorf("a second get: %v, %v", again.Result, err)
	}
	if out := c.get(t, enroll.Options{Force: true}, "shop.example"); out.Previous == nil || out.Previous.Serial == out.Issued.Serial {
		t.Errorf("a forced get changed nothing: %+v", out)
	}
}
