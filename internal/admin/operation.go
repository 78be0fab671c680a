// Package admin is how an administrator's wish reaches a running server: rooms
// offer operations (a name, a role, an input, an output and what to do), the
// daemon collects them in one Server on a unix socket, and the command line
// calls them by a Client.
//
// The room knows roles and callers. It must not know what any operation does:
// no certificates, no storage, no protocol. So the command line can never do
// what the rooms do not offer, and what they offer is checked in one place.
package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// Role is what a caller may do. An administrator may do everything; any other
// caller only what asks for exactly that role, or for Anyone.
type Role string

// The roles. Anyone is for operations that tell nothing worth hiding from a
// caller who is known at all; nobody is given it as a role.
const (
	Administrator Role = "administrator"
	Registrar     Role = "registrar"
	Approver      Role = "approver"
	Auditor       Role = "auditor"
	Operator      Role = "operator"
	Anyone        Role = "anyone"
)

// may reports whether a caller with this role may do what needs another.
func (r Role) may(needed Role) bool {
	return r == needed || r == Administrator || needed == Anyone
}

func (r Role) known() bool {
	switch r {
	case Administrator, Registrar, Approver, Auditor, Operator, Anyone:
		return true
	}
	return false
}

// Caller is who asks, as the listener found out. Name is for records, such as
// "uid:0 (root)".
type Caller struct {
	Name string
	Role Role
}

// Spec says what an operation is called, who may do it, and in one line what it
// does. Name is lower case words with "-" and ".", such as "cert.revoke".
type Spec struct {
	Name    string
	Role    Role
	Summary string
}

// Operation is one thing that a running server does for an administrator. Only
// Op makes one.
type Operation struct {
	Spec
	Input  Shape // the JSON it takes
	Output Shape // the JSON it gives
	do     func(context.Context, Caller, []byte) (any, error)
}

var operationName = regexp.MustCompile(`^[a-z0-9]+([.-][a-z0-9]+)*$`)

// Op makes an operation of a function. In and Out are JSON by encoding/json;
// struct{} means nothing. A wrong spec is a mistake in the program and panics
// when the program starts.
func Op[In, Out any](spec Spec, do func(context.Context, Caller, In) (Out, error)) Operation {
	if !operationName.MatchString(spec.Name) || !spec.Role.known() || spec.Summary == "" || do == nil {
		panic(fmt.Sprintf("admin: operation %q needs a good name, a known role, a summary and a function", spec.Name))
	}
	return Operation{
		Spec:   spec,
		Input:  shapeFor[In](),
		Output: shapeFor[Out](),
		do: func(ctx context.Context, caller Caller, body []byte) (any, error) {
			var in In
			if err := decodeStrictly(body, &in); err != nil {
				return nil, &Error{Kind: Invalid, Detail: fmt.Sprintf("%s: the input does not fit: %v", spec.Name, err)}
			}
			return do(ctx, caller, in)
		},
	}
}

// decodeStrictly refuses unknown fields and whatever follows the value. An empty
// body is the zero input.
func decodeStrictly(body []byte, into any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}
