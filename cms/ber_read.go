package cms

const (
	constructedBit = 0x20
	classBits      = 0xc0
	numberBits     = 0x1f
	indefinite     = -1
)

// berReader makes a flat list of nodes of nested BER.
type berReader struct {
	in     []byte
	limits Limits
	nodes  []berNode
	same   bool // so far the input is DER
}

// berHeader is what stands before an element's contents.
type berHeader struct {
	first       byte // the first identifier octet
	tag, tagEnd int
	at          int // where the contents begin
	length      int // or indefinite
}

func (h berHeader) constructed() bool { return h.first&constructedBit != 0 }

// universal gives the tag number of a universal element, else 0.
func (h berHeader) universal() byte {
	if h.first&classBits != 0 {
		return 0
	}
	return h.first & numberBits
}

// header reads identifier and length octets at the place, which must end before limit.
func (r *berReader) header(at, limit int) (berHeader, error) {
	h := berHeader{tag: at}
	if at >= limit {
		return h, r.short(at)
	}
	h.first = r.in[at]
	at++
	if h.first&numberBits == numberBits {
		start := at
		for ; at < limit && r.in[at]&0x80 != 0; at++ {
		}
		if at >= limit {
			return h, r.short(at)
		}
		// X.690 §8.1.2.4: no leading zeros, from 31 on; and none of ours has more than 28 bits.
		if r.in[start] == 0x80 || at-start >= 4 || at == start && r.in[at] < numberBits {
			return h, fault(Malformed, "octet %d: a tag number of a wrong length", start)
		}
		at++
	}
	h.tagEnd = at
	return h, r.size(&h, limit)
}

// size reads the length octets.
func (r *berReader) size(h *berHeader, limit int) error {
	at := h.tagEnd
	if at >= limit {
		return r.short(at)
	}
	first := r.in[at]
	at++
	switch {
	case first == 0x80:
		if !h.constructed() {
			return fault(Malformed, "octet %d: a primitive element of indefinite length", at-1)
		}
		h.length = indefinite
	case first < 0x80:
		h.length = int(first)
	default:
		count := int(first & 0x7f)
		if count > limit-at {
			return r.short(at)
		}
		if first == 0xff {
			return fault(Malformed, "octet %d: a reserved length", at-1)
		}
		for _, octet := range r.in[at : at+count] {
			// What is longer than the input ends here, so nothing overflows.
			if h.length = h.length<<8 | int(octet); h.length > len(r.in) {
				return r.short(at)
			}
		}
		at += count
		r.same = r.same && count+1 == lengthSize(h.length)
	}
	h.at = at
	if h.length != indefinite && h.length > limit-at {
		return r.short(at)
	}
	return nil
}

func (r *berReader) short(at int) error {
	return fault(Malformed, "octet %d: the element ends before its contents do", at)
}

func (r *berReader) add(n berNode) (int, error) {
	if len(r.nodes) >= r.limits.Count {
		return 0, fault(TooLarge, "the message has more than %d elements", r.limits.Count)
	}
	r.nodes = append(r.nodes, n)
	return len(r.nodes) - 1, nil
}

// element reads the element at the place and what it contains, and gives its end.
func (r *berReader) element(at, limit, depth int) (end int, err error) {
	if depth > r.limits.Depth {
		return 0, fault(TooLarge, "octet %d: elements nest deeper than %d", at, r.limits.Depth)
	}
	h, err := r.header(at, limit)
	if err != nil {
		return 0, err
	}
	if err := checkForm(h); err != nil {
		return 0, err
	}
	i, err := r.add(berNode{tag: h.tag, tagEnd: h.tagEnd})
	if err != nil {
		return 0, err
	}
	if !h.constructed() {
		n := &r.nodes[i]
		n.at, n.end, n.length = h.at, h.at+h.length, h.length
		return n.end, nil
	}
	if piece := pieceOf(h.universal()); piece != 0 {
		return r.joined(i, h, scope{limit, depth})
	}
	return r.children(h, scope{limit, depth}, func(at, limit int) (int, error) {
		child := len(r.nodes)
		end, err := r.element(at, limit, depth+1)
		if err == nil {
			r.nodes[i].length += r.nodes[child].total()
		}
		return end, err
	})
}

// scope is where an element stands.
type scope struct{ limit, depth int }

// children calls each for every element within a constructed one, and gives its end.
func (r *berReader) children(h berHeader, s scope, each func(at, limit int) (int, error)) (int, error) {
	at, limit := h.at, s.limit
	if h.length != indefinite {
		limit = h.at + h.length
	} else {
		r.same = false
	}
	for {
		if h.length != indefinite {
			if at == limit {
				return at, nil
			}
		} else if at+1 < limit && r.in[at] == 0 && r.in[at+1] == 0 {
			return at + 2, nil
		}
		end, err := each(at, limit)
		if err != nil {
			return 0, err
		}
		at = end
	}
}

// checkForm refuses universal types in a form that they do not have.
func checkForm(h berHeader) error {
	if h.first&classBits != 0 {
		return nil
	}
	switch number := h.universal(); number {
	case 0:
		return fault(Malformed, "octet %d: an end of contents without a beginning", h.tag)
	case 8, 11, 16, 17: // EXTERNAL, EMBEDDED PDV, SEQUENCE, SET
		if !h.constructed() {
			return fault(Malformed, "octet %d: a SEQUENCE or SET that is not constructed", h.tag)
		}
	default:
		if h.constructed() && pieceOf(number) == 0 {
			return fault(Malformed, "octet %d: an element of type %d cannot be constructed", h.tag, number)
		}
	}
	return nil
}
