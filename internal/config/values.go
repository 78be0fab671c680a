package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time, written as "48h", "1h30m", "90d" or "1d12h". A
// day has 24 hours. It is never negative and at most 100 years.
type Duration time.Duration

const longest = 36525 * 24 * time.Hour

// ParseDuration reads what Duration describes.
func ParseDuration(text string) (Duration, error) {
	bad := func(why string) error {
		return fmt.Errorf("%q is no duration: %s, as \"90d\", \"48h\" or \"1h30m\"", text, why)
	}
	days, rest, hasDays := strings.Cut(text, "d")
	var total time.Duration
	if hasDays {
		n, err := strconv.ParseUint(days, 10, 31)
		if err != nil || n > uint64(longest/(24*time.Hour)) {
			return 0, bad("days are a whole number up to 36525 before the \"d\"")
		}
		total = time.Duration(n) * 24 * time.Hour
	} else {
		rest = text
	}
	if rest != "" || !hasDays {
		more, err := time.ParseDuration(rest)
		if err != nil {
			return 0, bad("write numbers with units d, h, m, s")
		}
		if more < 0 {
			return 0, bad("it must not be negative")
		}
		if more > longest {
			return 0, bad("at most 36525d")
		}
		total += more
	}
	if total > longest {
		return 0, bad("at most 36525d")
	}
	return Duration(total), nil
}

// Std gives the standard library's form.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String gives the form that ParseDuration reads, with days where they are whole.
func (d Duration) String() string {
	const day = Duration(24 * time.Hour)
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalText is String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDuration.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}

// Rate is so many in so long, written as "300/3h". Count 0 means no limit and is
// written "0".
type Rate struct {
	Count int
	Per   Duration
}

// ParseRate reads what Rate describes.
func ParseRate(text string) (Rate, error) {
	if text == "0" {
		return Rate{}, nil
	}
	count, per, _ := strings.Cut(text, "/")
	n, err := strconv.ParseUint(count, 10, 31)
	length, err2 := ParseDuration(per)
	if err != nil || err2 != nil || n == 0 || length < Duration(time.Second) {
		return Rate{}, fmt.Errorf("%q is no rate: write a number, \"/\" and a duration of a second or more, as \"300/3h\"; or \"0\" for no limit", text)
	}
	return Rate{Count: int(n), Per: length}, nil
}

// String gives the form that ParseRate reads.
func (r Rate) String() string {
	if r.Count == 0 {
		return "0"
	}
	return strconv.Itoa(r.Count) + "/" + r.Per.String()
}

// MarshalText is String.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseRate.
func (r *Rate) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRate(string(text))
	return err
}

// Reference says where a secret is, and is none itself: "file:PATH",
// "credential:NAME" (a file of systemd's $CREDENTIALS_DIRECTORY) or, for keys
// only, "passphrase-file:PATH". "" = not set.
type Reference string

// UnmarshalText checks the form. Its error does not repeat the text: it may be
// the secret, written where the reference belongs.
func (r *Reference) UnmarshalText(text []byte) error {
	scheme, place, _ := strings.Cut(string(text), ":")
	switch {
	case len(text) == 0:
	case scheme != "file" && scheme != "credential" && scheme != "passphrase-file":
		return errors.New("secrets are not written here: put it into a file and write \"file:PATH\", or \"credential:NAME\" for one that systemd loads")
	case place == "":
		return fmt.Errorf("%q needs a name after it", scheme+":")
	case scheme == "credential" && (place != filepath.Base(place) || place == ".."):
		return errors.New("\"credential:\" takes a name without slashes, as in systemd's LoadCredential=NAME:PATH")
	}
	*r = Reference(text)
	return nil
}

// Scheme is "file", "credential", "passphrase-file" or "".
func (r Reference) Scheme() string {
	scheme, _, _ := strings.Cut(string(r), ":")
	return scheme
}
