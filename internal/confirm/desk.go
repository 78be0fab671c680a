package confirm

import (
	"context"

	"chancery/internal/ca"
	"chancery/internal/registry"
)

// Desk fits the registry to the page.
type Desk struct{ Registry *registry.Registry }

// Question implements [Questions].
func (d Desk) Question(ctx context.Context, id, token string) (Question, error) {
	b, c, err := d.Registry.Look(ctx, id, token)
	return Question{Binding: b, Customer: c.Name, CanSign: c.CanSignIn && c.State == registry.Active}, err
}

// Answer implements [Questions]: the passphrase first, then the decision of who it
// belongs to.
func (d Desk) Answer(ctx context.Context, q Question, a Answer) (registry.Binding, error) {
	if err := d.Registry.SignIn(ctx, q.Binding.Customer, a.Passphrase); err != nil {
		return registry.Binding{}, err
	}
	decision := registry.Decision{ID: q.ID, By: ca.Principal{Room: registry.CustomerRoom, ID: q.Binding.Customer}, Confirm: a.Confirm}
	if a.End {
		return d.Registry.End(ctx, decision)
	}
	return d.Registry.Decide(ctx, decision)
}
