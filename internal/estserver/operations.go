package estserver

import (
	"context"
	"math"
	"slices"
	"time"

	"chancery/est"
	"chancery/internal/admin"
	"chancery/internal/ca"
)

// Operations are what administrators can do here. Errors are of the core.
func (s *Server) Operations() []admin.Operation {
	const people, desk = admin.Registrar, admin.Approver
	return []admin.Operation{
		admin.Op(admin.Spec{Name: "est.label.list", Role: admin.Auditor, Summary: "lists the labels, and what some clients will stumble over"}, s.listLabels),
		admin.Op(admin.Spec{Name: "est.user.add", Role: people, Summary: "makes a user with a standing password"}, s.addUser),
		admin.Op(admin.Spec{Name: "est.user.list", Role: people, Summary: "lists the users, the newest first"}, s.listUsers),
		admin.Op(admin.Spec{Name: "est.user.remove", Role: people, Summary: "removes a user's standing password"}, s.removeUser),
		admin.Op(admin.Spec{Name: "est.otp.add", Role: people, Summary: "makes a password that is good for one certificate"}, s.addOneTime),
		admin.Op(admin.Spec{Name: "est.otp.list", Role: people, Summary: "lists the one-time passwords and what became of them, the newest first"}, s.listOneTime),
		admin.Op(admin.Spec{Name: "est.otp.remove", Role: people, Summary: "removes a one-time password"}, s.removeOneTime),
		admin.Op(admin.Spec{Name: "est.requests.list", Role: desk, Summary: "lists the requests that wait or were decided, the newest first"}, s.listRequests),
		admin.Op(admin.Spec{Name: "est.requests.show", Role: desk, Summary: "shows a request, as it came"}, s.showRequest),
		admin.Op(admin.Spec{Name: "est.requests.approve", Role: desk, Summary: "approves a request: its repeat gets the certificate"}, s.approve),
		admin.Op(admin.Spec{Name: "est.requests.refuse", Role: desk, Summary: "refuses a request: its repeat gets the reason"}, s.refuseRequest),
		admin.Op(admin.Spec{Name: "est.key.add", Role: admin.Administrator, Summary: "registers a key to which keys made for a device are encrypted"}, s.addKey),
		admin.Op(admin.Spec{Name: "est.key.list", Role: admin.Auditor, Summary: "lists the registered keys, the newest first"}, s.listKeys),
		admin.Op(admin.Spec{Name: "est.key.remove", Role: admin.Administrator, Summary: "removes a registered key"}, s.removeKey),
		admin.Op(admin.Spec{Name: "est.archive.get", Role: admin.Administrator, Summary: "gives the encrypted copy of a key that was made for a certificate"}, s.archivedKey),
	}
}

// administrator gives a caller as the core and the events know him.
func administrator(caller admin.Caller) ca.Principal {
	return ca.Principal{Room: "admin", ID: caller.Name}
}

// Page is the input of lists: where to go on, and how long.
type Page struct {
	Cursor string `json:"cursor,omitempty"`
	Limit  int    `json:"limit,omitempty"` // 100 unless it says so; 1000 at most
}

// size gives the page's length. The error is of kind [ca.Invalid].
func (p Page) size() (int, error) {
	switch {
	case p.Limit == 0:
		return 100, nil
	case p.Limit < 0 || p.Limit > 1000:
		return 0, ca.Errorf(ca.Invalid, "a page has 1 to 1000 lines, not %d", p.Limit)
	}
	return p.Limit, nil
}

// expiry judges when something shall end; zero is never.
func expiry(at, now time.Time) error {
	if !at.IsZero() && (!at.After(now) || at.Unix() > math.MaxInt32*100) {
		return ca.Errorf(ca.Invalid, "it would have ended before it began: name a time to come")
	}
	return nil
}

// LabelShown is a label as est.label.list shows it.
type LabelShown struct {
	Name           string          `json:"name"`
	Path           string          `json:"path"`
	Profile        string          `json:"profile"`
	Operations     []est.Operation `json:"operations"`
	Accept         []string        `json:"accept"`
	Names          []string        `json:"names"`
	Makers         []string        `json:"makers"`
	Manual         bool            `json:"manual"`
	ManualRenewals bool            `json:"manual_renewals"`
	RequireLinking bool            `json:"require_linking"`
}

// LabelsShown is the output of est.label.list. Warnings are [Server.Warnings].
type LabelsShown struct {
	Labels   []LabelShown `json:"labels"`
	Warnings []string     `json:"warnings"`
	Digest   string       `json:"digest"`
	Realm    string       `json:"realm"`
}

func (s *Server) listLabels(ctx context.Context, _ admin.Caller, _ struct{}) (LabelsShown, error) {
	out := LabelsShown{Labels: []LabelShown{}, Warnings: append([]string{}, s.Warnings(ctx)...), Digest: s.Digest, Realm: s.Realm}
	for i := range s.Labels {
		l := &s.Labels[i]
		one := LabelShown{Name: l.Name, Path: est.WellKnown, Profile: l.Profile, Accept: []string{}, Names: append([]string{}, l.Names...),
			Makers: append([]string{}, l.Makers...), Manual: l.Manual, ManualRenewals: l.ManualRenewals, RequireLinking: l.RequireLinking}
		if l.Name != "" {
			one.Path += "/" + l.Name
		}
		for _, op := range est.Operations {
			if l.offers(op) {
				one.Operations = append(one.Operations, op)
			}
		}
		for _, w := range l.Accept {
			one.Accept = append(one.Accept, w.String())
		}
		out.Labels = append(out.Labels, one)
	}
	return out, nil
}

// checkLabels wants labels that there are. The error is of kind [ca.Invalid].
func (s *Server) checkLabels(names []string) error {
	for i, name := range names {
		if s.labels[name] == nil {
			return ca.Errorf(ca.Invalid, "there is no label %q; see: chancery est label list", clip(name))
		}
		if slices.Contains(names[:i], name) {
			return ca.Errorf(ca.Invalid, "the label %q is there twice", name)
		}
	}
	return nil
}
