package loader

import (
	"errors"
	"net"
	"testing"

	"chancery/internal/token/wire"
)

// Whoever does not begin with Open, opens twice, or speaks another language is not served.
func TestServe(t *testing.T) {
	open := &wire.Request{ID: 1, Open: &wire.Open{Module: "/no/such/library.so"}}
	for name, requests := range map[string][]*wire.Request{
		"a key first": {{ID: 1, Find: &wire.Find{Object: "k"}}}, "opened twice": {open, open}, "a PIN first": {{ID: 1, Login: &wire.Login{PIN: []byte("4711")}}},
		"nothing": {},
	} {
		ours, theirs := net.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- serve(theirs, newToken()); theirs.Close() }()
		for i, r := range requests {
			if err := wire.WriteRequest(ours, r); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if i == len(requests)-1 {
				break
			}
			answer, err := wire.ReadAnswer(ours)
			if err != nil || answer.ID != r.ID || answer.Fault == nil || answer.Fault.Code != wire.NoModule && answer.Fault.Code != wire.NoCgo {
				t.Errorf("%s: %+v, %v", name, answer, err)
			}
		}
		if len(requests) == 0 {
			ours.Close()
		}
		if err := <-ended; errors.Is(err, wire.ErrMessage) != (len(requests) > 0) {
			t.Errorf("%s: %v", name, err)
		}
		ours.Close()
	}
}
