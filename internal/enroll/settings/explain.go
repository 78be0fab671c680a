package settings

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"chancery/internal/manual"
)

// comments are the manual's texts by owner, as "DNS.Resolvers".
var comments = sync.OnceValue(func() map[string]string { return manual.Comments(source) })

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
			manual.Remark(e.out, e.comment, comments()[v.Type().Name()+"."+f.Name])
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
	manual.Remark(e.out, e.comment, text)
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

func isTable(t reflect.Type) bool {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[Settings]().PkgPath() && t != reflect.TypeFor[Command]()
}

// literal is a value in TOML.
func literal(v reflect.Value) (string, error) {
	command, ok := v.Interface().(Command)
	switch {
	case ok && len(command.List) > 0:
		return manual.Literal(command.List)
	case ok:
		return manual.Literal(command.Line)
	case v.Kind() == reflect.Map:
		return inline(v)
	case v.Kind() == reflect.Slice && v.Len() == 0: // a nil one would be null
		return "[]", nil
	}
	return manual.Literal(v.Interface())
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
