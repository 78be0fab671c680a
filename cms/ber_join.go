package cms

const (
	bitString   = 3
	octetString = 4
)

// pieceOf gives the type of the pieces that a string type may come in (X.690 §8.6.4,
// §8.7.3, §8.23.6), or 0 for a type that has none.
func pieceOf(universal byte) byte {
	switch universal {
	case bitString:
		return bitString
	case octetString, 12, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30:
		return octetString
	}
	return 0
}

// joined reads the string in pieces whose node is i, as one primitive string.
func (r *berReader) joined(i int, h berHeader, s scope) (int, error) {
	r.same = false
	r.nodes[i].primitive = true
	piece := pieceOf(h.universal())
	r.nodes[i].bits = piece == bitString
	if piece == bitString {
		r.nodes[i].length = 1 // the count of unused bits
	}
	return r.pieces(pieces{node: i, piece: piece}, h, s)
}

// pieces is the string that is being joined.
type pieces struct {
	node  int
	piece byte
}

// pieces reads what a constructed string contains: pieces, which may be constructed again.
func (r *berReader) pieces(p pieces, h berHeader, s scope) (int, error) {
	if s.depth > r.limits.Depth {
		return 0, fault(TooLarge, "octet %d: elements nest deeper than %d", h.tag, r.limits.Depth)
	}
	return r.children(h, s, func(at, limit int) (int, error) {
		h, err := r.header(at, limit)
		if err != nil {
			return 0, err
		}
		if h.first&^constructedBit != p.piece {
			return 0, fault(Malformed, "octet %d: a string's piece of another type", at)
		}
		if h.constructed() {
			return r.pieces(p, h, scope{limit, s.depth + 1})
		}
		return h.at + h.length, r.piece(p, h)
	})
}

// piece adds the contents of one primitive piece.
func (r *berReader) piece(p pieces, h berHeader) error {
	from, to := h.at, h.at+h.length
	if p.piece == bitString {
		whole := &r.nodes[p.node]
		if from == to || r.in[from] > 7 || whole.unused != 0 {
			// Only the last piece may have unused bits (X.690 §8.6.4.1).
			return fault(Malformed, "octet %d: a piece of a BIT STRING that does not fit", h.tag)
		}
		whole.unused = r.in[from]
		from++
	}
	if _, err := r.add(berNode{bare: true, at: from, end: to, length: to - from}); err != nil {
		return err
	}
	r.nodes[p.node].length += to - from
	return nil
}
