package cmc

// BodyPartID names one part of a PKIData or PKIResponse (RFC 5272 §3.2.2): a
// control, a request, a nested message or another message. It is unique within its
// layer, and not 0.
type BodyPartID uint32

// Current is the body part that stands for the PKIData it is read in: 0 is given to
// no part (RFC 5272 §3.2.2).
const Current BodyPartID = 0

// Path leads through nested messages to a body part: each but the last names a part
// of a cmsSequence (BodyPartPath, RFC 5272 §3.2.2). It has at least one.
type Path []BodyPartID

// Reference is a BodyPartReference (RFC 5272 §6.1.1): one body part by its id, or by
// a path where Path is not nil.
type Reference struct {
	ID   BodyPartID
	Path Path
}

// Bounds on what is read, so that a small message cannot cost much.
const (
	MaxParts  = 1024 // in each sequence of a PKIData or PKIResponse
	MaxValues = 1024 // in each list within a control or a request
	MaxPath   = 16   // ids in a path
	MaxDepth  = 8    // messages within messages
	MaxLayers = 6    // CMS wrappers around one PKIData or PKIResponse
)
