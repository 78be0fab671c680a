package config

import (
	"fmt"

	"chancery/internal/manual"
)

// Problem is one thing wrong with the configuration, for the person who wrote it.
type Problem = manual.Problem

// Problems is everything that is wrong, so that it can be mended in one go.
// Match one with errors.As on Problem.
type Problems = manual.Problems

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

// ProblemAt gives what is wrong with a key, of a list's table as "est.label[1].names",
// with the place where it was set; what no file has set is without one.
func (c *Config) ProblemAt(key, text string) Problem { return c.origins[key].problem(key, text) }
