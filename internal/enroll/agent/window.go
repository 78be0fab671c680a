package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"chancery/acme"
	"chancery/internal/enroll"
	"chancery/internal/enroll/guard"
	"chancery/internal/enroll/vault"
)

// How often a CA is asked when to renew (RFC 9773 §4.3.2: a client sets limits to what
// Retry-After says; §4.3.3: six hours after lasting errors).
const (
	soonestAsk    = 5 * time.Minute
	usualAsk      = 6 * time.Hour // when the CA does not say, and after lasting errors
	longestAsk    = 24 * time.Hour
	questionTime  = 30 * time.Second
	pastSpread    = 15 * time.Minute // over which windows in the past are spread, at most
	longestReason = 500
)

// question asks a CA about one certificate, and writes down the answer. It gives how many
// questions in a row failed.
func (a *Agent) question(ctx context.Context, rec vault.Record, parts Parts, failed int) int {
	asking, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	info, err := parts.Advisor.RenewalInfo(asking, rec)
	if ctx.Err() != nil {
		return failed
	}
	now := a.config.Now()
	if err != nil {
		a.unanswered(ctx, rec, err, failed+1)
		return failed + 1
	}
	w, wrong := a.judge(*info, rec, now)
	a.keepWindow(ctx, rec, w)
	old := rec.Window
	changed := old == nil || !old.Start.Equal(w.Start) || !old.End.Equal(w.End) || old.Explanation != w.Explanation
	switch {
	case !changed && wrong == "":
	case wrong != "":
		if old == nil || !old.Start.IsZero() || failed > 0 {
			a.warn(rec.Sheet.Name, "what the CA says of renewal is not followed: %s", wrong)
		}
	default:
		text := fmt.Sprintf("the CA wants it renewed between %s and %s; %s was drawn", describe(w.Start), describe(w.End), describe(w.Chosen))
		if w.Explanation != "" {
			text += "; it explains: " + guard.Shown(w.Explanation)
		}
		a.tell(enroll.Event{Kind: EventWindow, Certificate: rec.Sheet.Name, Until: w.Chosen, NotAfter: rec.Current.NotAfter, Directory: rec.Current.Directory, Message: text})
	}
	return 0
}

// unanswered notes when to ask again after a failure. A moment that was drawn before
// stays; without one the certificate is renewed by its own time.
func (a *Agent) unanswered(ctx context.Context, rec vault.Record, err error, failed int) {
	wait := usualAsk
	switch {
	case errors.Is(err, acme.ErrNotOffered):
		wait = longestAsk
	case enroll.Temporary(err):
		wait = min(soonestAsk<<min(failed-1, 10), usualAsk)
	}
	wait -= time.Duration(a.draw() * float64(wait) / 4)
	if failed == 1 && !errors.Is(err, acme.ErrNotOffered) {
		a.warn(rec.Sheet.Name, "its CA could not be asked when to renew it; that changes nothing but the time: %v", err)
	}
	w := vault.Window{}
	if rec.Window != nil {
		w = *rec.Window
	}
	w.Ask = a.config.Now().Add(wait).UTC().Truncate(time.Second)
	a.keepWindow(ctx, rec, w)
}

// keepWindow writes a window down, if the certificate is still the one that it is about.
func (a *Agent) keepWindow(ctx context.Context, rec vault.Record, w vault.Window) {
	err := a.config.Store.UpdateRecord(context.WithoutCancel(ctx), rec.Sheet.Name, func(r *vault.Record) error {
		if r.Current == nil || r.Current.CertID != rec.Current.CertID {
			return errReplaced
		}
		r.Window = &w
		return nil
	})
	if err != nil && !errors.Is(err, errReplaced) {
		a.warn(rec.Sheet.Name, "what the CA says of renewal could not be kept: %v", err)
	}
}

var errReplaced = errors.New("the certificate was replaced meanwhile")

// judge makes of an answer what is kept. wrong says why its window is not followed.
func (a *Agent) judge(info acme.RenewalInfo, rec vault.Record, now time.Time) (w vault.Window, wrong string) {
	c, old := *rec.Current, rec.Window
	again := usualAsk
	if info.RetryAfter > 0 {
		again = min(max(info.RetryAfter, soonestAsk), longestAsk)
	}
	w.Ask = now.Add(again).UTC().Truncate(time.Second)
	got := info.SuggestedWindow
	if wrong = absurd(got, c); wrong != "" {
		return w, wrong
	}
	w.Start, w.End, w.Explanation = got.Start.UTC(), got.End.UTC(), explanation(info.ExplanationURL)
	if old != nil && old.Start.Equal(w.Start) && old.End.Equal(w.End) && !old.Chosen.IsZero() {
		w.Chosen = old.Chosen // drawn once: drawing at each question would favour early moments
		return w, ""
	}
	info.SuggestedWindow.End = sooner(got.End, latest(c))
	at, err := info.RenewAt(a.draw())
	if err != nil {
		return vault.Window{Ask: w.Ask}, err.Error()
	}
	if !at.After(now) { // renew now (RFC 9773 §4.2), though not all of a CA's at once
		spread := min(pastSpread, a.config.Settings.Jitter, c.NotAfter.Sub(now)/10)
		at = now.Add(time.Duration(a.draw() * float64(max(spread, 0))))
	}
	w.Chosen = at.UTC().Truncate(time.Second)
	return w, ""
}

// latest is the last moment to which a CA may put off a renewal: a tenth of the life is
// kept for failures.
func latest(c vault.Issued) time.Time { return c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 10) }

// absurd says why a window cannot be meant; "" = it can. The certificate is renewed by its
// own time then (RFC 9773 §4.2: as if there were no answer).
func absurd(w acme.Window, c vault.Issued) string {
	const years = 20 * 365 * 24 * time.Hour
	switch {
	case w.Start.IsZero() || w.End.IsZero():
		return "it names no window"
	case !w.End.After(w.Start):
		return fmt.Sprintf("the window ends (%s) before it starts (%s)", describe(w.End), describe(w.Start))
	case !w.Start.Before(latest(c)):
		return fmt.Sprintf("the window starts at %s, when the certificate, which ends at %s, has less than a tenth of its life left", describe(w.Start), describe(c.NotAfter))
	case w.Start.Before(c.NotBefore.Add(-years)), w.End.After(c.NotAfter.Add(years)):
		return fmt.Sprintf("the window, from %s to %s, has nothing to do with the certificate's life", describe(w.Start), describe(w.End))
	}
	return ""
}

// explanation is the page at which the CA explains itself, for people to read. It is never
// fetched.
func explanation(url string) string {
	if len(url) > longestReason || !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") {
		return ""
	}
	return url
}
