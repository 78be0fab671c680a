// Package manual is what somebody who writes one of our files is told: what is
// wrong in it and where, and what each key means. The meaning stands in one
// place, the comments of the fields that the file is read into.
//
// It knows no file of ours and no key: neither the server's configuration nor
// the client's settings, nor any other room.
package manual

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"strings"
)

// Comments gives the comments of the fields of all structures in a Go source
// file, by their owner, as "ACME.MaxNames". A source that is no Go has none.
func Comments(source string) map[string]string {
	texts := map[string]string{}
	file, err := parser.ParseFile(token.NewFileSet(), "manual.go", source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return texts // of embedded files: the compiler has accepted this very text
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
}

// Remark writes a text as comments of TOML, each line after margin.
func Remark(out io.Writer, margin, text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(out, "%s# %s\n", margin, strings.TrimSpace(line))
	}
}

// Literal is a value in TOML: text, a number, true or false, a list of them, or
// what writes itself as text. JSON's form of those is TOML's too, but for DEL,
// which TOML wants escaped.
func Literal(value any) (string, error) {
	if t, ok := value.(encoding.TextMarshaler); ok {
		text, err := t.MarshalText()
		if err != nil {
			return "", err
		}
		value = string(text)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", err
	}
	return strings.ReplaceAll(strings.TrimSpace(out.String()), "\x7f", `\u007f`), nil
}
