package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with the configuration, for the person who wrote it.
type Problem struct {
	Source string // the file, "environment variable NAME" or "command line"; "" = nobody set the key
	Line   int    // from 1, in a file; 0 = unknown
	Column int    // from 1, in bytes; 0 = unknown
	Key    string // as "acme.max_names"; "" = no key in particular
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

// sorted puts them in the order of the file, the others behind.
func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(min(b.Line, 1), min(a.Line, 1)),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
	return p
}

// Warning is something to tell that is no reason not to start.
type Warning struct {
	Key  string // the configuration key or environment variable
	Text string // what is odd and what to do
}

// String is "KEY: TEXT".
func (w Warning) String() string { return w.Key + ": " + w.Text }

// origin says who set a key.
type origin struct {
	source       string
	line, column int
}

// String is for the effective configuration's reader.
func (o origin) String() string {
	if o.line == 0 {
		return o.source
	}
	return fmt.Sprintf("%s:%d", o.source, o.line)
}

// problem is what is wrong at that place.
func (o origin) problem(key, text string) Problem {
	return Problem{Source: o.source, Line: o.line, Column: o.column, Key: key, Text: text}
}

// nearest gives the known word that a person most likely meant, "" if none is
// close. A key in the wrong section is found too.
func nearest(word string, known []string) string {
	best, distance := "", len(word)/3+2
	last := word[strings.LastIndexByte(word, '.')+1:]
	for _, candidate := range known {
		d := edits(word, candidate)
		if name := candidate[strings.LastIndexByte(candidate, '.')+1:]; name == last {
			d = min(d, 2) // the right name in the wrong place
		}
		if d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

// edits counts the insertions, deletions and replacements from a to b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
