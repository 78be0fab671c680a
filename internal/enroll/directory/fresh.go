package directory

import (
	"net/http"
	"strings"
	"time"
)

const (
	day = 24 * time.Hour

	// unsaid is how long an answer is used that says nothing of caching. RFC 9111 §4.2.2
	// leaves it to the cache; it spares a CA the same question for each name of one run.
	unsaid = 5 * time.Minute
)

// transit is when a request left and its answer came.
type transit struct{ asked, came time.Time }

// life says how long a private cache may go on using an answer (RFC 9111 §4.2), at most a
// day and never less than 0. What is contradictory or cannot be read is stale, as §4.2.1
// advises. s-maxage is for shared caches; no-cache counts as if it stood for the whole
// answer even if it names fields, because nothing is revalidated here.
func (t transit) life(h http.Header) time.Duration {
	directives := cacheControl(strings.Join(h.Values("Cache-Control"), ","))
	_, noStore := directives["no-store"]
	_, noCache := directives["no-cache"]
	if noStore || noCache || strings.TrimSpace(h.Get("Vary")) == "*" {
		return 0
	}
	lifetime := unsaid
	if values, ok := directives["max-age"]; ok { // §5.3: Expires is then ignored
		lifetime = day
		for _, value := range values {
			d, _ := seconds(value)
			lifetime = min(lifetime, d)
		}
	} else if expires := h.Values("Expires"); len(expires) > 0 {
		lifetime = 0
		if at, err := http.ParseTime(expires[0]); err == nil && len(expires) == 1 {
			lifetime = at.Sub(t.date(h))
		}
	}
	return max(min(lifetime-t.age(h), day), 0)
}

// date is when the answer was made, by its own word, or when it came.
func (t transit) date(h http.Header) time.Time {
	if at, err := http.ParseTime(h.Get("Date")); err == nil {
		return at
	}
	return t.came
}

// age is how old the answer was when it came (RFC 9111 §4.2.3).
func (t transit) age(h http.Header) time.Duration {
	stated, _ := seconds(strings.TrimSpace(h.Get("Age")))
	corrected := stated + max(t.came.Sub(t.asked), 0)
	return max(t.came.Sub(t.date(h)), corrected, 0)
}

// seconds reads RFC 9111 §1.2.2's delta-seconds; what is beyond measure is long.
func seconds(text string) (time.Duration, bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	var n int64
	for _, digit := range text {
		n = min(n*10+int64(digit-'0'), 1<<31) // the RFC's own bound
	}
	return time.Duration(n) * time.Second, true
}

// cacheControl reads RFC 9111 §5.2's list: names in lower case, each with its values in
// order, unquoted, "" for none. It reads on past what it cannot read.
func cacheControl(text string) map[string][]string {
	directives := map[string][]string{}
	for text != "" {
		var item string
		item, text = nextItem(text)
		name, value, _ := strings.Cut(item, "=")
		name = strings.ToLower(strings.Trim(name, " \t"))
		if name != "" {
			directives[name] = append(directives[name], unquote(strings.Trim(value, " \t")))
		}
	}
	return directives
}

// nextItem cuts at the first comma that stands in no quoted string.
func nextItem(text string) (item, rest string) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == ',' && !quoted:
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

// unquote takes a quoted-string apart (RFC 9110 §5.6.4); anything else stays as it is.
func unquote(text string) string {
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return text
	}
	var b strings.Builder
	inner := text[1 : len(text)-1]
	for i := 0; i < len(inner); i++ {
		if inner[i] == '\\' && i+1 < len(inner) {
			i++
		}
		b.WriteByte(inner[i])
	}
	return b.String()
}
