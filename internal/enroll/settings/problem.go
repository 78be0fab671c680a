package settings

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Problem is one thing wrong with the settings, for the person who wrote them.
type Problem struct {
	Source string // the file
	Line   int    // from 1; 0 = unknown
	Column int    // from 1, in bytes; 0 = unknown
	Key    string // as "certificate[2].names"; "" = no key in particular
	Text   string // what is wrong and what to do
}

// Error is "FILE:LINE:COLUMN: KEY: TEXT" as far as these are known.
func (p Problem) Error() string {
	var parts []string
	switch {
	case p.Source != "" && p.Line > 0:
		parts = append(parts, fmt.Sprintf("%s:%d:%d", p.Source, p.Line, p.Column))
	case p.Source != "":
		parts = append(parts, p.Source)
	}
	if p.Key != "" {
		parts = append(parts, p.Key)
	}
	return strings.Join(append(parts, p.Text), ": ")
}

// Problems is everything that is wrong, so that it can be mended in one go.
// Match one with errors.As on Problem.
type Problems []Problem

// Error has one problem a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives each Problem.
func (p Problems) Unwrap() []error {
	each := make([]error, len(p))
	for i, one := range p {
		each[i] = one
	}
	return each
}

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
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
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
			path += "[" + strconv.Itoa(n) + "]"
		} else if n > 0 {
			path += "[" + strconv.Itoa(n-1) + "]"
		}
		if _, known := w.places[path]; !known {
			w.places[path] = w.parser.Shape(part.Raw).Start
		}
	}
	return path
}

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
				w.inline(path+"["+strconv.Itoa(n)+"]", element.Node())
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

// nearest gives the known word that a person most likely meant, "" if none is
// close. A key in the wrong section is found too.
func nearest(word string, known []string) string {
	best, distance := "", len(word)/3+2
	last := word[strings.LastIndexByte(word, '.')+1:]
	for _, candidate := range known {
		d := edits(word, candidate)
		if name := candidate[strings.LastIndexByte(candidate, '.')+1:]; name == last {
			d = min(d, 2) // the right name in the wrong place
		}
		if d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

// edits counts the insertions, deletions and replacements from a to b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
