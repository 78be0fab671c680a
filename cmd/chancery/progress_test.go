package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"chancery/internal/enroll"
)

// Every kind that is printed stands in the manual, and has what every event has.
func TestEventsAreDocumented(t *testing.T) {
	manual, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := []enroll.EventKind{"finished", enroll.EventStarted}
	for kind := range labels {
		kinds = append(kinds, kind)
	}
	for kind := range agentLabels {
		kinds = append(kinds, kind)
	}
	for _, kind := range kinds {
		if !strings.Contains(string(manual), "| `"+string(kind)+"` |") {
			t.Errorf("docs/events.md does not say what %s is", kind)
		}
	}
	var out bytes.Buffer
	(&progress{out: &out, json: true}).finish(enroll.Outcome{Result: enroll.Undeployed, Certificate: "a"}, nil)
	var line struct {
		Time                        time.Time
		Event, Certificate, Message string
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Time.IsZero() || line.Event != "finished" || line.Certificate != "a" || line.Message == "" {
		t.Errorf("%s: %v", out.String(), err)
	}
}
