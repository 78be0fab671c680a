package pkcs11

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"chancery/internal/token/fault"
	"chancery/internal/token/pin"
	"chancery/internal/token/wire"
)

// Options are what a process brings along.
type Options struct {
	Helper string    // path of chancery-pkcs11; "": beside this program, or in PATH
	PINs   pin.Giver // asked once for each login
}

// Token is a token that this process is logged in to, if it wants that. Its methods may be
// called together.
type Token struct {
	address Address
	options Options

	mutex  sync.Mutex // is held while it is opened
	at     *process   // nil: it is not open
	closed bool

	label atomic.Pointer[string] // in words, once it is known
}

// Label is the token in words.
func (t *Token) Label() string {
	if label := t.label.Load(); label != nil {
		return *label
	}
	return "the token"
}

// Open finds the token and logs in. Errors are *[fault.Error].
func Open(ctx context.Context, a Address, o Options) (*Token, error) {
	t := &Token{address: a, options: o}
	_, err := t.process(ctx)
	return t, err
}

// Close ends the helper.
func (t *Token) Close() error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.closed = true
	if t.at != nil {
		t.at.close()
		t.at = nil
	}
	return nil
}

// process gives the helper, started, opened and logged in.
func (t *Token) process(ctx context.Context) (*process, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	switch {
	case t.closed:
		return nil, &fault.Error{Kind: fault.Gone, Reason: "the token was closed"}
	case t.at != nil:
		return t.at, nil
	}
	module, err := library(t.address.Module)
	if err != nil {
		return nil, err
	}
	p, err := start(t.options.Helper)
	if err != nil {
		return nil, err
	}
	if err := t.enter(ctx, p, module); err != nil {
		p.close()
		return nil, err
	}
	t.at = p
	return p, nil
}

// enter opens the token behind a new helper. The library is loaded from where the way to it
// led when it was judged.
func (t *Token) enter(ctx context.Context, p *process, module string) error {
	a := t.address
	answer, err := p.call(ctx, &wire.Request{Open: &wire.Open{
		Module: module, Token: a.Token, Manufacturer: a.Manufacturer, Model: a.Model, Serial: a.Serial, Slot: a.Slot,
	}})
	if err == nil && answer.Fault == nil && answer.Token == nil {
		err = wire.ErrMessage
	}
	if err := t.failed(err, answer); err != nil {
		return err
	}
	found := answer.Token
	label := fmt.Sprintf("the token %q (serial %s)", found.Label, found.Serial)
	t.label.Store(&label)
	if !found.Login {
		return nil
	}
	question := pin.Question{Of: label, ID: "pkcs11 " + found.Serial + " " + found.Label, Low: found.Low, Last: found.Last}
	switch {
	case found.Locked:
		return &fault.Error{Kind: fault.Locked, Reason: label + " is locked, as wrong PINs were tried: unlock it by its maker's program (with the SO PIN)"}
	case found.Unset:
		return &fault.Error{Kind: fault.Unfit, Reason: label + " has no user PIN yet: set one by its maker's program"}
	case found.PINPad:
		return &fault.Error{Kind: fault.Unfit, Reason: label + " takes its PIN on a pad of its own, which cannot be done here"}
	}
	secret, err := t.options.PINs.PIN(ctx, question)
	if err != nil {
		return err
	}
	defer clear(secret)
	answer, err = p.call(ctx, &wire.Request{Login: &wire.Login{PIN: secret}})
	err = t.failed(err, answer)
	if fault.Is(err, fault.WrongPIN) {
		t.options.PINs.Wrong(question, secret)
	}
	return err
}

// kinds are the helper's faults in words for a person: what is wrong, and what to do.
var kinds = map[wire.Code]struct {
	kind  fault.Kind
	words string // %[1]s is the token, %[2]s what the helper says
}{
	wire.NoModule:   {fault.Absent, "the token's library cannot be used: %[2]s; see module-path of the key's name"},
	wire.NoCgo:      {fault.Absent, "%[2]s"},
	wire.NoToken:    {fault.Absent, "no token is there that the key's name means (%[2]s): plug it in, or see token, serial and slot-id of the name"},
	wire.ManyTokens: {fault.Ambiguous, "several tokens are what the key's name means (%[2]s): say which by token= or serial="},
	wire.NoKey:      {fault.Missing, "the key is not in %[1]s (%[2]s): see object and id of the key's name"},
	wire.ManyKeys:   {fault.Ambiguous, "several keys in %[1]s are what the name means (%[2]s): say which by id=, each octet as %%XX"},
	wire.WrongPIN:   {fault.WrongPIN, "%[1]s refused the PIN, and it is not tried again, as tokens lock after a few: correct what pin-source names (or type the right one)"},
	wire.Locked:     {fault.Locked, "%[1]s is locked, as wrong PINs were tried: unlock it by its maker's program (with the SO PIN)"},
	wire.BadPIN:     {fault.WrongPIN, "%[1]s cannot have this PIN, or it has expired (%[2]s): correct what pin-source names, or change the PIN by the token's own program"},
	wire.Gone:       {fault.Gone, "%[1]s went away (%[2]s): plug it in again, and try again"},
	wire.Unfit:      {fault.Unfit, "%[1]s cannot do that: %[2]s"},
	wire.Full:       {fault.Full, "%[1]s has no room for another key (%[2]s): delete old ones"},
}

