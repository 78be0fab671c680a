// Package plain makes what strangers wrote fit to be shown: on a terminal, in a log, in a
// mail, in the environment of a command. The house has this one rule of what may be seen.
//
// The package knows nothing of who shows what to whom.
package plain

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Visible tells whether a character may be shown as it is. Control characters, line
// ends, spaces other than the plain one, and what is invisible or changes the direction
// of a text may not.
func Visible(r rune) bool {
	return r == ' ' || unicode.IsGraphic(r) && !unicode.IsSpace(r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
}

// Line gives a text in which everything is visible: what is not, and octets that are not
// UTF-8, come out as Go writes them in quotes (\x1b, \u202e). After most characters it is
// cut, and ends with "…"; most < 0 does not cut.
func Line(text string, most int) string {
	var b strings.Builder
	count := 0
	for i, r := range text {
		if count++; most >= 0 && count > most {
			return b.String() + "…"
		}
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case Visible(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// Folded is Line after line ends and tabs became spaces, and rows of spaces one: a text
// of several lines on one.
func Folded(text string) string {
	text = strings.NewReplacer("\n", " ", "\r", " ", "\t", " ").Replace(text)
	return strings.Join(strings.Fields(Line(text, -1)), " ")
}
