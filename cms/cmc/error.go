package cmc

import (
	"errors"
	"fmt"
	"strings"
)

// Error is every error about a message: what was wrong, and with which body parts, so
// that the answer can name them (RFC 5272 §3.2.1.1, §6.1). Errors of the caller's own
// making, as a control that cannot be written, are not of this type.
type Error struct {
	Fail   FailInfo
	Parts  []BodyPartID // Current alone: the message itself
	Reason string       // for people; it holds no secret
	Err    error        // what caused it, or nil
}

// Error gives the words.
func (e *Error) Error() string {
	var parts []string
	for _, id := range e.Parts {
		if id != Current {
			parts = append(parts, fmt.Sprint(id))
		}
	}
	text := "cmc: " + e.Fail.String()
	if len(parts) > 0 {
		text += " in body part " + strings.Join(parts, ", ")
	}
	text += ": " + e.Reason
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// StatusInfo is the control that says so in an answer.
func (e *Error) StatusInfo() StatusInfoV2 {
	fail := e.Fail
	info := StatusInfoV2{Status: Failed, Text: e.Reason, Fail: &fail}
	for _, id := range e.Parts {
		info.Bodies = append(info.Bodies, Reference{ID: id})
	}
	if len(info.Bodies) == 0 {
		info.Bodies = []Reference{{ID: Current}}
	}
	return info
}

func refuse(fail FailInfo, part BodyPartID, reason string) *Error {
	return &Error{Fail: fail, Parts: []BodyPartID{part}, Reason: reason}
}

// at makes the error one of the body part, if it names none already.
func at(part BodyPartID, err error) error {
	var known *Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &known):
		return &Error{Fail: BadRequest, Parts: []BodyPartID{part}, Reason: "it cannot be read", Err: err}
	case len(known.Parts) == 0 || len(known.Parts) == 1 && known.Parts[0] == Current:
		moved := *known
		moved.Parts = []BodyPartID{part}
		return &moved
	}
	return err
}
