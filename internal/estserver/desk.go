package estserver

import (
	"context"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"time"
	"unicode"

	"chancery/internal/admin"
	"chancery/internal/ca"
)

// RequestsWanted is the input of est.requests.list.
type RequestsWanted struct {
	Page
	State RequestState `json:"state,omitempty"` // "": all
	Label *string      `json:"label,omitempty"` // none: all; "" is the service without a label
}

// RequestShown is a request as approvers see it.
type RequestShown struct {
	ID        string       `json:"id"`
	State     RequestState `json:"state"`
	Ended     bool         `json:"ended,omitempty"` // nobody decided in time, or it is kept no longer
	Label     string       `json:"label"`
	Operation string       `json:"operation"`
	Identity  string       `json:"identity"` // who asks
	Subject   string       `json:"subject"`
	Names     []string     `json:"names"`
	KeyHash   string       `json:"key_hash,omitempty"` // SHA-256 of the public key, hex; none when we make the key
	Address   string       `json:"address"`
	Created   time.Time    `json:"created"`
	Expires   time.Time    `json:"expires"`
	Decided   time.Time    `json:"decided,omitzero"`
	By        string       `json:"by,omitempty"`
	Reason    string       `json:"reason,omitempty"`
	Serial    string       `json:"serial,omitempty"` // of the certificate, once it was fetched
	CSR       string       `json:"csr,omitempty"`    // PEM, its secrets blanked; est.requests.show's alone
}

// RequestsShown is the output of est.requests.list.
type RequestsShown struct {
	Requests []RequestShown `json:"requests"`
	Cursor   string         `json:"cursor,omitempty"`
}

func (s *Server) listRequests(ctx context.Context, _ admin.Caller, in RequestsWanted) (RequestsShown, error) {
	limit, err := in.size()
	if err != nil {
		return RequestsShown{}, err
	}
	switch in.State {
	case "", Undecided, Approved, Refused:
	default:
		return RequestsShown{}, ca.Errorf(ca.Invalid, "the state %q is not one of pending, approved, refused", clip(string(in.State)))
	}
	list, next, err := s.Requests.ListRequests(ctx, RequestQuery{State: in.State, Label: in.Label, Cursor: in.Cursor, Limit: limit, Now: s.Clock()})
	if err != nil {
		return RequestsShown{}, err
	}
	out := RequestsShown{Requests: []RequestShown{}, Cursor: next}
	for i := range list {
		one, err := s.requestShown(ctx, &list[i])
		if err != nil {
			return RequestsShown{}, err
		}
		out.Requests = append(out.Requests, one)
	}
	return out, nil
}

func (s *Server) requestShown(ctx context.Context, p *Pending) (RequestShown, error) {
	out := RequestShown{
		ID: p.ID, State: p.State, Ended: !s.Clock().Before(p.Expires), Label: p.Label, Operation: p.Operation, Identity: p.Identity,
		Subject: p.Subject, Names: []string{}, KeyHash: hex.EncodeToString(p.KeyHash), Address: p.Address,
		Created: p.Created, Expires: p.Expires, Decided: p.Decided, By: p.DecidedBy.ID, Reason: p.Reason,
	}
	for _, n := range p.Names {
		out.Names = append(out.Names, n.String())
	}
	if p.State != Approved {
		return out, nil
	}
	r, err := s.Ledger.ByRequest(ctx, p.IssueID())
	if err == nil {
		out.Serial = string(r.Serial)
	} else if ca.KindOf(err) != ca.NotFound {
		return out, err
	}
	return out, nil
}

func (s *Server) showRequest(ctx context.Context, _ admin.Caller, in Named) (RequestShown, error) {
	p, err := s.request(ctx, in.ID)
	if err != nil {
		return RequestShown{}, err
	}
	out, err := s.requestShown(ctx, &p)
	if err != nil {
		return out, err
	}
	der, err := veiled(p.CSR) // a release before kept requests as they came
	out.CSR = string(pem.EncodeToMemory(&pem.Block{Type: requestBlock(p.CSR), Bytes: der}))
	return out, err
}

func (s *Server) request(ctx context.Context, id string) (Pending, error) {
	if !ca.WellFormedID(id) {
		return Pending{}, ca.Errorf(ca.NotFound, "%q is no id of a request, which has 26 characters; see: chancery est requests", clip(id))
	}
	return s.Requests.RequestByID(ctx, id)
}

// RequestDecided is the input of est.requests.approve and est.requests.refuse.
type RequestDecided struct {
	ID     string `json:"id"`
	Reason string `json:"reason,omitempty"` // one line; of a refusal the client is told
}

func (s *Server) approve(ctx context.Context, caller admin.Caller, in RequestDecided) (RequestShown, error) {
	return s.decide(ctx, caller, Decision{ID: in.ID, Reason: in.Reason, State: Approved})
}

func (s *Server) refuseRequest(ctx context.Context, caller admin.Caller, in RequestDecided) (RequestShown, error) {
	if strings.TrimSpace(in.Reason) == "" {
		return RequestShown{}, ca.Errorf(ca.Invalid, "say why: whoever asked is told the reason (--reason TEXT)")
	}
	return s.decide(ctx, caller, Decision{ID: in.ID, Reason: in.Reason, State: Refused})
}

// maxReason bounds a reason in octets: it goes into answers.
const maxReason = 500

// decide stores a decision. It is kept for who asked as long as the request might have
// waited.
func (s *Server) decide(ctx context.Context, caller admin.Caller, d Decision) (RequestShown, error) {
	if len(d.Reason) > maxReason || strings.ContainsFunc(d.Reason, unicode.IsControl) {
		return RequestShown{}, ca.Errorf(ca.Invalid, "a reason is one line of at most %d octets", maxReason)
	}
	p, err := s.request(ctx, d.ID)
	if err != nil {
		return RequestShown{}, err
	}
	d.By, d.At = administrator(caller), s.Clock()
	d.Expires = d.At.Add(p.Expires.Sub(p.Created))
	kind := "est-request.approved"
	if d.State == Refused {
		kind = "est-request.refused"
	}
	e := d.By.Event(d.At, kind, d.ID)
	e.Detail = map[string]string{"label": p.Label, "operation": p.Operation, "identity": p.Identity, "subject": p.Subject, "names": joined(p.Names), "reason": d.Reason}
	if p, err = s.Requests.DecideRequest(ctx, d, e); err != nil {
		return RequestShown{}, err
	}
	return s.requestShown(ctx, &p)
}
