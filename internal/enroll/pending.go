package enroll

import (
	"context"
	"encoding/json"
	"slices"

	"chancery/internal/enroll/vault"
)

// mostKept is how many orders are kept beside the one under way.
const mostKept = 4

// readPending takes the record's orders that are for the same names, and not too old.
func (r *run) readPending() (current *pending, kept []*pending) {
	if v := r.record.Pending; v != nil {
		current = r.readOrder(*v)
	}
	for _, v := range r.record.Kept {
		if p := r.readOrder(v); p != nil {
			kept = append(kept, p)
		}
	}
	return current, kept
}

func (r *run) readOrder(v vault.Pending) *pending {
	p := &pending{Pending: v}
	age := r.engine.config.Now().Sub(v.Started)
	if v.OrderURL == "" || json.Unmarshal(v.Offer, &p.offer) != nil || age > oldest || age < -oldest || !slices.Equal(v.Names, names(r.subjects)) {
		return nil
	}
	return p
}

// orders are all that may still be taken up, the one under way first.
func (r *run) orders() []*pending {
	if r.pending == nil {
		return slices.Clone(r.kept)
	}
	return append([]*pending{r.pending}, r.kept...)
}

// takeUp makes an order the one under way. What was that before is kept: a later run
// takes it up at its CA, and if it was finalized there may be a certificate already.
func (r *run) takeUp(ctx context.Context, p *pending) error {
	if old := r.pending; old != nil && old.OrderURL != p.OrderURL {
		r.kept = append(r.kept, old)
	}
	r.pending = p
	r.kept = slices.DeleteFunc(r.kept, func(k *pending) bool { return k.OrderURL == p.OrderURL })
	r.kept = r.kept[max(0, len(r.kept)-mostKept):]
	return r.writeOrders(ctx)
}

// lose forgets an order that came to nothing; writeOrders makes it durable.
func (r *run) lose(url string) {
	if r.pending != nil && r.pending.OrderURL == url {
		r.pending = nil
	}
	r.kept = slices.DeleteFunc(r.kept, func(k *pending) bool { return k.OrderURL == url })
}

// writeOrders makes durable which orders there are.
func (r *run) writeOrders(ctx context.Context) error {
	return r.updateRecord(ctx, func(rec *vault.Record) {
		rec.Pending, rec.Kept = nil, nil
		if r.pending != nil {
			copied := r.pending.Pending
			rec.Pending = &copied
		}
		for _, k := range r.kept {
			rec.Kept = append(rec.Kept, k.Pending)
		}
	})
}
