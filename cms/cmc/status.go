package cmc

import (
	"encoding/asn1"
	"time"
)

// Status is a CMCStatus (RFC 5272 §6.1.3).
type Status int

// What became of a request (RFC 5272 §6.1.3); 1 is reserved.
const (
	Success         Status = 0
	Failed          Status = 2
	Pending         Status = 3
	NoSupport       Status = 4
	ConfirmRequired Status = 5
	POPRequired     Status = 6
	Partial         Status = 7
)

// FailInfo is a CMCFailInfo: why it failed (RFC 5272 §6.1.4). Values from 1000 to
// 1999 are private.
type FailInfo int

// The reasons there are (RFC 5272 §6.1.4).
const (
	BadAlg          FailInfo = 0
	BadMessageCheck FailInfo = 1
	BadRequest      FailInfo = 2
	BadTime         FailInfo = 3
	BadCertID       FailInfo = 4
	UnsupportedExt  FailInfo = 5
	MustArchiveKeys FailInfo = 6
	BadIdentity     FailInfo = 7
	POPMissing      FailInfo = 8 // popRequired
	POPFailed       FailInfo = 9
	NoKeyReuse      FailInfo = 10
	InternalCAError FailInfo = 11
	TryLater        FailInfo = 12
	AuthDataFail    FailInfo = 13
)

// PendInfo says how and when to ask again (RFC 5272 §6.1.1).
type PendInfo struct {
	Token []byte
	Time  time.Time // whole seconds, UTC
}

// ExtendedFailInfo is a reason of somebody's own (RFC 5272 §6.1.1).
type ExtendedFailInfo struct {
	Type  asn1.ObjectIdentifier
	Value []byte // DER

	tagged bool // as RFC 6402's second module has it
}

// StatusInfoV2 is the extended status info control (RFC 5272 §6.1.1). At most one of
// Fail, Pend and Extended is set.
type StatusInfoV2 struct {
	Status   Status
	Bodies   []Reference // at least one
	Text     string      // "": absent
	Fail     *FailInfo
	Pend     *PendInfo
	Extended *ExtendedFailInfo

	emptyText bool // present, yet empty
}

// StatusInfo is the older status info control (RFC 5272 §6.1.2).
type StatusInfo struct {
	Status Status
	Bodies []BodyPartID // at least one
	Text   string       // "": absent
	Fail   *FailInfo
	Pend   *PendInfo

	emptyText bool // present, yet empty
}
