package conform

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"regexp"
	"strings"

	"chancery/est"
)

// random gives n octets of chance.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// challenge is one offer of a WWW-Authenticate field.
type challenge struct {
	scheme     string // lower case
	parameters map[string]string
	raw        string
}

var (
	schemes    = regexp.MustCompile(`(?i)(?:^|,)\s*(Basic|Digest|Bearer|Negotiate)(?:\s|$)`)
	parameters = regexp.MustCompile(`([A-Za-z][\w-]*)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,]+)`)
)

// challenges reads the offers of an answer in their order (RFC 9110 §11.6.1): as far as
// the suite has to answer them.
func challenges(r *reply) (all []challenge) {
	for _, value := range r.values("WWW-Authenticate") {
		places := schemes.FindAllStringSubmatchIndex(value, -1)
		for i, place := range places {
			end := len(value)
			if i+1 < len(places) {
				end = places[i+1][0]
			}
			c := challenge{scheme: strings.ToLower(value[place[2]:place[3]]), parameters: map[string]string{}, raw: value[place[2]:end]}
			for _, m := range parameters.FindAllStringSubmatch(value[place[1]:end], -1) {
				c.parameters[strings.ToLower(m[1])] = strings.Trim(m[2], `"`)
			}
			all = append(all, c)
		}
	}
	return all
}

// basic gives the Authorization for a name and a password (RFC 7617).
func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// answer gives the Authorization for a Digest challenge (RFC 7616 §3.4), "" where its
// algorithm is none that the suite has.
func (c challenge) answer(method, target string, who *est.Login) string {
	var fresh func() hash.Hash
	switch strings.ToUpper(c.parameters["algorithm"]) {
	case "", "MD5":
		fresh = md5.New
	case "SHA-256":
		fresh = sha256.New
	default:
		return ""
	}
	sum := func(text string) string {
		h := fresh()
		_, _ = h.Write([]byte(text)) // a hash takes everything
		return hex.EncodeToString(h.Sum(nil))
	}
	one := hex.EncodeToString(random(8))
	first := sum(who.User + ":" + c.parameters["realm"] + ":" + string(who.Password))
	second := sum(method + ":" + target)
	text := fmt.Sprintf(`Digest username=%q, realm=%q, nonce=%q, uri=%q`, who.User, c.parameters["realm"], c.parameters["nonce"], target)
	if c.parameters["qop"] == "" {
		text += fmt.Sprintf(`, response="%s"`, sum(first+":"+c.parameters["nonce"]+":"+second))
	} else {
		text += fmt.Sprintf(`, qop=auth, nc=00000001, cnonce="%s", response="%s"`, one, sum(strings.Join([]string{first, c.parameters["nonce"], "00000001", one, "auth", second}, ":")))
	}
	if c.parameters["algorithm"] != "" {
		text += ", algorithm=" + c.parameters["algorithm"]
	}
	if c.parameters["opaque"] != "" {
		text += fmt.Sprintf(`, opaque=%q`, c.parameters["opaque"])
	}
	return text
}
