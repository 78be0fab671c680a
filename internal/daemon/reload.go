package daemon

import (
	"context"
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
	// First everything that can fail.
	merged := *d.Config
	merged.ACME, merged.Validation, merged.Limits = next.ACME, next.Validation, next.Limits
	merged.CAA, merged.Log.Level = next.CAA, next.Log.Level
	merged.EST = next.EST
	merged.EST.Enabled, merged.EST.CMCRA = d.Config.EST.Enabled, d.Config.EST.CMCRA
	if err := noDumps(merged.ESTKeysMade()); err != nil {
		return fmt.Errorf("the new configuration is not used: core dumps cannot be turned off: %w", err)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(merged.Log.Level)); err != nil {
		return fmt.Errorf("the new configuration is not used: log.level: %w", err)
	}
	l, err := newLimits(merged.Limits, d.limits.Load())
	if err != nil {
		return fmt.Errorf("the new configuration is not used: limits: %w", err)
	}
	room, err := d.acmeRoom(&merged, l)
	if err != nil {
		return fmt.Errorf("the new configuration is not used: %w", err)
	}
	devices, err := d.estRoom(&merged, l)
	if err != nil {
		return fmt.Errorf("the new configuration is not used: %w", err)
	}
	foreign, err := readForeign(merged.EST)
	if err != nil {
		return fmt.Errorf("the new configuration is not used: %w", err)
	}
	dns, err := dnsOf(&merged)
	if err != nil {
		return fmt.Errorf("the new configuration is not used: %w", err)
	}
	rules, err := caaRules(&merged)
	if err == nil {
		err = d.authority.SetCAA(rules) // the last that can fail
	}
	if err != nil {
		return fmt.Errorf("the new configuration is not used: %w", err)
	}
	sayCAA(d.Options, &rules)
	d.texts.dns.Store(dns)
	d.applied = next
	d.limits.Store(l)
	d.replaced = append(d.replaced, d.acme.Swap(room))
	d.est.Store(devices)
	d.cert.foreign.Store(foreign)
	d.publish()
	d.applyHosts(&merged)
	if d.Level != nil {
		d.Level.Set(level)
	}
	d.Logger.Info("configuration read again", "changed", live, "needs_restart", restart)
	return d.warnOfEST(context.Background())
}
