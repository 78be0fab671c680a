package manual

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with a file, for the person who wrote it.
type Problem struct {
	Source string // the file, "environment variable NAME" or "command line"; "" = nobody set the key
	Line   int    // from 1, in a file; 0 = unknown
	Column int    // from 1, in bytes; 0 = unknown
	Key    string // as "acme.max_names" or "certificate[2].names"; "" = no key in particular
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

// Sort puts them in the order of the file, those without a line behind.
func (p Problems) Sort() {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(min(b.Line, 1), min(a.Line, 1)),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
}
