package status

import (
	"container/list"
	"hash/maphash"
	"sync"
)

// maxAnswers bounds the memory for OCSP answers: about 1 KiB each.
const maxAnswers = 100_000

// answers keeps the answers that were asked for last. It is cut into parts so
// that readers of different certificates seldom meet at a lock; no lock is held
// while anything is looked up or signed.
type answers struct {
	seed  maphash.Seed
	parts [16]answerPart
}

// answerPart is a part with its own lock, which owns both fields after it.
type answerPart struct {
	sync.Mutex
	byKey  map[string]*list.Element // of *remembered
	recent *list.List               // the last asked for in front
	limit  int
}

type remembered struct {
	key    string
	answer *held
}

func newAnswers(limit int) *answers {
	a := &answers{seed: maphash.MakeSeed()}
	for i := range a.parts {
		a.parts[i] = answerPart{byKey: map[string]*list.Element{}, recent: list.New(), limit: max(limit/len(a.parts), 1)}
	}
	return a
}

func (a *answers) part(key string) *answerPart {
	return &a.parts[maphash.String(a.seed, key)%uint64(len(a.parts))]
}

// get gives the answer, however old, nil when there is none.
func (a *answers) get(key string) *held {
	p := a.part(key)
	p.Lock()
	defer p.Unlock()
	e := p.byKey[key]
	if e == nil {
		return nil
	}
	p.recent.MoveToFront(e)
	return e.Value.(*remembered).answer
}

// put keeps an answer and forgets the one that nobody asked for the longest.
func (a *answers) put(key string, answer *held) {
	p := a.part(key)
	p.Lock()
	defer p.Unlock()
	if e := p.byKey[key]; e != nil {
		e.Value.(*remembered).answer = answer
		p.recent.MoveToFront(e)
		return
	}
	p.byKey[key] = p.recent.PushFront(&remembered{key, answer})
	if p.recent.Len() > p.limit {
		p.forget(p.recent.Back())
	}
}

func (a *answers) drop(key string) {
	p := a.part(key)
	p.Lock()
	defer p.Unlock()
	if e := p.byKey[key]; e != nil {
		p.forget(e)
	}
}

func (p *answerPart) forget(e *list.Element) {
	p.recent.Remove(e)
	delete(p.byKey, e.Value.(*remembered).key)
}
