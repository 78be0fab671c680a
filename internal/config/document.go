package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// document is a configuration file, read but not yet believed.
type document struct {
	name   string
	tree   map[string]any
	places map[string]origin // of each key and section, by its path
}

// largest is far more than any configuration and little enough to read at once.
const largest = 1 << 20

// read parses a TOML text; its errors name file, line and column.
func read(name string, text []byte) (document, error) {
	d := document{name: name, tree: map[string]any{}, places: map[string]origin{}}
	if len(text) > largest {
		return d, Problems{{Source: name, Text: "larger than 1 MiB: this is not a configuration"}}
	}
	if err := toml.Unmarshal(text, &d.tree); err != nil {
		p := Problem{Source: name, Text: err.Error()}
		if wrong, ok := errors.AsType[*toml.DecodeError](err); ok {
			p.Line, p.Column = wrong.Position()
			p.Text = "not TOML: " + strings.TrimPrefix(wrong.Error(), "toml: ")
		}
		return d, Problems{p}
	}
	var parser unstable.Parser
	parser.Reset(text)
	var table []string
	for parser.NextExpression() {
		node := parser.Expression()
		switch node.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = d.locate(&parser, nil, node)
		case unstable.KeyValue:
			d.locateValue(&parser, table, node)
		}
	}
	return d, nil
}

// locate notes where a (dotted) key stands and returns its whole path.
func (d document) locate(parser *unstable.Parser, path []string, node *unstable.Node) []string {
	path = slices.Clone(path)
	for key := node.Key(); key.Next(); {
		part := key.Node()
		path = append(path, plain(string(part.Data)))
		joined := strings.Join(path, ".")
		if _, known := d.places[joined]; !known {
			start := parser.Shape(part.Raw).Start
			d.places[joined] = origin{source: d.name, line: start.Line, column: start.Column}
		}
	}
	return path
}

// locateValue also looks into an inline table.
func (d document) locateValue(parser *unstable.Parser, path []string, node *unstable.Node) {
	path = d.locate(parser, path, node)
	if value := node.Value(); value.Kind == unstable.InlineTable {
		for inner := value.Children(); inner.Next(); {
			d.locateValue(parser, path, inner.Node())
		}
	}
}

// plain makes a key with dots in it unlike a path.
func plain(part string) string {
	if strings.ContainsAny(part, ". \"\n") || part == "" {
		return strconv.Quote(part)
	}
	return part
}

// apply writes the document's values into c.
func (d document) apply(c *Config) Problems {
	known := fieldsOf(c)
	names := slices.Sorted(maps.Keys(known))
	tables := map[string]bool{}
	for _, s := range sections(c)[1:] {
		tables[s.name] = true
		names = append(names, s.name)
	}
	var problems Problems
	var walk func(prefix string, table map[string]any)
	walk = func(prefix string, table map[string]any) {
		for part, value := range table {
			key := prefix + plain(part)
			inner, isTable := value.(map[string]any)
			switch {
			case tables[key] && isTable:
				walk(key+".", inner)
			case tables[key]:
				problems = append(problems, d.places[key].problem(key, fmt.Sprintf("is a section: write [%s] on a line of its own and its keys below", key)))
			case known[key].key == "":
				problems = append(problems, d.places[key].problem(key, unknown(key, names)))
			default:
				c.origins[key] = d.places[key]
				if err := known[key].set(value); err != nil {
					problems = append(problems, d.places[key].problem(key, err.Error()))
				}
			}
		}
	}
	walk("", d.tree)
	return problems
}

// unknown says so, and what was perhaps meant.
func unknown(key string, names []string) string {
	text := "unknown key"
	if meant := nearest(key, names); meant != "" {
		return text + ": did you mean " + meant + "?"
	}
	return text + ": \"chancery config show --effective\" lists all"
}
