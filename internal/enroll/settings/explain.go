package settings

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// comments are the manual's texts by owner, as "DNS.Resolvers".
var comments = sync.OnceValue(func() map[string]string {
	texts := map[string]string{}
	file, err := parser.ParseFile(token.NewFileSet(), "settings.go", manual, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return texts // the compiler has accepted this very file
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if body, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range body.Fields.List {
				for _, name := range f.Names {
					texts[spec.Name.Name+"."+name.Name] = strings.TrimSpace(f.Doc.Text())
				}
			}
		}
		return false
	})
	return texts
})

// Explain writes the settings as TOML that Load reads to the same values, each
// below its manual. Where there is no entry of an array of tables an empty one
// shows, as a comment, what it can hold. Secrets are only references.
func (s *Settings) Explain(w io.Writer) error {
	e := explainer{out: &bytes.Buffer{}}
	e.table("", reflect.ValueOf(s).Elem())
	if e.err != nil {
		return e.err
	}
	_, err := w.Write(e.out.Bytes())
	return err
}

type explainer struct {
	out     *bytes.Buffer
	comment string // "# " while an example is written
	err     error
}

// table writes the values of a struct, then the tables in it.
func (e *explainer) table(prefix string, v reflect.Value) {
	var tables []reflect.StructField
	for f, value := range v.Fields() {
		name, tagged := f.Tag.Lookup("toml")
		switch {
		case !tagged:
		case isTable(f.Type):
			tables = append(tables, f)
		default:
			e.remark(comments()[v.Type().Name()+"."+f.Name])
			text, err := literal(value)
			if err != nil && e.err == nil {
				e.err = fmt.Errorf("setting %s%s: %w", prefix, name, err)
			}
			fmt.Fprintf(e.out, "%s%s = %s\n", e.comment, name, text)
		}
	}
	for _, f := range tables {
		e.section(prefix+f.Tag.Get("toml"), comments()[v.Type().Name()+"."+f.Name], v.FieldByIndex(f.Index))
	}
}

// section writes one table, or each of an array.
func (e *explainer) section(path, text string, v reflect.Value) {
	fmt.Fprintln(e.out)
	e.remark(text)
	if v.Kind() == reflect.Struct {
		fmt.Fprintf(e.out, "%s[%s]\n", e.comment, path)
		e.table(path+".", v)
		return
	}
	inner := *e
	if v.Len() == 0 {
		inner.comment = "# "
		v = reflect.MakeSlice(v.Type(), 1, 1)
	}
	for i := range v.Len() {
		fmt.Fprintf(inner.out, "%s[[%s]]\n", inner.comment, path)
		inner.table(path+".", v.Index(i))
	}
	e.err = inner.err
}

// remark writes the manual; in an example with a second sign.
func (e *explainer) remark(text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(e.out, "%s# %s\n", e.comment, strings.TrimSpace(line))
	}
}

func isTable(t reflect.Type) bool {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[Settings]().PkgPath() && t != reflect.TypeFor[Command]()
}

// literal is a value in TOML. A JSON string, number or list is one in TOML too,
// but for DEL, which TOML wants escaped.
func literal(v reflect.Value) (string, error) {
	value := v.Interface()
	switch typed := value.(type) {
	case Command:
		if value = typed.Line; len(typed.List) > 0 {
			value = typed.List
		}
	case encoding.TextMarshaler:
		text, err := typed.MarshalText()
		if err != nil {
			return "", err
		}
		value = string(text)
	default:
		if v.Kind() == reflect.Map {
			return inline(v)
		}
		if v.Kind() == reflect.Slice && v.Len() == 0 {
			return "[]", nil
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", err
	}
	return strings.ReplaceAll(strings.TrimSpace(out.String()), "\x7f", `\u007f`), nil
}

// inline is a map, sorted.
func inline(v reflect.Value) (string, error) {
	entries := map[string]string{}
	for iterator := v.MapRange(); iterator.Next(); {
		key, err := literal(iterator.Key())
		if err != nil {
			return "", err
		}
		if entries[key], err = literal(iterator.Value()); err != nil {
			return "", err
		}
	}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		parts = append(parts, key+" = "+entries[key])
	}
	return "{" + strings.Join(parts, ", ") + "}", nil
}
