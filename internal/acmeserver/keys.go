package acmeserver

import (
	"sync"

	"chancery/acme"
)

// parsedKeys remembers what stored keys parse to, since each request of an
// account needs its key: checking that a point lies on its curve costs a good
// part of what verifying a signature does. It is a memory of a pure function,
// so nothing in it can be out of date. The zero value is ready.
type parsedKeys struct {
	mu    sync.Mutex
	known map[string]*acme.Key // by the stored text
}

// maxParsedKeys bounds the memory to a few MiB.
const maxParsedKeys = 4096

func (p *parsedKeys) parse(stored []byte) (*acme.Key, error) {
	p.mu.Lock()
	key, ok := p.known[string(stored)]
	p.mu.Unlock()
	if ok {
		return key, nil
	}
	key, err := acme.ParseKey(stored)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || len(p.known) >= maxParsedKeys {
		p.known = make(map[string]*acme.Key)
	}
	p.known[string(stored)] = key
	return key, nil
}
