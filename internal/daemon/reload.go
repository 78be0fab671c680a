package daemon

import (
	"fmt"
	"log/slog"

	"chancery/internal/config"
)

// Reload takes over what of a new configuration can be changed while running;
// connections and validations under way are not touched. What needs a restart
// is named in the log. An error leaves everything as it was.
func (d *Daemon) Reload(next *config.Config) error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	next.Bound(d.listeners.publicPort(), d.listeners.statusPort())
	if d.applied == nil {
		d.applied = d.Config
	}
	live, _ := config.Differences(d.applied, next)
	_, restart := config.Differences(d.Config, next)
	merged := *d.Config
	merged.ACME, merged.Validation, merged.Limits = next.ACME, next.Validation, next.Limits
	merged.Log.Level = next.Log.Level
	room, err := d.acmeRoom(&merged)
	if err != nil {
		return fmt.Errorf("the new configuration is not used: %w", err)
	}
	d.applied = next
	d.replaced = append(d.replaced, d.acme.Swap(room))
	d.publish()
	if d.Level != nil {
		var level slog.Level
		if err := level.UnmarshalText([]byte(merged.Log.Level)); err == nil {
			d.Level.Set(level)
		}
	}
	d.Logger.Info("configuration read again", "changed", live, "needs_restart", restart)
	return nil
}
