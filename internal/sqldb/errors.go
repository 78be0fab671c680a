package sqldb

import (
	"errors"
	"fmt"
)

// The kinds of failure; match them with errors.Is.
var (
	// ErrConflict: a statement met another number of rows than wanted, or a
	// UNIQUE or PRIMARY KEY stood against it. Nothing was written.
	ErrConflict = errors.New("sqldb: conflict with what is stored")
	// ErrNoRows: One found nothing.
	ErrNoRows = errors.New("sqldb: no such row")
	// ErrUncertain: the connection or the disk failed during the commit; the
	// batch may or may not be durable. Read before trying again.
	ErrUncertain = errors.New("sqldb: it is unknown whether the change was stored")
	// ErrUnavailable: the engine cannot be reached or cannot write. Nothing was
	// written; try again later.
	ErrUnavailable = errors.New("sqldb: database unavailable")
	// ErrBusy: others held what was needed for too long. Nothing was written; try again.
	ErrBusy = errors.New("sqldb: database busy")
	// ErrConstraint: NOT NULL, CHECK or FOREIGN KEY refused the data. Nothing was written.
	ErrConstraint = errors.New("sqldb: constraint violated")
	// ErrSchema: the schema and this program do not fit together; see Migrate.
	ErrSchema = errors.New("sqldb: schema does not fit this program")
)

// Conflict says which statement of a batch met the conflict.
type Conflict struct {
	Index int   // of the statement in the batch, from 0
	Label error // the statement's Label; may be nil
	cause error
}

// Error implements error; it shows the label and the statement's number.
func (c *Conflict) Error() string {
	what := "conflict with what is stored"
	if c.Label != nil {
		what = c.Label.Error()
	}
	if c.cause != nil {
		return fmt.Sprintf("sqldb: statement %d: %s: %v", c.Index, what, c.cause)
	}
	return fmt.Sprintf("sqldb: statement %d: %s", c.Index, what)
}

// Unwrap makes errors.Is find ErrConflict, the Label and the engine's error.
func (c *Conflict) Unwrap() []error {
	out := []error{ErrConflict}
	if c.Label != nil {
		out = append(out, c.Label)
	}
	if c.cause != nil {
		out = append(out, c.cause)
	}
	return out
}

// Locked says that another process has the SQLite database open.
type Locked struct {
	Path string // of the lock file
	PID  int    // of the holder; 0 if it could not be read
}

// Error implements error.
func (l *Locked) Error() string {
	return fmt.Sprintf("sqldb: the database is in use by process %d (lock %s): stop that process first, or talk to it instead of opening its store", l.PID, l.Path)
}

// failure is an engine's error with its kind.
type failure struct {
	kind  error
	cause error
}

func (f *failure) Error() string   { return fmt.Sprintf("%v: %v", f.kind, f.cause) }
func (f *failure) Unwrap() []error { return []error{f.kind, f.cause} }

// uniqueViolation is how an engine's adapter reports that a key is taken,
// before the batch's position and label are known.
type uniqueViolation struct{ cause error }

func (u *uniqueViolation) Error() string { return u.cause.Error() }
func (u *uniqueViolation) Unwrap() error { return u.cause }

// at gives an error of statement i its final form.
func (s Statement) at(i int, err error) error {
	var u *uniqueViolation
	if errors.As(err, &u) {
		return &Conflict{Index: i, Label: s.Label, cause: u.cause}
	}
	return err
}

// check compares the affected rows with what the statement wants.
func (s Statement) check(i int, rows int64) error {
	if s.Want == AnyRows || s.Want == rows {
		return nil
	}
	return &Conflict{Index: i, Label: s.Label, cause: fmt.Errorf("%d rows met, %d wanted", rows, s.Want)}
}

// unwritten wraps the error of a context that ended before anything was written.
func unwritten(err error) error {
	return fmt.Errorf("sqldb: given up before anything was written: %w", err)
}

var errClosed = &failure{kind: ErrUnavailable, cause: errors.New("it has been closed")}
