package config

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
)

// field is one value of a Config with its name.
type field struct {
	key   string // "acme.max_names"
	owner string // type and Go name, "ACME.MaxNames": where the manual speaks of it
	live  bool   // takes effect by reload
	value reflect.Value
}

// section is one table of the file; the first is the top and has no name.
type section struct {
	name   string
	owner  string
	fields []field
	lists  []field // lists of tables below it
}

// listsTables tells whether the field is a list of tables, as [[acme.directory]].
func listsTables(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct &&
		!reflect.PointerTo(t.Elem()).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// sections lists c's values in the order of the manual.
func sections(c *Config) []section {
	top := section{}
	var rest []section
	root := reflect.ValueOf(c).Elem()
	for i := range root.NumField() {
		f := root.Type().Field(i)
		name, tagged := f.Tag.Lookup("toml")
		switch {
		case !tagged:
		case f.Type.Kind() == reflect.Struct:
			inner := section{name: name, owner: "Config." + f.Name}
			for j := range f.Type.NumField() {
				leaf := f.Type.Field(j)
				one := field{
					key:   name + "." + leaf.Tag.Get("toml"),
					owner: f.Type.Name() + "." + leaf.Name,
					live:  leaf.Tag.Get("live") != "",
					value: root.Field(i).Field(j),
				}
				if listsTables(leaf.Type) {
					inner.lists = append(inner.lists, one)
				} else {
					inner.fields = append(inner.fields, one)
				}
			}
			rest = append(rest, inner)
		default:
			top.fields = append(top.fields, field{
				key: name, owner: "Config." + f.Name, live: f.Tag.Get("live") != "", value: root.Field(i),
			})
		}
	}
	return append([]section{top}, rest...)
}

// fieldsOf lists c's values by key.
func fieldsOf(c *Config) map[string]field {
	all := map[string]field{}
	for _, s := range sections(c) {
		for _, f := range s.fields {
			all[f.key] = f
		}
	}
	return all
}

// listsOf lists by key what of c is a list of tables.
func listsOf(c *Config) map[string]field {
	all := map[string]field{}
	for _, s := range sections(c) {
		for _, f := range s.lists {
			all[f.key] = f
		}
	}
	return all
}

// blank makes a list of n tables; the lists in them are empty and not nil.
func blank(list reflect.Type, n int) reflect.Value {
	made := reflect.MakeSlice(list, n, n)
	for i := range n {
		for _, f := range leaves("", made.Index(i)) {
			if f.value.Kind() == reflect.Slice {
				f.value.Set(reflect.MakeSlice(f.value.Type(), 0, 0))
			}
		}
	}
	return made
}

// leaves lists the fields of one table of a list; key is the table's own.
func leaves(key string, table reflect.Value) []field {
	var all []field
	for i := range table.NumField() {
		leaf := table.Type().Field(i)
		all = append(all, field{
			key: key + "." + leaf.Tag.Get("toml"), owner: table.Type().Name() + "." + leaf.Name, value: table.Field(i),
		})
	}
	return all
}

// set gives the field a value as TOML has it; the error says what is wanted.
func (f field) set(value any) error {
	return assign(f.value, value)
}

func assign(target reflect.Value, value any) error {
	if u, ok := target.Addr().Interface().(encoding.TextUnmarshaler); ok {
		text, isText := value.(string)
		if !isText {
			return fmt.Errorf("must be text in quotes, not %s", kindOf(value))
		}
		err := u.UnmarshalText([]byte(text))
		if _, isNetwork := u.(*netip.Prefix); isNetwork && err != nil {
			return fmt.Errorf("%q is no network: write its address and the length of its prefix, as \"10.0.0.0/8\"", text)
		}
		return err
	}
	switch v := value.(type) {
	case string:
		if target.Kind() == reflect.String {
			target.SetString(v)
			return nil
		}
	case int64:
		if target.Kind() == reflect.Int {
			target.SetInt(v)
			return nil
		}
	case bool:
		if target.Kind() == reflect.Bool {
			target.SetBool(v)
			return nil
		}
	case []any:
		if target.Kind() == reflect.Slice {
			list := reflect.MakeSlice(target.Type(), len(v), len(v))
			for i, element := range v {
				if err := assign(list.Index(i), element); err != nil {
					return fmt.Errorf("element %d: %w", i+1, err)
				}
			}
			target.Set(list)
			return nil
		}
	}
	return fmt.Errorf("must be %s, not %s", wanted(target.Kind()), kindOf(value))
}

// setText gives the field a value as the environment has it: lists with commas.
func (f field) setText(text string) error {
	switch f.value.Kind() {
	case reflect.Int:
		if _, isText := f.value.Addr().Interface().(encoding.TextUnmarshaler); isText {
			break
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("must be a whole number, not %q", text)
		}
		return f.set(n)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("must be true or false, not %q", text)
		}
		return f.set(text == "true")
	case reflect.Slice:
		list := []any{}
		for element := range strings.SplitSeq(text, ",") {
			if element = strings.TrimSpace(element); element != "" {
				list = append(list, element)
			}
		}
		return f.set(list)
	}
	return f.set(text)
}

func wanted(kind reflect.Kind) string {
	switch kind {
	case reflect.Int:
		return "a whole number without quotes"
	case reflect.Bool:
		return "true or false without quotes"
	case reflect.Slice:
		return "a list in [ ]"
	default:
		return "text in quotes"
	}
}

func kindOf(value any) string {
	switch value.(type) {
	case string:
		return "text"
	case int64:
		return "a number"
	case float64:
		return "a number with a point"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	case map[string]any:
		return "a section"
	default:
		return "a date or time"
	}
}
