package admin

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
)

// Shape is an example-like picture of a JSON value: an object of field names and
// shapes, a list with one shape, or a word: "text", "number", "true or false",
// "bytes (base64)", "anything", "nothing".
type Shape = any

var (
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
)

func shapeFor[T any]() Shape {
	t := reflect.TypeFor[T]()
	if t.Kind() == reflect.Struct && t.NumField() == 0 {
		return "nothing"
	}
	return shapeOf(t, nil)
}

// shapeOf follows encoding/json. above holds the structs being described, as
// types may contain themselves.
func shapeOf(t reflect.Type, above []reflect.Type) Shape {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	pointer := reflect.PointerTo(t)
	switch {
	case pointer.Implements(textMarshaler): // time.Time too, which is text
		return "text"
	case pointer.Implements(jsonMarshaler):
		return "anything"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
			return "bytes (base64)"
		}
		return []Shape{shapeOf(t.Elem(), above)}
	case reflect.Map:
		return map[string]Shape{"*": shapeOf(t.Elem(), above)}
	case reflect.Struct:
		return shapeOfStruct(t, above)
	case reflect.Interface:
		return "anything"
	default:
		return "number"
	}
}

func shapeOfStruct(t reflect.Type, above []reflect.Type) Shape {
	for _, one := range above {
		if one == t {
			return "as above"
		}
	}
	above = append(above[:len(above):len(above)], t)
	fields := map[string]Shape{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() || f.Anonymous && name == "":
			continue
		case name == "":
			name = f.Name
		}
		fields[name] = shapeOf(f.Type, above)
	}
	return fields
}