// failed makes an error of an answer that is none.
func (t *Token) failed(err error, a *wire.Answer) error {
	label := t.Label()
	if errors.Is(err, errEnded) {
		return &fault.Error{Kind: fault.Gone, Reason: label + " cannot be reached any more: the token's library " + t.address.Module + " may be at fault; try again", Err: err}
	}
	if err != nil {
		return err
	}
	if a.Fault == nil {
		return nil
	}
	if known, ok := kinds[a.Fault.Code]; ok {
		return &fault.Error{Kind: known.kind, Reason: fmt.Sprintf(known.words, label, a.Fault.Text)}
	}
	return &fault.Error{Kind: fault.Refused, Reason: label + " refused: " + a.Fault.Text}
}

// call has the token do one thing. If it went away it is opened once anew, when build makes
// the request for a helper that knows nothing yet.
func (t *Token) call(ctx context.Context, build func(*process) (*wire.Request, error)) (*wire.Answer, error) {
	for again := false; ; again = true {
		p, err := t.process(ctx)
		if err != nil {
			return nil, err
		}
		request, err := build(p)
		var answer *wire.Answer
		if err == nil {
			answer, err = p.call(ctx, request)
			err = t.failed(err, answer)
		}
		if err == nil {
			return answer, nil
		}
		if !fault.Is(err, fault.Gone) {
			return nil, err
		}
		t.mutex.Lock()
		if t.at == p { // nobody else has noticed yet
			p.close()
			t.at = nil
		}
		t.mutex.Unlock()
		if again {
			return nil, err
		}
	}
}

// Key finds the private key that the address names.
func (t *Token) Key(ctx context.Context, a Address) (*Key, error) {
	return t.key(ctx, a, &wire.Request{Find: &wire.Find{Object: a.Object, Key: a.ID}})
}

// Make makes a key of a kind ("ecdsa-p256", "rsa-3072") with the address's label and id. If
// there is one, as it was made before a crash, that is it.
func (t *Token) Make(ctx context.Context, a Address, kind string) (*Key, error) {
	return t.key(ctx, a, &wire.Request{Make: &wire.Make{Object: a.Object, Key: a.ID, Kind: kind}})
}

func (t *Token) key(ctx context.Context, a Address, r *wire.Request) (*Key, error) {
	var at *process
	answer, err := t.call(ctx, func(p *process) (*wire.Request, error) { at = p; return r, nil })
	if err == nil && answer.Key == nil {
		err = wire.ErrMessage
	}
	if err != nil {
		return nil, err
	}
	return newKey(t, found{a, at, answer.Key})
}

// Remove deletes a key that was made by Make. One that is not there is no error.
func (t *Token) Remove(ctx context.Context, a Address) error {
	_, err := t.call(ctx, func(*process) (*wire.Request, error) {
		return &wire.Request{Remove: &wire.Remove{Object: a.Object, Key: a.ID}}, nil
	})
	return err
}

// handleAt gives the key's handle with this helper, which may be another than it was found
// with.
func (k *Key) handleAt(ctx context.Context, p *process) (uint64, error) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.at == p {
		return k.handle, nil
	}
	answer, err := p.call(ctx, &wire.Request{Find: &wire.Find{Object: k.address.Object, Key: k.address.ID}})
	if err := k.token.failed(err, answer); err != nil {
		return 0, err
	}
	if answer.Key == nil || !bytes.Equal(answer.Key.Public, k.der) {
		return 0, &fault.Error{Kind: fault.Missing, Reason: k.address.named() + " in " + k.token.Label() + " is another one than before"}
	}
	k.at, k.handle = p, answer.Key.Handle
	return k.handle, nil
}
