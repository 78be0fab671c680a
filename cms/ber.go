package cms

// Limits bounds what is read. A zero field is its default.
type Limits struct {
	Size  int // octets of a message: 4 MiB
	Depth int // how deep elements nest: 64
	Count int // elements of a message: 262144
}

// Lists of a message are bounded, too: nothing that we exchange comes near.
const (
	mostItems   = 4096 // certificates, CRLs, attributes, values, recipients, keys, capabilities
	mostSigners = 64   // each costs its reader a signature's verification
)

func (l Limits) filled() Limits {
	if l.Size <= 0 {
		l.Size = 4 << 20
	}
	if l.Depth <= 0 {
		l.Depth = 64
	}
	if l.Count <= 0 {
		l.Count = 1 << 18
	}
	return l
}

// DER gives the DER encoding of the one BER element that in is: lengths are made definite
// and short, and string types that come in pieces are joined (X.690 §10.1, §10.2). What it
// cannot know without the schema it leaves as it is: the order of a SET OF, default values,
// and implicitly tagged strings in pieces. Input whose framing is DER comes back
// unchanged, as the same slice. Each octet is looked at a fixed number of times, and memory is taken
// for elements seen, never for lengths claimed. Errors are Malformed and TooLarge.
func DER(in []byte, limits Limits) ([]byte, error) {
	limits = limits.filled()
	if len(in) > limits.Size {
		return nil, fault(TooLarge, "the message has %d octets, at most %d are read", len(in), limits.Size)
	}
	r := berReader{in: in, limits: limits, same: true}
	end, err := r.element(0, len(in), 1)
	if err != nil {
		return nil, err
	}
	if end != len(in) {
		return nil, fault(Malformed, "%d octets follow the message", len(in)-end)
	}
	if r.same {
		return in, nil
	}
	out := make([]byte, 0, r.nodes[0].total())
	for i := range r.nodes {
		out = r.nodes[i].append(out, in)
	}
	return out, nil
}

// berNode is an element as it will be written. The nodes stand in the order of their
// headers, so that writing is a walk through the list.
type berNode struct {
	tag, tagEnd int // where the identifier octets are
	at, end     int // a primitive's contents
	length      int // of the contents in DER
	bare        bool
	bits        bool // a joined BIT STRING: its unused bits come first
	unused      byte
	primitive   bool
}

// total is the node's whole size in DER.
func (n *berNode) total() int {
	if n.bare {
		return n.length
	}
	return n.tagEnd - n.tag + lengthSize(n.length) + n.length
}

// append writes the header and, of a primitive, the contents.
func (n *berNode) append(out, in []byte) []byte {
	if !n.bare {
		start := len(out)
		out = append(out, in[n.tag:n.tagEnd]...)
		if n.primitive {
			out[start] &^= constructedBit
		}
		out = appendLength(out, n.length)
	}
	if n.bits {
		out = append(out, n.unused)
	}
	return append(out, in[n.at:n.end]...)
}

// lengthSize is how many octets DER needs to say the length.
func lengthSize(length int) int {
	if length < 0x80 {
		return 1
	}
	size := 1
	for ; length > 0; length >>= 8 {
		size++
	}
	return size
}

func appendLength(out []byte, length int) []byte {
	size := lengthSize(length) - 1
	if size == 0 {
		return append(out, byte(length))
	}
	out = append(out, 0x80|byte(size))
	for shift := 8 * (size - 1); shift >= 0; shift -= 8 {
		out = append(out, byte(length>>shift))
	}
	return out
}
