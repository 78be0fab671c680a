package enroll

import (
	"fmt"
	"slices"
	"strings"

	"chancery/caa"
	"chancery/internal/spelling"
)

// properties are the tags of CAA records that somebody may have meant (RFC 8659 §4,
// RFC 9495, RFC 8657, and CAs' contacts).
var properties = []string{"issue", "issuewild", "issuemail", "issuevmc", "iodef", "contactemail", "contactphone"}

// misspelled names records whose tag nobody knows and that is nearly one that is known:
// they restrict nobody.
func misspelled(reports []caa.Report) (notes []string) {
	for _, rep := range reports {
		for _, j := range rep.Records {
			tag := strings.ToLower(j.Record.Tag)
			if slices.Contains(properties, tag) {
				continue
			}
			meant := spelling.Nearest(tag, properties)
			note := fmt.Sprintf("the record %s has the tag %q, which nobody reads: was %q meant?", j.Record, tag, meant)
			if meant != "" && !slices.Contains(notes, note) {
				notes = append(notes, note)
			}
		}
	}
	return notes
}
