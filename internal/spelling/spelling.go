// Package spelling finds the word that somebody meant who wrote another.
//
// It knows words, and not what they are for: neither keys of a file, nor lints,
// nor any other room.
package spelling

import "strings"

// Nearest gives the known word that a person most likely meant, "" if none is
// close. Words with dots are paths of keys: the right name in the wrong section
// is close, too.
func Nearest(word string, known []string) string {
	best, distance := "", len(word)/3+2
	last := word[strings.LastIndexByte(word, '.')+1:]
	for _, candidate := range known {
		d := Edits(word, candidate)
		if name := candidate[strings.LastIndexByte(candidate, '.')+1:]; name == last {
			d = min(d, 2) // the right name in the wrong place
		}
		if d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

// Edits counts the insertions, deletions and replacements of octets that make a
// into b.
func Edits(a, b string) int {
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
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
