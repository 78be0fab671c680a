package settings

import (
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"chancery/internal/manual"
)

// Problem is one thing wrong with the settings, for the person who wrote them.
type Problem = manual.Problem

// Problems is everything that is wrong, so that it can be mended in one go.
// Match one with errors.As on Problem. It is a type of its own, since a mistake in
// the server's configuration ends the program with another status.
type Problems []Problem

// Error has one problem a line.
func (p Problems) Error() string { return manual.Problems(p).Error() }

// Unwrap gives each Problem.
func (p Problems) Unwrap() []error { return manual.Problems(p).Unwrap() }

// locate finds the lines of the problems' keys. It reads the text once more,
// which nobody minds who has to mend it.
func locate(name string, text []byte, problems Problems) Problems {
	places := map[string]unstable.Position{}
	var parser unstable.Parser
	parser.Reset(text)
	w := walker{parser: &parser, places: places, counts: map[string]int{}}
	table := ""
	for parser.NextExpression() {
		node := parser.Expression()
		switch node.Kind {
		case unstable.Table:
			table = w.note("", node, false)
		case unstable.ArrayTable:
			table = w.note("", node, true)
		case unstable.KeyValue:
			w.value(table, node)
		}
	}
	for i := range problems {
		p := &problems[i]
		p.Source = name
		// Of a key that is missing, its table's place.
		for key := p.Key; key != ""; key = parent(key) {
			if at, ok := places[key]; ok {
				p.Line, p.Column = at.Line, at.Column
				break
			}
		}
	}
	manual.Problems(problems).Sort()
	return problems
}

// parent is the table that a key stands in.
func parent(key string) string {
	if dot := strings.LastIndexAny(key, ".["); dot >= 0 {
		return key[:dot]
	}
	return ""
}

// walker notes where each key of a text stands.
type walker struct {
	parser *unstable.Parser
	places map[string]unstable.Position
	counts map[string]int // of the tables in each array of tables
}

// note gives the whole path of a node's key, with numbers in arrays of tables.
func (w walker) note(path string, node *unstable.Node, array bool) string {
	for key := node.Key(); key.Next(); {
		part := key.Node()
		if path != "" {
			path += "."
		}
		path += string(part.Data)
		if n := w.counts[path]; key.IsLast() && array {
			w.counts[path] = n + 1
			path += nth(n)
		} else if n > 0 {
			path += nth(n - 1)
		}
		if _, known := w.places[path]; !known {
			w.places[path] = w.parser.Shape(part.Raw).Start
		}
	}
	return path
}

// nth is the number of a table in its array, which people count from one, behind its name.
func nth(index int) string { return "[" + strconv.Itoa(index+1) + "]" }

// value also looks into inline tables, and arrays of them.
func (w walker) value(table string, node *unstable.Node) {
	path := w.note(table, node, false)
	value := node.Value()
	if value.Kind == unstable.InlineTable {
		w.inline(path, value)
	}
	if value.Kind == unstable.Array {
		n := 0
		for element := value.Children(); element.Next(); n++ {
			if element.Node().Kind == unstable.InlineTable {
				w.inline(path+nth(n), element.Node())
			}
		}
	}
}

func (w walker) inline(path string, table *unstable.Node) {
	for inner := table.Children(); inner.Next(); {
		if inner.Node().Kind == unstable.KeyValue {
			w.value(path, inner.Node())
		}
	}
}
