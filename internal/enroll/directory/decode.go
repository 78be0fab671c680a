package directory

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"chancery/acme"
	"chancery/internal/enroll/guard"
)

// decode judges the body as RFC 8555 §7.1.1's object. The media type is not asked: a
// copy at the well-known place of a plain web server has no name that tells it.
func (a *answer) decode() (acme.Directory, error) {
	if coding := strings.TrimSpace(a.header.Get("Content-Encoding")); coding != "" && !strings.EqualFold(coding, "identity") {
		return acme.Directory{}, errors.New("it is compressed, which was not asked for")
	}
	return decode(a.body)
}

func decode(text []byte) (acme.Directory, error) {
	if start := bytes.TrimLeft(text, " \t\r\n"); len(start) > 0 && start[0] == '<' {
		return acme.Directory{}, errors.New("it is a web page")
	}
	object, err := parseObject(text)
	if err != nil {
		return acme.Directory{}, err
	}
	r := reader{object: object}
	d := acme.Directory{
		NewNonce:    r.resource("newNonce", true),
		NewAccount:  r.resource("newAccount", true),
		NewOrder:    r.resource("newOrder", true),
		NewAuthz:    r.resource("newAuthz", false),
		RevokeCert:  r.resource("revokeCert", false), // §7.1.1 lists it, and some servers have none
		KeyChange:   r.resource("keyChange", false),  // likewise
		RenewalInfo: r.resource("renewalInfo", false),
	}
	if value := object["meta"]; value != nil {
		members, ok := value.(map[string]any)
		if !ok {
			return acme.Directory{}, errors.New(`its "meta" is no object (RFC 8555 §7.1.1)`)
		}
		d.Meta = (&reader{object: members, within: "meta.", err: &r.failed}).meta()
	}
	if r.failed != nil {
		return acme.Directory{}, r.failed
	}
	return d, nil
}

// reader takes members out of an object and keeps the first error.
type reader struct {
	object map[string]any
	within string
	failed error
	err    *error // where to keep it, if not in failed
}

func (r *reader) fail(name, format string, values ...any) {
	at := &r.failed
	if r.err != nil {
		at = r.err
	}
	if *at == nil {
		*at = fmt.Errorf("its %q %s", r.within+name, fmt.Sprintf(format, values...))
	}
}

// text is a member that must be a string if it is there. Here and elsewhere null is as
// good as absent: some languages write empty lists so.
func (r *reader) text(name string) (string, bool) {
	value := r.object[name]
	if value == nil {
		return "", false
	}
	text, ok := value.(string)
	if !ok {
		r.fail(name, "is no string")
	}
	return text, ok
}

// resource is the URL of one of the server's resources.
func (r *reader) resource(name string, required bool) string {
	text, ok := r.text(name)
	if !ok {
		if required {
			r.fail(name, "is missing (RFC 8555 §7.1.1)")
		}
		return ""
	}
	if err := guard.CheckURL(text); err != nil {
		r.fail(name, "cannot be used: %v", err)
	}
	return text
}

// What a directory may hold: all of it is kept, and shown, and a stranger wrote it.
const (
	maxListed  = 50  // caaIdentities, and profiles
	maxName    = 253 // octets of an identity (RFC 1035 §2.3.4)
	maxProfile = 100 // octets of a profile's name
)

func (r *reader) meta() *acme.Meta {
	m := &acme.Meta{TermsOfService: r.link("termsOfService"), Website: r.link("website")}
	if value := r.object["externalAccountRequired"]; value != nil {
		var ok bool
		if m.ExternalAccountRequired, ok = value.(bool); !ok {
			r.fail("externalAccountRequired", "is neither true nor false")
		}
	}
	if value := r.object["caaIdentities"]; value != nil {
		list, ok := value.([]any)
		if !ok || len(list) > maxListed {
			r.fail("caaIdentities", "is no list, or too long")
			list = nil
		}
		for _, item := range list {
			text, ok := item.(string)
			switch {
			case !ok:
				r.fail("caaIdentities", "holds something else than strings")
			case len(text) > maxName:
				r.fail("caaIdentities", "holds what is too long for a domain name: \"%s\"", guard.Shown(text))
			}
			m.CAAIdentities = append(m.CAAIdentities, text)
		}
	}
	m.Profiles = r.profiles()
	return m
}

// link is a URL that is only ever shown to a person, never fetched: plain http is no
// danger there, and test servers have data URLs.
func (r *reader) link(name string) string {
	text, ok := r.text(name)
	if !ok || text == "" {
		return ""
	}
	u, err := url.Parse(text)
	printable := len(text) <= 2048 && !strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f })
	switch {
	case err != nil || !printable || u.User != nil:
		r.fail(name, "is no link that can be shown: \"%s\"", guard.Shown(text))
	case (u.Scheme == "https" || u.Scheme == "http") && u.Host != "", u.Scheme == "data":
	default:
		r.fail(name, "is no link to the web: \"%s\"", guard.Shown(text))
	}
	return text
}

// profiles are names to be sent back exactly, so one with characters that cannot be
// shown is refused rather than mended; descriptions are for reading and are mended.
func (r *reader) profiles() map[string]string {
	value := r.object["profiles"]
	if value == nil {
		return nil
	}
	members, ok := value.(map[string]any)
	if !ok || len(members) > maxListed {
		r.fail("profiles", "is no object, or has too many members")
		return nil
	}
	profiles := map[string]string{}
	for name, value := range members {
		description, ok := value.(string)
		switch {
		case !ok:
			r.fail("profiles", "describes \"%s\" by something else than a string", guard.Shown(name))
		case name == "" || len(name) > maxProfile || strings.ContainsFunc(name, hidden):
			r.fail("profiles", "has the unusable name \"%s\"", guard.Shown(name))
		}
		profiles[name] = guard.Shown(description)
	}
	return profiles
}

func hidden(c rune) bool {
	return !unicode.IsGraphic(c) || c == utf8.RuneError || c != ' ' && unicode.IsSpace(c)
}
