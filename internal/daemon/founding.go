package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"chancery/internal/ca"
	"chancery/internal/sqldb"
)

// founding is how long one process has to make the hierarchy.
const founding = 2 * time.Minute

// found makes the hierarchy if there is none, and tells whether it did. Among
// several processes one does it; the others wait for it. The lease belongs to
// the data directory, which one process at a time has: so a start after a crash
// goes on at once and does not wait for its predecessor's lease to end.
func (h *house) found(ctx context.Context) (founded bool, err error) {
	defer func() {
		if err == nil {
			err = h.remember()
		}
	}()
	if err := h.mayFound(); err != nil {
		return false, err
	}
	holder := h.place
	for len(h.authority.Issuers().List()) == 0 {
		mine, err := h.db.Lease(ctx, sqldb.Lease{Name: "founding", Holder: holder, For: founding, Now: time.Now()})
		if err != nil {
			return false, err
		}
		if mine {
			// Between looking and leasing another process may have been quick.
			if err := h.authority.Reload(ctx); err != nil {
				return false, err
			}
			if len(h.authority.Issuers().List()) > 0 {
				break
			}
			if err := h.authority.Found(ctx, h.plan); err != nil {
				return false, err
			}
			return true, h.db.Release(ctx, "founding", holder)
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(time.Second):
		}
		if err := h.authority.Reload(ctx); err != nil {
			return false, err
		}
	}
	return false, h.boundAsSaid()
}

// mayFound refuses to make a hierarchy where one was: its keys are here, and a
// database that does not know it was lost or is another one. A new root in its
// place would be trusted by nobody, and nobody could revoke what the old issued.
func (h *house) mayFound() error {
	if len(h.authority.Issuers().List()) > 0 {
		return nil
	}
	text, err := os.ReadFile(h.marker)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("the keys in %s belong to an authority (%s) that the database does not know: restore the database, or set database.url right; to begin anew, move the data directory away", filepath.Dir(h.marker), strings.TrimSpace(string(text)))
}

// remember writes beside the keys that they belong to a hierarchy.
func (h *house) remember() error {
	if _, err := os.Stat(h.marker); err == nil {
		return nil
	}
	roots := h.authority.Issuers().Roots()
	if len(roots) == 0 {
		return nil // below a foreign root; the keys are worth nothing without its certificate
	}
	root := roots[len(roots)-1]
	return os.WriteFile(h.marker, fmt.Appendf(nil, "%s, SHA-256 %X\n", root.Subject, sha256.Sum256(root.Raw)), 0o600)
}

// boundAsSaid refuses a configuration that says the hierarchy is bound to other
// domains than it is: who wrote it would rely on that.
func (h *house) boundAsSaid() error {
	issuer := h.authority.Issuers().Line(ca.DefaultLine, time.Now())
	if issuer == nil || len(h.plan.Domains) == 0 {
		return nil
	}
	is := slices.DeleteFunc(slices.Clone(issuer.Certificate().PermittedDNSDomains), func(d string) bool { return d == "localhost" })
	said := slices.DeleteFunc(slices.Clone(h.plan.Domains), func(d string) bool { return d == "localhost" })
	slices.Sort(is)
	slices.Sort(said)
	if slices.Equal(is, said) {
		return nil
	}
	bound := "every name"
	if len(is) > 0 {
		bound = strings.Join(is, ", ")
	}
	return fmt.Errorf("hierarchy.domains says %s, but this authority may certify %s, and that cannot be changed any more: correct the configuration, or make another authority with chancery init", strings.Join(said, ", "), bound)
}
