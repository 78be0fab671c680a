package daemon

import (
	"context"
	"sync/atomic"
	"time"

	"chancery/internal/config"
	"chancery/internal/confirm"
	"chancery/internal/limit"
	"chancery/internal/registry"
	"chancery/internal/resolver"
)

const (
	lettersPace = 5 * time.Second
	// answersAtOnce bounds the answers on the confirmation page, from one address and
	// to one question, in answersPer: passphrases are not to be guessed there.
	answersAtOnce = 10
	answersPer    = 10 * time.Minute
)

// texts looks up the records by which customers prove domains, with the resolver
// of the configuration as it is now. It is replaced by a reload.
type texts struct {
	dns atomic.Pointer[resolver.Resolver]
}

func newTexts(c *config.Config) (*texts, error) {
	dns, err := dnsOf(c)
	t := &texts{}
	t.dns.Store(dns)
	return t, err
}

// TXT implements [registry.Texts].
func (t *texts) TXT(ctx context.Context, name string) ([]string, error) {
	return t.dns.Load().TXT(ctx, name)
}

// openPage makes the page on which customers confirm. What it counts outlives
// reloads.
func (d *Daemon) openPage() error {
	tries, err := limit.New(limit.Rule{Name: "answers of customers", Count: answersAtOnce, Per: answersPer})
	if err != nil {
		return err
	}
	d.page, err = confirm.New(confirm.Config{
		Base: d.BaseURL(), Questions: confirm.Desk{Registry: d.registry}, Clock: time.Now, Logger: d.Logger, Tries: tries.Allow,
	})
	return err
}

// registryOf gives what the registry of a configuration works with.
func registryOf(o Options, h *house) (registry.Config, error) {
	post, err := mailerOf(o.Config.Mail)
	return registry.Config{
		Store: h.store, Clock: time.Now, Base: o.Config.URL.Base, Patience: o.Config.ACME.BindingLife.Std(),
		Texts: h.texts, Mailer: post,
	}, err
}
