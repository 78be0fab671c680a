package device

import (
	"context"
	"fmt"
	"strings"

	"chancery/internal/enroll/install"
)

// Deploy puts the certificate in use where the settings say, exports the anchors, and runs
// the commands that make programs take notice. What fails is tried again at the next
// attempt of anything. Call it under Lock.
func (d *Device) Deploy(ctx context.Context, s *State) error {
	if !s.Undeployed {
		return nil
	}
	b, err := d.bundle(ctx, s)
	if err != nil {
		return err
	}
	if target := s.Settings.Install; !target.Empty() {
		if err := target.Install(ctx, b); err != nil {
			return fmt.Errorf("the certificate is in %s, but not yet where it is wanted: %w", d.Lineage(), err)
		}
		d.tell(Installed, "%s", target)
	}
	trust, err := d.Trust(s)
	if err != nil {
		return err
	}
	if err := d.exportAnchors(s, trust.Explicit); err != nil {
		return err
	}
	if err := d.hooks(ctx, s, b); err != nil {
		return fmt.Errorf("the certificate is in %s, but a command that puts it to use failed: %w", d.Lineage(), err)
	}
	s.Undeployed = false
	return d.save(s)
}

// hooks runs the deploy commands.
func (d *Device) hooks(ctx context.Context, s *State, b install.Bundle) error {
	if len(s.Settings.Hooks.Deploy) == 0 {
		return nil
	}
	paths, target := d.Paths(), s.Settings.Install
	or := func(a, b string) string {
		if a != "" {
			return a
		}
		return b
	}
	leaf := b.Chain[0]
	results, err := s.Settings.Hooks.Run(ctx, install.Facts{
		Stage: install.Deploy, Name: "est", Names: s.Current.Names, Issuer: leaf.Issuer.CommonName, Directory: s.Settings.Server,
		Serial: s.Current.Serial, NotBefore: s.Current.NotBefore, NotAfter: s.Current.NotAfter, Lineage: d.Lineage(),
		Cert: or(target.Cert, paths.Cert), Key: or(target.Key, paths.Key), Chain: or(target.Chain, paths.Chain), FullChain: or(target.FullChain, paths.FullChain),
		Combined: target.Combined, PKCS12: target.PKCS12,
	})
	for _, r := range results {
		if out := strings.TrimSpace(r.Output); out != "" {
			d.tell(Ran, "%s", out)
		}
	}
	return err
}
