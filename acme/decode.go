package acme

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"
)

// maxDepth bounds the nesting of payloads; ACME's own have three levels.
const maxDepth = 16

// DecodePayload decodes a request's payload into a pointer to one of the request types.
// Unknown members are ignored (RFC 8555 §7.3, §7.3.2, §7.5.1). Everything else that
// is not exactly right is refused with a malformed *Problem that says what and where:
// an empty payload, trailing data, members that occur twice or differ from a known one
// only in case, and values of the wrong type.
func DecodePayload(payload []byte, into any) error {
	if len(payload) == 0 {
		return Malformed("the payload is empty; this resource wants a JSON object (an empty one reads, as POST-as-GET)")
	}
	if !utf8.Valid(payload) || !json.Valid(payload) {
		return Malformed("the payload is not one well-formed JSON object in UTF-8")
	}
	at := skipSpace(payload, 0)
	if payload[at] != '{' {
		return Malformed("the payload is not a JSON object")
	}
	if err := checkNames(payload, reflect.TypeOf(into), place{}); err != nil {
		return err
	}
	err := json.Unmarshal(payload, into)
	if err == nil {
		return nil
	}
	return decodeProblem(err)
}

func decodeProblem(err error) error {
	var p *Problem
	var wrong *json.UnmarshalTypeError
	var when *time.ParseError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &wrong):
		return Malformed("the payload's member %q must be %s, not %s", wrong.Field, jsonKind(wrong.Type), wrong.Value)
	case errors.As(err, &when):
		return Malformed("the time %.40q is not RFC 3339, such as 2026-01-31T12:00:00Z", when.Value)
	default:
		return Malformed("the payload cannot be read: a value has the wrong form")
	}
}

func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	default:
		return "an object"
	}
}

// place is where in the payload a value stands.
type place struct {
	path  string
	depth int
}

// checkNames walks the value beside the type that it will be decoded into. The decoder
// itself takes the last of two equal members and matches names without regard to case,
// so what one reader sees another may not: both are refused.
func checkNames(data []byte, t reflect.Type, at place) error {
	if at.depth > maxDepth {
		return Malformed("the payload is nested too deeply")
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch i := skipSpace(data, 0); data[i] {
	case '{':
		return checkObject(data, t, at)
	case '[':
		var element reflect.Type
		if t != nil && t.Kind() == reflect.Slice {
			element = t.Elem()
		}
		n := 0
		for i = skipSpace(data, i+1); data[i] != ']'; i = skipSpace(data, i) {
			if data[i] == ',' {
				i = skipSpace(data, i+1)
			}
			end := skipValue(data, i)
			if err := checkNames(data[i:end], element, place{fmt.Sprintf("%s[%d]", at.path, n), at.depth + 1}); err != nil {
				return err
			}
			i = end
			n++
		}
	}
	return nil
}

func checkObject(data []byte, t reflect.Type, at place) error {
	known := fieldTypes(t)
	err := eachMember(data, func(name string, value []byte) error {
		next, ok := known[name]
		if !ok {
			for k := range known {
				if strings.EqualFold(k, name) {
					return Malformed("the payload's member %q must be spelt %q", name, k)
				}
			}
		}
		return checkNames(value, next, place{strings.TrimPrefix(at.path+"."+name, "."), at.depth + 1})
	})
	var p *Problem
	if err == nil || errors.As(err, &p) {
		return err
	}
	if at.path == "" {
		return Malformed("the payload %v", err)
	}
	return Malformed("the payload's member %q %v", at.path, err)
}

// fieldTypes maps the JSON names of a struct's fields to their types; for anything else
// nothing is known.
func fieldTypes(t reflect.Type) map[string]reflect.Type {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	known := make(map[string]reflect.Type, t.NumField())
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			known[name] = field.Type
		}
	}
	return known
}
