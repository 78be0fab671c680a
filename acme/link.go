package acme

import "strings"

// links gives the targets of the answer's Link header fields with the given relation
// (RFC 8288 §3), resolved against the request's URL, in their order.
func (r *response) links(relation string) []string {
	var found []string
	for _, field := range r.header.Values("Link") {
		for field != "" {
			var l link
			var ok bool
			if l, field, ok = nextLink(field); !ok {
				break
			}
			if !l.has(relation) {
				continue
			}
			if u, err := r.url.Parse(l.target); err == nil {
				found = append(found, u.String())
			}
		}
	}
	return found
}

type link struct{ target, rel string }

// has looks among the relations, which white space separates, regardless of case.
func (l link) has(relation string) bool {
	for _, rel := range strings.Fields(l.rel) {
		if strings.EqualFold(rel, relation) {
			return true
		}
	}
	return false
}

// nextLink reads `<target>; name=value; …` up to the next comma outside of quotes.
// What does not look like that ends the field: ok is false.
func nextLink(s string) (l link, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t,")
	if !strings.HasPrefix(s, "<") {
		return link{}, "", false
	}
	l.target, s, ok = strings.Cut(s[1:], ">")
	if !ok {
		return link{}, "", false
	}
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "" || s[0] == ',' {
			return l, s, true
		}
		if s[0] != ';' {
			return link{}, "", false
		}
		var name, value string
		name, value, s = nextParam(s[1:])
		// RFC 8288 §3.3: only the first rel counts.
		if l.rel == "" && strings.EqualFold(name, "rel") {
			l.rel = value
		}
	}
}

// nextParam reads name, name=token or name="quoted".
func nextParam(s string) (name, value, rest string) {
	s = strings.TrimLeft(s, " \t")
	end := strings.IndexAny(s, "=;,")
	if end < 0 {
		return strings.TrimSpace(s), "", ""
	}
	name = strings.TrimSpace(s[:end])
	if s[end] != '=' {
		return name, "", s[end:]
	}
	s = strings.TrimLeft(s[end+1:], " \t")
	if !strings.HasPrefix(s, `"`) {
		end = strings.IndexAny(s, ";,")
		if end < 0 {
			end = len(s)
		}
		return name, strings.TrimSpace(s[:end]), s[end:]
	}
	var b strings.Builder
	i := 1
	for ; i < len(s) && s[i] != '"'; i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return name, b.String(), s[min(i+1, len(s)):]
}
