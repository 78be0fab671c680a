package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"chancery/internal/client"
	"chancery/internal/enroll/guard"
	"chancery/internal/enroll/vault"

	"github.com/spf13/cobra"
)

// held is a certificate of the client's as renew --list shows it.
type held struct {
	Name      string    `json:"name"`
	State     string    `json:"state"` // "valid", "unused" (valid, not in its place), "expired", "revoked", "none" yet, or "damaged"
	Names     []string  `json:"names,omitempty"`
	CA        string    `json:"ca,omitempty"`
	Directory string    `json:"directory,omitempty"`
	Serial    string    `json:"serial,omitempty"`
	NotBefore time.Time `json:"notBefore,omitzero"`
	NotAfter  time.Time `json:"notAfter,omitzero"`
	Due       time.Time `json:"due,omitzero"` // when it is renewed
	Revoked   time.Time `json:"revoked,omitzero"`
	Failures  int       `json:"failures,omitempty"` // tries in vain since the last success
	Cause     string    `json:"cause,omitempty"`    // of the last one, or of what is wrong with its record
	Unused    string    `json:"unused,omitempty"`   // why it is not in its place, or its command failed
	Path      string    `json:"path,omitempty"`     // the directory with its files
}

func heldOf(c *client.Client, rec vault.Record, err error) held {
	h := held{Name: rec.Sheet.Name, Names: rec.Sheet.Names, Failures: rec.Tries.Failures, Cause: rec.Tries.Cause, Revoked: rec.Revoked}
	if err != nil {
		h.State, h.Cause = "damaged", err.Error()
		return h
	}
	if h.State = "none"; rec.Current == nil {
		return h
	}
	now := rec.Current
	h.CA, h.Directory, h.Serial, h.NotBefore, h.NotAfter = now.Default, now.Directory, now.Serial, now.NotBefore, now.NotAfter
	if now.Issuer != "" {
		h.CA = now.Issuer
	}
	h.Due, h.Path = c.Engine.Due(rec), c.Vault.Lineage(rec.Sheet.Name)
	switch {
	case !rec.Revoked.IsZero():
		h.State, h.Due = "revoked", rec.Revoked // the next renewal gets another
	case !time.Now().Before(now.NotAfter):
		h.State = "expired"
	default:
		h.State = "valid"
	}
	if u := rec.Undeployed; u != nil {
		h.Unused = u.Cause
		if h.State == "valid" {
			h.State = "unused"
		}
	}
	return h
}

// listHeld shows the certificates that get obtained, those alone that are named if any are.
func (p *program) listHeld(cmd *cobra.Command, f *clientFlags, names []string) error {
	c, err := p.openClient(cmd, f, nil)
	if err != nil {
		return err
	}
	defer p.closeClient(cmd.Context(), c)
	all := []held{}
	if len(names) == 0 {
		for rec, err := range c.Vault.Records() {
			all = append(all, heldOf(c, rec, err))
		}
	}
	for _, name := range names {
		rec, err := c.Vault.Record(name)
		if err != nil {
			return err
		}
		all = append(all, heldOf(c, rec, nil))
	}
	return p.show(all, func(w io.Writer) { heldTable(w, all) })
}

func heldTable(w io.Writer, all []held) {
	if len(all) == 0 {
		fmt.Fprintln(w, "There are no certificates; get one: chancery get NAME")
		return
	}
	fmt.Fprintln(w, "NAME\tSTATE\tENDS\tRENEWED\tCA\tNAMES")
	for _, h := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", guard.Shown(h.Name), h.State, orDash(day(h.NotAfter)), orDash(day(h.Due)), orDash(guard.Shown(h.CA)), orDash(strings.Join(h.Names, ", ")))
	}
	for _, h := range all {
		if h.Unused != "" {
			fmt.Fprintf(w, "\n%s is not in use: %s\n", guard.Shown(h.Name), guard.Shown(h.Unused))
		}
		if h.Failures > 0 || h.State == "damaged" {
			fmt.Fprintf(w, "\n%s failed %d times: %s\n", guard.Shown(h.Name), h.Failures, guard.Shown(h.Cause))
		}
	}
}
