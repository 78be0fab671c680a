package srpfront

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// book keeps what is known of names in a file, for processes that share it and for those
// that come after. The file has a fixed size, however many names come: a place for each
// of 16384, found by a MAC of the name under a key of the file's own, so that nobody can
// look for names that share a place with one that is being guessed at, and none can be
// read out of it. A lock is held for as long as one place is changed.
type book struct {
	file   *os.File
	key    []byte
	forget time.Duration // a name that did not come for so long is not known any more
}

// The file's form: its mark, its key, then buckets of places.
const (
	bookMark   = "chancery srp 1\n\x00"
	bookKey    = 32
	bookHead   = 64 // mark, key, and nothing
	buckets    = 2048
	places     = 8
	placeID    = 16
	placeSize  = placeID + 8 + 8 + 8 // failures, next, last
	bucketSize = places * placeSize
)

// openBook opens the file, and makes it where there is none.
func openBook(path string, forget time.Duration) (*book, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	b := &book{file: file, forget: forget}
	if err := b.locked(b.begin); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return b, nil
}

// begin reads the file's head, or writes it into an empty one.
func (b *book) begin() error {
	head := make([]byte, bookHead)
	switch n, err := b.file.ReadAt(head, 0); {
	case n == 0 && errors.Is(err, io.EOF):
		copy(head, bookMark)
		rand.Read(head[len(bookMark) : len(bookMark)+bookKey]) // never fails since Go 1.24
		if _, err := b.file.WriteAt(head, 0); err != nil {
			return err
		}
	case err != nil && !errors.Is(err, io.EOF):
		return err
	case n < bookHead || !bytes.HasPrefix(head, []byte(bookMark)):
		return fmt.Errorf("%s is no file of the SRP front; remove it, and a new one is made", b.file.Name())
	}
	b.key = head[len(bookMark) : len(bookMark)+bookKey]
	return nil
}

// locked does something while no other process does.
func (b *book) locked(do func() error) error {
	if err := syscall.Flock(int(b.file.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("locking %s: %w", b.file.Name(), err)
	}
	return errors.Join(do(), syscall.Flock(int(b.file.Fd()), syscall.LOCK_UN))
}

// change gives what is known of a name, nil when there is nothing, and keeps what comes
// back; nil is to forget it.
func (b *book) change(name string, now time.Time, do func(*record) *record) error {
	mac := hmac.New(sha256.New, b.key)
	_, _ = io.WriteString(mac, name) // a hash takes everything
	sum := mac.Sum(nil)
	id, at := sum[:placeID], bookHead+int64(binary.BigEndian.Uint64(sum[placeID:])%buckets)*bucketSize
	return b.locked(func() error {
		bucket := make([]byte, bucketSize)
		if _, err := b.file.ReadAt(bucket, at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		i, known := find(bucket, id, now.Add(-b.forget))
		place := bucket[i*placeSize : (i+1)*placeSize]
		next := do(known)
		clear(place)
		if next != nil {
			copy(place, id)
			binary.BigEndian.PutUint64(place[placeID:], uint64(next.failures))
			binary.BigEndian.PutUint64(place[placeID+8:], uint64(next.next.UnixNano()))
			binary.BigEndian.PutUint64(place[placeID+16:], uint64(next.last.UnixNano()))
		} else if known == nil {
			return nil
		}
		_, err := b.file.WriteAt(place, at+int64(i*placeSize))
		return err
	})
}

// find gives the place of an identifier and what is there, or the place that it may have:
// an empty one, or the one of whoever failed least of those that came since.
func find(bucket, id []byte, since time.Time) (int, *record) {
	free, least := 0, uint64(1<<63)
	for i := range places {
		place := bucket[i*placeSize : (i+1)*placeSize]
		failures := binary.BigEndian.Uint64(place[placeID:])
		last := time.Unix(0, int64(binary.BigEndian.Uint64(place[placeID+16:])))
		old := failures == 0 || last.Before(since)
		if bytes.Equal(place[:placeID], id) {
			if old {
				return i, nil
			}
			next := time.Unix(0, int64(binary.BigEndian.Uint64(place[placeID+8:])))
			return i, &record{failures: int(min(failures, maxFailures)), next: next, last: last}
		}
		if old {
			failures = 0
		}
		if failures < least {
			free, least = i, failures
		}
	}
	return free, nil
}
