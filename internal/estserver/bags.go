package estserver

import (
	"sync"
	"time"

	"chancery/internal/ca"
)

// bags keeps the answer to cacerts of each label.
type bags struct {
	mu    sync.Mutex
	known map[string]bag // by label; guarded by mu
}

type bag struct {
	of    *ca.Issuers // the hierarchy that it was made of
	until time.Time
	der   []byte
}
