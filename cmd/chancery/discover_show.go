package main

import (
	"fmt"
	"io"
	"strings"

	"chancery/caa"
	"chancery/internal/enroll"
	"chancery/internal/enroll/guard"
)

// showReport writes what discover found for people. What comes from the DNS or a CA is
// a stranger's and shown escaped.
func showReport(w io.Writer, r enroll.Report, servers string) {
	for i, judged := range r.Judged {
		var set caa.Set
		if i < len(r.Found) {
			set = r.Found[i]
		}
		showName(w, judged, set)
	}
	fmt.Fprintf(w, "\nDNS       %s\n", servers)
	if e := r.Existing; e != nil {
		fmt.Fprintf(w, "In place  %s\n", existingSentence(*e))
	}
	showOffers(w, r)
	if len(r.Excluded) > 0 {
		fmt.Fprintf(w, "\nNot asked:\n")
		for _, e := range r.Excluded {
			fmt.Fprintf(w, "  %s: %s\n", guard.Shown(e.Name), guard.Shown(e.Rule))
		}
	}
	if len(r.Notes) > 0 {
		fmt.Fprintf(w, "\nTo note:\n")
		for _, n := range r.Notes {
			fmt.Fprintf(w, "  - %s\n", guard.Shown(n))
		}
	}
	switch {
	case len(r.Offers) > 0 && !usable(r):
		fmt.Fprintf(w, "\nNo certificate can be had for now: none of the CAs above can be used. What to do stands after \"but\".\n")
	case len(r.Offers) > 0:
		fmt.Fprintf(w, "\nNothing was ordered. To get the certificate: chancery get %s\n", strings.Join(r.Names, " "))
	}
}

// showName writes the records of one name, where they stand, and what each means.
func showName(w io.Writer, judged caa.Report, set caa.Set) {
	fmt.Fprintf(w, "\n%s\n", judged.Subject)
	fmt.Fprintf(w, "  %s\n", guard.Shown(judged.Reason))
	for _, s := range set.Steps {
		fmt.Fprintf(w, "  at %s: %s, %s%s\n", s.Name, countRecords(s), secured(s.Authentic), aliased(s))
	}
	for _, j := range judged.Records {
		priority := ""
		if j.Priority != "" {
			priority = ", priority " + guard.Shown(j.Priority)
		}
		fmt.Fprintf(w, "    %s\n      %s%s: %s\n", j.Record, j.Use, priority, guard.Shown(j.Reason))
	}
}

func countRecords(s caa.Step) string {
	switch {
	case s.Failure != "":
		return "the look-up failed and was forgiven (" + guard.Shown(s.Failure) + ")"
	case s.Found == 0:
		return "no CAA records"
	case s.Found == 1:
		return "1 CAA record"
	}
	return fmt.Sprintf("%d CAA records", s.Found)
}

func secured(authentic bool) string {
	if authentic {
		return "validated by DNSSEC"
	}
	return "not validated by DNSSEC"
}

func aliased(s caa.Step) string {
	if len(s.Aliases) == 0 {
		return ""
	}
	return ", an alias of " + guard.Shown(strings.Join(s.Aliases, ", then "))
}

func existingSentence(e enroll.ExistingFound) string {
	text := "a certificate by " + guard.Shown(e.Issuer)
	if e.Ours {
		text += ", obtained by this client"
	}
	if e.CA != "" {
		text += " from " + guard.Shown(e.CA)
	}
	if e.Kind != caa.AnyKind {
		text += " (" + string(e.Kind) + ")"
	}
	if !e.Current {
		return text + "; it expired on " + day(e.NotAfter)
	}
	return text + "; valid until " + day(e.NotAfter)
}

// showOffers writes the plan.
func showOffers(w io.Writer, r enroll.Report) {
	if len(r.Offers) == 0 {
		fmt.Fprintf(w, "\nThere is no CA to ask.\n")
		if r.Error != "" {
			fmt.Fprintf(w, "%s\n", indented(r.Error, "  "))
		}
		return
	}
	if len(r.Offers) == 1 {
		fmt.Fprintf(w, "\nOne CA would be asked:\n")
	} else {
		fmt.Fprintf(w, "\nThese would be asked, in this order:\n")
	}
	for n, o := range r.Offers {
		fmt.Fprintf(w, "\n%3d  %s\n", n+1, offerTitle(o))
		for _, line := range offerLines(o) {
			fmt.Fprintf(w, "     %-12s%s\n", line[0], line[1])
		}
	}
}

func offerTitle(o enroll.OfferReport) string {
	text := guard.Shown(o.Issuer)
	if o.Default != "" {
		text = "configured CA " + guard.Shown(o.Default)
		if o.Issuer != "" {
			text += " (" + guard.Shown(o.Issuer) + ")"
		}
	}
	if o.Kind != caa.AnyKind {
		text += ", for a certificate of kind " + string(o.Kind)
	}
	if !o.Usable {
		text += "  -- cannot be used"
	}
	return text
}

// offerLines are what is known of an offer, with a word before each.
func offerLines(o enroll.OfferReport) [][2]string {
	lines := [][2]string{{"why", guard.Shown(o.Reason)}, {"directory", guard.Shown(strings.Join(append([]string{o.Asked}, o.Redirects...), " -> "))}}
	add := func(label, text string) {
		if text != "" {
			lines = append(lines, [2]string{label, text})
		}
	}
	add("vouched by", vouched(o))
	if o.Directory != "" {
		add("terms", termsLine(o))
		add("account", accountLine(o))
	}
	add("profile", guard.Shown(o.Profile))
	for _, c := range o.Challenges {
		add("challenges", guard.Shown(c.Name)+": "+strings.Join(c.Types, ", "))
	}
	if o.SetBack {
		add("down", "it failed "+times(o.Circuit.Failures)+" in a row; others are asked first until "+moment(o.Circuit.OpenUntil))
	}
	if !o.Usable {
		add("but", guard.Shown(o.Why))
	}
	return lines
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func vouched(o enroll.OfferReport) string {
	switch o.VouchedBy {
	case "caaIdentities":
		return "the directory itself: its caaIdentities name " + guard.Shown(o.Issuer)
	case "tls-name":
		return "the TLS name of " + guard.Shown(o.Issuer) + " alone: the directory names no caaIdentities"
	case "configuration":
		return "the configuration of this client"
	}
	return guard.Shown(o.VouchedBy)
}

func termsLine(o enroll.OfferReport) string {
	switch {
	case o.Terms == "":
		return "none"
	case o.Basis == "":
		return guard.Shown(o.Terms) + "  (not agreed to: --agree-tos does)"
	case o.Basis == "caa":
		return guard.Shown(o.Terms) + "  (agreed to by the CAA record; read them)"
	}
	return guard.Shown(o.Terms) + "  (agreed to by " + guard.Shown(o.Basis) + ")"
}

func accountLine(o enroll.OfferReport) string {
	switch {
	case o.Account != "":
		return guard.Shown(o.Account)
	case o.Bound:
		return "a new one, with the external account binding that you entered"
	case o.Binding:
		return "needs an external account binding: chancery account eab add " + guard.Shown(o.Issuer)
	}
	return "a new one"
}

// indented writes a text of several lines, each with by in front.
func indented(text, by string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = by + guard.Shown(line)
	}
	return strings.Join(lines, "\n")
}
