package notify

import (
	"strings"
	"unicode/utf8"

	"chancery/internal/plain"
)

// oneLine makes a text fit for one line of a header, a log or a terminal: line ends and
// tabs become spaces, other control and invisible characters are written as in Go.
func oneLine(text string) string { return plain.Folded(text) }

// lines is oneLine for each line of a text.
func lines(text string) []string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	var all []string
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		all = append(all, strings.Repeat(" ", min(indent, 16))+oneLine(line))
	}
	return all
}

// clip cuts a text after so many characters.
func clip(text string, most int) string {
	count := 0
	for i := range text {
		if count == most {
			return text[:i] + "…"
		}
		count++
	}
	return text
}

// clipText bounds the text of a message, in octets, without splitting a character.
func clipText(text string) string {
	if len(text) <= maxText {
		return text
	}
	return cutOctets(text, maxText) + "\n[…]\n"
}

// cutOctets gives as much of a text as fits, in whole characters.
func cutOctets(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}
