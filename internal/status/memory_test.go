package status

import (
	"fmt"
	"testing"
)

func TestAnswersAreBounded(t *testing.T) {
	a := newAnswers(160)
	kept := &held{}
	a.put("kept", kept)
	for n := range 10_000 {
		a.put(fmt.Sprint(n), &held{})
		if a.get("kept") != kept {
			t.Fatalf("what was asked for last was forgotten after %d others", n)
		}
	}
	total := 0
	for i := range a.parts {
		p := &a.parts[i]
		if len(p.byKey) != p.recent.Len() {
			t.Errorf("part %d has %d keys for %d answers", i, len(p.byKey), p.recent.Len())
		}
		total += p.recent.Len()
	}
	if total != 160 {
		t.Errorf("%d answers are kept", total)
	}
	if a.get("0") != nil {
		t.Error("the oldest was not forgotten")
	}
	a.drop("kept")
	if a.get("kept") != nil {
		t.Error("what was dropped is still there")
	}
}
