package agent

import "time"

// bucket lets so many things begin in a minute. It goes by the monotonic clock, so that no
// jump of the wall clock fills it.
type bucket struct {
	each   time.Duration // between two
	most   float64       // how many may follow at once after a quiet time
	tokens float64
	seen   time.Time
}

// newBucket makes one for so many a minute. After a quiet time a twelfth of them may begin
// at once, so in no minute there are more than that many more.
func newBucket(perMinute int, now time.Time) *bucket {
	most := max(float64(perMinute)/12, 1)
	return &bucket{each: time.Minute / time.Duration(perMinute), most: most, tokens: most, seen: now}
}

// wait is how long it takes until one more may begin; 0 = now.
func (b *bucket) wait(now time.Time) time.Duration {
	if passed := now.Sub(b.seen); passed > 0 {
		b.tokens = min(b.most, b.tokens+float64(passed)/float64(b.each))
		b.seen = now
	}
	if b.tokens >= 1 {
		return 0
	}
	return time.Duration((1-b.tokens)*float64(b.each)) + 1
}

// take counts one that begins.
func (b *bucket) take() { b.tokens-- }

// gate is the pace of one kind of work: of all, and of each CA's.
type gate struct {
	perCA   int
	all     *bucket
	cas     map[string]*bucket
	free    int // workers without work,
	tedious int // and how many of them may take what took long in vain
	waiting map[lane]*heap
}

// lane is what waits for the same: a CA's share, and perhaps that of what is tedious.
type lane struct {
	ca      string
	tedious bool
}

func (e *entry) lane() lane { return lane{e.ca, e.tedious} }

// half is how many of the workers may be taken by what took long in vain: a few hostile
// names must not keep all others waiting.
func half(workers int) int { return max(workers/2, 1) }

// limits are how many may begin in a minute.
type limits struct{ total, perCA int }

func newGate(l limits, workers int, now time.Time) *gate {
	return &gate{perCA: l.perCA, all: newBucket(l.total, now), cas: map[string]*bucket{}, free: workers, tedious: half(workers), waiting: map[lane]*heap{}}
}

// tune takes other limits. What was begun still counts.
func (g *gate) tune(l limits, now time.Time) {
	if g.all.each != time.Minute/time.Duration(l.total) {
		g.all = &bucket{each: time.Minute / time.Duration(l.total), most: max(float64(l.total)/12, 1), seen: now}
	}
	if g.perCA != l.perCA {
		g.perCA = l.perCA
		for ca := range g.cas {
			g.cas[ca] = &bucket{each: time.Minute / time.Duration(l.perCA), most: max(float64(l.perCA)/12, 1), seen: now}
		}
	}
}

func (g *gate) bucket(ca string, now time.Time) *bucket {
	b := g.cas[ca]
	if b == nil {
		b = newBucket(g.perCA, now)
		g.cas[ca] = b
	}
	return b
}

// push lets an entry wait for its turn at its CA: the sooner its certificate ends, the
// sooner.
func (g *gate) push(e *entry) {
	q := g.waiting[e.lane()]
	if q == nil {
		q = &heap{before: func(a, b *entry) bool { return a.end.Before(b.end) }}
		g.waiting[e.lane()] = q
	}
	q.push(e)
}

// pop gives the entry to begin with now; else after how long there may be one, 0 if that
// depends on workers or on entries.
func (g *gate) pop(now time.Time) (e *entry, wait time.Duration) {
	if g.free == 0 || len(g.waiting) == 0 {
		return nil, 0
	}
	if wait := g.all.wait(now); wait > 0 {
		return nil, wait
	}
	var from *heap
	for l, q := range g.waiting {
		if l.tedious && g.tedious == 0 {
			continue
		}
		w := g.bucket(l.ca, now).wait(now)
		switch {
		case w > 0 && (wait == 0 || w < wait):
			wait = w
		case w == 0 && (from == nil || q.first().end.Before(from.first().end)):
			from = q
		}
	}
	if from == nil {
		return nil, wait
	}
	e = from.first()
	g.remove(e)
	g.all.take()
	g.bucket(e.ca, now).take()
	g.free--
	if e.tedious {
		g.tedious--
	}
	return e, 0
}

// remove takes an entry out.
func (g *gate) remove(e *entry) {
	q := g.waiting[e.lane()]
	q.remove(e)
	if len(q.list) == 0 {
		delete(g.waiting, e.lane())
	}
}

// release gives back the worker that pop took for an entry.
func (g *gate) release(e *entry) {
	g.free++
	if e.tedious {
		g.tedious++
	}
}

// staff takes another number of workers.
func (g *gate) staff(before, workers int) {
	g.free += workers - before
	g.tedious += half(workers) - half(before)
}

func (g *gate) empty() bool { return len(g.waiting) == 0 }
