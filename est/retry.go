package est

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// retryMax bounds what RetryAfter gives, so that no sum with it overflows.
const retryMax = 365 * 24 * time.Hour

// RetryAfter reads a Retry-After header (RFC 9110 §10.2.3; RFC 7030 §4.2.3): seconds or
// a date, which counts from now. It tells false for anything else. The past is zero,
// more than a year is a year.
func RetryAfter(header string, now time.Time) (time.Duration, bool) {
	header = strings.TrimSpace(header)
	wait := retryMax
	if seconds, err := strconv.ParseUint(header, 10, 63); err == nil {
		if seconds < uint64(retryMax/time.Second) {
			wait = time.Duration(seconds) * time.Second
		}
		return wait, true
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), retryMax), true
}
