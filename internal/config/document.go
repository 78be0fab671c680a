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

	"chancery/internal/spelling"
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
	counts := map[string]int{}
	for parser.NextExpression() {
		node := parser.Expression()
		switch node.Kind {
		case unstable.Table:
			table = d.locate(&parser, nil, node)
		case unstable.ArrayTable:
			table = d.locateElement(&parser, node, counts)
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

// locateElement notes where one table of a list stands: [[a.b]] is a.b[1] at
// first, then a.b[2].
func (d document) locateElement(parser *unstable.Parser, node *unstable.Node, counts map[string]int) []string {
	path := d.locate(parser, nil, node)
	joined := strings.Join(path, ".")
	counts[joined]++
	path[len(path)-1] = element(path[len(path)-1], counts[joined])
	key := node.Key()
	key.Next()
	start := parser.Shape(key.Node().Raw).Start
	d.places[strings.Join(path, ".")] = origin{source: d.name, line: start.Line, column: start.Column}
	return path
}

// element names the nth table of a list, the first being 1.
func element(key string, n int) string { return key + "[" + strconv.Itoa(n) + "]" }

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
	known, lists := fieldsOf(c), listsOf(c)
	names := slices.Sorted(maps.Keys(known))
	names = slices.AppendSeq(names, maps.Keys(lists))
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
			case lists[key].key != "":
				problems = append(problems, d.applyList(c, lists[key], value)...)
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

// applyList writes a list of tables.
func (d document) applyList(c *Config, list field, value any) (problems Problems) {
	tables, isList := value.([]any)
	for _, one := range tables {
		_, isTable := one.(map[string]any)
		isList = isList && isTable
	}
	if !isList {
		return Problems{d.places[list.key].problem(list.key, fmt.Sprintf("is a list of sections: write [[%s]] on a line of its own and the keys of one below", list.key))}
	}
	made := blank(list.value.Type(), len(tables))
	for i, one := range tables {
		key := element(list.key, i+1)
		c.origins[key] = d.places[list.key]
		if at, known := d.places[key]; known {
			c.origins[key] = at
		}
		known := map[string]field{}
		for _, f := range leaves(key, made.Index(i)) {
			known[f.key] = f
		}
		for part, value := range one.(map[string]any) {
			name := key + "." + plain(part)
			at, located := d.places[name]
			if !located { // a table in a list in brackets
				at = c.origins[key]
			}
			if known[name].key == "" {
				problems = append(problems, at.problem(name, unknown(name, slices.Sorted(maps.Keys(known)))))
				continue
			}
			c.origins[name] = at
			if err := known[name].set(value); err != nil {
				problems = append(problems, at.problem(name, err.Error()))
			}
		}
	}
	c.origins[list.key] = d.places[list.key]
	list.value.Set(made)
	return problems
}

// unknown says so, and what was perhaps meant.
func unknown(key string, names []string) string {
	text := "unknown key"
	if meant := spelling.Nearest(key, names); meant != "" {
		return text + ": did you mean " + meant + "?"
	}
	return text + ": \"chancery config show --effective\" lists all"
}
