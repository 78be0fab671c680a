package enroll

// Class says what a failure means for the CA and for what comes next (D14).
type Class string

// The classes of failures.
const (
	// ClassNone: no failure.
	ClassNone Class = ""
	// ClassFinal: the CA refuses this request and would again; the next offer is due.
	ClassFinal Class = "refused"
	// ClassUser: a challenge could not be served, which is not the CA's fault. The next
	// offer is tried, once, and then the user is told.
	ClassUser Class = "challenge"
	// ClassUnavailable: the CA is down or does not speak ACME at the moment. It is tried
	// again within the time for it; nothing else opens its circuit.
	ClassUnavailable Class = "unavailable"
	// ClassLimited: the CA asks to come back later.
	ClassLimited Class = "rate-limited"
	// ClassUnfinished: the CA was still at work, or waiting for a person, when the time for
	// it was up. The order is kept and taken up by the next run.
	ClassUnfinished Class = "unfinished"
	// ClassUnable: this client lacks something that the CA asks for: credentials,
	// agreement, a profile. Nothing was ordered.
	ClassUnable Class = "unable"
	// ClassAction: the CA wants a person to visit a page (RFC 8555 §7.3.3).
	ClassAction Class = "action-required"
	// ClassWrong: what the CA sent is not what was asked for, or not trusted.
	ClassWrong Class = "wrong-certificate"
	// ClassSkipped: the offer was not tried, by a rule of this client.
	ClassSkipped Class = "skipped"
	// ClassLocal: this machine's own fault: no CA could have helped. It ends the run.
	ClassLocal Class = "local"
	// ClassStopped: the run was told to end.
	ClassStopped Class = "stopped"
)

// against tells whether a failure counts as one of the CA (D16).
func (c Class) against() bool {
	switch c {
	case ClassFinal, ClassUnavailable, ClassLimited, ClassUnfinished, ClassUnable, ClassAction, ClassWrong:
		return true
	}
	return false
}
