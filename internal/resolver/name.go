package resolver

import "strings"

// canonicalName gives the name in lower case without the final dot, or an
// *Error of kind BadName. Only letters, digits, hyphens and underscores are
// taken: nothing that is looked up here needs more, and names arrive from
// strangers (a redirect, a CNAME record).
func canonicalName(name string) (string, *Error) {
	bad := func(reason string) (string, *Error) {
		if len(name) > 260 {
			name = name[:260] + "…"
		}
		return "", &Error{Name: name, Kind: BadName, Reason: reason}
	}
	n := strings.ToLower(strings.TrimSuffix(name, "."))
	if n == "" {
		return bad("it is empty")
	}
	if len(n) > 253 { // RFC 1035 §2.3.4: 255 octets on the wire
		return bad("it is longer than 253 characters")
	}
	for label := range strings.SplitSeq(n, ".") {
		if label == "" {
			return bad("it has an empty label")
		}
		if len(label) > 63 {
			return bad("it has a label of more than 63 characters")
		}
	}
	// Checked as written: lower case makes a k of the Kelvin sign.
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return bad("a host name has only letters, digits, hyphens and dots")
		}
	}
	return n, nil
}

// bare brings a name from the wire into the form of canonicalName, unchecked.
func bare(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// unescape turns the presentation form in which the DNS library keeps
// character-strings (\" and \DDD) back into the bytes that were on the wire.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\' || i+1 == len(s):
			out = append(out, s[i])
		case i+3 < len(s) && isDigit(s[i+1]) && isDigit(s[i+2]) && isDigit(s[i+3]):
			out = append(out, (s[i+1]-'0')*100+(s[i+2]-'0')*10+(s[i+3]-'0'))
			i += 3
		default:
			out = append(out, s[i+1])
			i++
		}
	}
	return string(out)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
