package directory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"chancery/internal/enroll/guard"
)

// maxDepth bounds the nesting of a directory; its own have three levels.
const maxDepth = 16

// parseObject reads exactly one JSON object in UTF-8. Names are compared as they are
// written, in their case, and one that occurs twice is refused at every depth: what one
// reader sees another might not.
func parseObject(text []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("it is empty")
	}
	if !utf8.Valid(text) {
		return nil, errors.New("it is no JSON: not UTF-8 (RFC 8259 §8.1)")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	value, err := parseValue(d, maxDepth)
	if err != nil {
		return nil, err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("it is no JSON object (RFC 8555 §7.1.1)")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the JSON object")
	}
	return object, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, badJSON(err)
	}
	open, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if depth == 0 {
		return nil, fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	if open == '[' {
		return parseList(d, depth)
	}
	object := map[string]any{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, badJSON(err)
		}
		name, ok := token.(string)
		if !ok {
			return nil, errors.New("it is no JSON: a member has no name")
		}
		if _, twice := object[name]; twice {
			return nil, fmt.Errorf("it has the member \"%s\" twice", guard.Shown(name))
		}
		if object[name], err = parseValue(d, depth-1); err != nil {
			return nil, err
		}
	}
	_, err = d.Token()
	return object, badJSON(err)
}

func parseList(d *json.Decoder, depth int) (any, error) {
	list := []any{}
	for d.More() {
		item, err := parseValue(d, depth-1)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	_, err := d.Token()
	return list, badJSON(err)
}

func badJSON(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("it is no JSON: %s", guard.Shown(err.Error()))
}
