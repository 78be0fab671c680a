package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"chancery/internal/config"
	"chancery/internal/daemon"
)

// serveVariable makes the test binary a server: its value is a setup in JSON.
const serveVariable = "CHANCERY_TEST_SERVE"

// TestMain makes the test binary its own victim, where a process must die or a
// second one is needed.
func TestMain(m *testing.M) {
	if text := os.Getenv(serveVariable); text != "" {
		if err := serve(text); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serve runs a daemon until SIGTERM, and says "ready" when it answers.
func serve(text string) error {
	var s setup
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	d, err := daemon.Start(context.Background(), daemon.Options{Config: s.config(), Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-stop
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return d.Close(ctx)
}

// setup is what the tests vary of a configuration.
type setup struct {
	Data, Database, Base, Status, Resolver string
	Public, Listener, Metrics              string // addresses; Listener is the plain-HTTP side's
	HTTPPort                               int
	Requests                               config.Rate
	Mail                                   string               // a mail server; then accounts need a binding, and holders are asked
	Approvals                              bool                 // EST's requests wait for an approver
	Keys                                   bool                 // EST makes keys for clients
	change                                 func(*config.Config) // last; not for a process of its own
}

func (s setup) config() *config.Config {
	c := config.Default()
	c.Data, c.Database.URL = s.Data, s.Database
	c.Listen.Public, c.Listen.Status, c.Listen.Metrics = s.Public, s.Listener, s.Metrics
	c.URL.Base, c.URL.Status = s.Base, s.Status
	c.Limits = config.Limits{RequestsPerAddress: s.Requests}
	if s.Resolver != "" {
		c.Validation.Resolvers = []string{s.Resolver}
	}
	if s.HTTPPort != 0 {
		c.ACME.HTTP01Port = s.HTTPPort
	}
	if s.Mail != "" {
		c.ACME.RequireBinding, c.ACME.BindByDomain = true, true
		c.Mail = config.Mail{Server: s.Mail, TLS: "none", From: "ca@ca.localhost"}
	}
	if s.Approvals {
		c.EST.Labels = []config.Label{{Manual: true, Names: []string{"*.example"}}}
	}
	if s.Keys {
		c.EST.Labels = []config.Label{{Names: []string{"*.example"}, Operations: []string{"simpleenroll", "simplereenroll", "serverkeygen"}}}
	}
	if s.change != nil {
		s.change(c)
	}
	return c
}
