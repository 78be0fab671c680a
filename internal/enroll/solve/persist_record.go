package solve

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"chancery/acme"
	"chancery/caa"
)

// PersistRecord is what a dns-persist-01 record says (draft-ietf-acme-dns-persist,
// "Challenge Response and Verification"): an issuer may take an account's orders for the
// name as proven.
type PersistRecord struct {
	Issuer  string // lower case
	Account string // URL
	// Wildcard: policy=wildcard; for wildcards, too. Any other policy counts as none.
	Wildcard bool
	// Until is when it ends; the zero time: never.
	Until time.Time
}

// The parameters of the record, in lower case.
const (
	persistAccount = "accounturi"
	persistPolicy  = "policy"
	persistUntil   = "persistuntil"
)

// PersistName is where the record of a domain belongs, with the final dot. A leading
// "*." does not count.
func PersistName(domain string) string {
	return "_validation-persist." + strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(domain, "*."), ".")) + "."
}

// ParsePersistRecord reads the text of a TXT record strictly: issue-value of RFC 8659
// §4.2 with an issuer and one accounturi; parameters of other names are ignored, any of
// ours given twice is an error, as is a persistUntil that is no number of seconds.
func ParsePersistRecord(text string) (PersistRecord, error) {
	p, err := caa.Parse(caa.Record{Tag: caa.Issue, Value: text})
	if err != nil {
		var malformed *caa.MalformedError
		if errors.As(err, &malformed) {
			return PersistRecord{}, fmt.Errorf("it breaks the grammar at octet %d: %s", malformed.Offset, malformed.Reason)
		}
		return PersistRecord{}, err
	}
	if p.Issuer == "" {
		return PersistRecord{}, errors.New("it names no issuer")
	}
	// Servers compare octets: the draft has issuers in lower case.
	if !strings.HasPrefix(strings.TrimLeft(text, " \t"), p.Issuer) {
		return PersistRecord{}, errors.New("its issuer is not in lower case")
	}
	record := PersistRecord{Issuer: p.Issuer}
	for _, tag := range []string{persistAccount, persistPolicy, persistUntil} {
		if n := len(p.Values(tag)); n > 1 {
			return PersistRecord{}, fmt.Errorf("it has %s %d times", tag, n)
		}
	}
	if values := p.Values(persistAccount); len(values) == 0 || values[0] == "" {
		return PersistRecord{}, errors.New("it names no accounturi")
	} else {
		record.Account = values[0]
	}
	for _, v := range p.Values(persistPolicy) {
		record.Wildcard = strings.EqualFold(v, "wildcard")
	}
	for _, v := range p.Values(persistUntil) {
		// 253402300799 is the end of the year 9999.
		seconds, err := strconv.ParseUint(v, 10, 64)
		if err != nil || seconds > 253402300799 {
			return PersistRecord{}, fmt.Errorf("its persistUntil %s is no number of seconds since 1970", quote(v))
		}
		record.Until = time.Unix(int64(seconds), 0).UTC()
	}
	return record, nil
}

// String gives the record's text; ParsePersistRecord reads it back.
func (r PersistRecord) String() string {
	text := r.Issuer + "; " + persistAccount + "=" + r.Account
	if r.Wildcard {
		text += "; " + persistPolicy + "=wildcard"
	}
	if !r.Until.IsZero() {
		text += "; persistUntil=" + strconv.FormatInt(r.Until.Unix(), 10)
	}
	return text
}

// lacks says why the record does not serve, in words; "" if it does.
func (r PersistRecord) lacks(identifier acme.Identifier, account string, now time.Time) string {
	switch {
	case r.Account != account:
		return "it is for the account " + quote(r.Account)
	case strings.HasPrefix(identifier.Value, "*.") && !r.Wildcard:
		return "it has no policy=wildcard"
	case !r.Until.IsZero() && now.After(r.Until):
		return "it ended at " + r.Until.Format(time.RFC3339)
	}
	return ""
}
