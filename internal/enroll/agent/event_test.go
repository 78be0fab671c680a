package agent

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every kind of event that the agent adds stands where programs' authors look.
func TestEventsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("event.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`EventKind = "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(kinds) < 7 {
		t.Fatalf("only %d kinds found", len(kinds))
	}
	for _, k := range kinds {
		if !strings.Contains(string(text), "| `"+k[1]+"` |") {
			t.Errorf("docs/events.md does not have %s", k[1])
		}
	}
}
