package caa

import (
	"regexp"
	"strings"
)

// scanner reads issue-value (RFC 8659 §4.2) from left to right, one byte ahead.
type scanner struct {
	text   string
	at     int
	reason string // why the text cannot be read on
}

func (s *scanner) end() bool { return s.at == len(s.text) }

func (s *scanner) fail(reason string) bool {
	s.reason = reason
	return false
}

// space skips *WSP: blanks and tabulators, nothing else.
func (s *scanner) space() {
	for !s.end() && (s.text[s.at] == ' ' || s.text[s.at] == '\t') {
		s.at++
	}
}

// run takes all bytes that are of a kind.
func (s *scanner) run(kind func(byte) bool) string {
	start := s.at
	for !s.end() && kind(s.text[s.at]) {
		s.at++
	}
	return s.text[start:s.at]
}

func (s *scanner) take(c byte) bool {
	if s.end() || s.text[s.at] != c {
		return false
	}
	s.at++
	return true
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// issueValue reads the whole text.
func (s *scanner) issueValue() (issuer string, parameters []Parameter, ok bool) {
	s.space()
	if !s.end() && s.text[s.at] != ';' {
		if issuer, ok = s.issuer(); !ok {
			return "", nil, false
		}
		s.space()
	}
	if s.end() {
		return issuer, nil, true
	}
	if !s.take(';') {
		return "", nil, s.fail("after the issuer's name only a ; may come")
	}
	s.space()
	for !s.end() {
		p, ok := s.parameter()
		if !ok {
			return "", nil, false
		}
		parameters = append(parameters, p)
		s.space()
		if s.end() {
			break
		}
		if !s.take(';') {
			return "", nil, s.fail("between two parameters there must be a ; and a value holds no blanks")
		}
		if s.space(); s.end() {
			return "", nil, s.fail("no ; may follow the last parameter")
		}
	}
	return issuer, parameters, true
}

// issuer reads issuer-domain-name = label *("." label).
func (s *scanner) issuer() (string, bool) {
	start := s.at
	for {
		if !s.word("the issuer's name must be a domain name of letters, digits and inner hyphens") {
			return "", false
		}
		if !s.take('.') {
			return lower(s.text[start:s.at]), true
		}
	}
}

// word reads (ALPHA / DIGIT) *( *("-") (ALPHA / DIGIT)), which labels of names
// and tags of parameters have in common.
func (s *scanner) word(otherwise string) bool {
	start := s.at
	w := s.run(func(c byte) bool { return alphanumeric(c) || c == '-' })
	if w == "" || w[0] == '-' || w[len(w)-1] == '-' {
		s.at = start
		return s.fail(otherwise)
	}
	return true
}

// parameter reads tag *WSP "=" *WSP value. The value may be empty.
func (s *scanner) parameter() (Parameter, bool) {
	start := s.at
	if !s.word("a parameter's name must be of letters, digits and inner hyphens") {
		return Parameter{}, false
	}
	tag := lower(s.text[start:s.at])
	s.space()
	if !s.take('=') {
		return Parameter{}, s.fail("a parameter's name must be followed by =")
	}
	s.space()
	value := s.run(func(c byte) bool { return '!' <= c && c <= '~' && c != ';' })
	return Parameter{Tag: tag, Value: value}, true
}

var (
	aroundEquals = regexp.MustCompile(`[ \t]*=[ \t]*`)
	scheme       = regexp.MustCompile(`^(?i)https?://`)
)

// meant guesses at the well-formed value that somebody had in mind who wrote a
// malformed one: blanks where a ; belongs (published examples have them), a ; too
// many, a final dot, quotes, or an address instead of a name. Only a guess that
// parses is given, and nothing but a message is ever made of it.
func meant(value string) string {
	value = aroundEquals.ReplaceAllString(strings.NewReplacer(`"`, "", "'", "").Replace(value), "=")
	parts := strings.FieldsFunc(value, func(c rune) bool { return strings.ContainsRune("; \t\r\n", c) })
	if len(parts) == 0 {
		return ";"
	}
	if !strings.Contains(parts[0], "=") {
		parts[0] = scheme.ReplaceAllString(strings.TrimRight(parts[0], ",./"), "")
		if parts[0], _, _ = strings.Cut(parts[0], "/"); parts[0] == "" {
			return ""
		}
	} else {
		parts = append([]string{""}, parts...)
	}
	guess := strings.Join(parts, "; ")
	s := scanner{text: guess}
	if _, _, ok := s.issueValue(); !ok {
		return ""
	}
	return guess
}
