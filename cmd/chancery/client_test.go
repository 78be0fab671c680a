package main

import (
	"bytes"
	"strings"
	"testing"

	"chancery/internal/notify"
)

// A message that nobody is configured for is a sentence on a terminal, and a line with its
// priority in the journal alone.
func TestMessagesOnTheTerminal(t *testing.T) {
	var out bytes.Buffer
	p := &program{streams: streams{err: &out}}
	if p.journal("8:1") != nil {
		t.Error("the journal gets sentences")
	}
	err := p.journal("").Send(t.Context(), notify.Message{Severity: notify.Warning, Subject: "ca1 failed", Data: map[string]any{"kind": "x"}})
	if text := out.String(); err != nil || !strings.Contains(text, "ca1 failed") || strings.ContainsAny(text, "<{") {
		t.Errorf("%q, %v", text, err)
	}
}
