package agent

import (
	crand "crypto/rand"
	"encoding/binary"

	"chancery/internal/enroll"
)

// The kinds of events that the agent adds to the engine's.
const (
	EventReady    enroll.EventKind = "agent-ready"    // it knows all certificates and keeps them
	EventStopping enroll.EventKind = "agent-stopping" // it was told to end
	EventReloaded enroll.EventKind = "agent-reloaded" // the configuration was read again
	EventWindow   enroll.EventKind = "renewal-window" // a CA said when to renew
	EventClock    enroll.EventKind = "clock-jumped"   // the wall clock went another way than time
	EventLeft     enroll.EventKind = "left-alone"     // a certificate is not kept any more
	EventTaken    enroll.EventKind = "taken-over"     // the configuration has a say in it now
)

// systemRandom is the system's cryptographic generator: moments cannot be foretold.
type systemRandom struct{}

// Uint64 is rand.Source's.
func (systemRandom) Uint64() uint64 {
	var b [8]byte
	_, _ = crand.Read(b[:]) // never fails
	return binary.NativeEndian.Uint64(b[:])
}
