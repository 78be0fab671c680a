package daemon

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"chancery/internal/ca"
	"chancery/internal/config"
	"chancery/internal/keys"
	"chancery/internal/owned"
	"chancery/internal/registry"
	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
)

// house is what stands whether or not anybody listens: store, keys, authority.
type house struct {
	db        *sqldb.DB
	store     *sqlstore.Store
	keys      *keys.Store
	authority *ca.Authority
	registry  *registry.Registry
	texts     *texts // by which customers prove domains
	// deviceSeals seal the keys of devices, to which keys made for them are encrypted.
	deviceSeals ca.Seals
	plan        ca.Plan
	place       string // names this data directory among all that share a database
	marker      string // see [house.remember]
	founded     bool
}

// open opens the house, whose directory [own] has judged; on an error nothing stays open.
func open(ctx context.Context, o Options) (h house, err error) {
	if h.keys, err = OpenKeys(o.Config); err != nil {
		return h, err
	}
	if h.db, err = openDatabase(ctx, o); err != nil {
		return h, err
	}
	defer func() {
		if err != nil {
			h.db.Close()
			h.db = nil
		}
	}()
	if err := sqlstore.Migrate(ctx, h.db); err != nil {
		return h, err
	}
	h.store = sqlstore.New(h.db)
	seals, err := h.keys.Sealer(ctx, "intents")
	if err != nil {
		return h, err
	}
	external, err := h.keys.Sealer(ctx, "external-keys")
	if err != nil {
		return h, err
	}
	if h.deviceSeals, err = h.keys.Sealer(ctx, "est-device-keys"); err != nil {
		return h, err
	}
	if h.texts, err = newTexts(o.Config); err != nil {
		return h, err
	}
	people, err := registryOf(o, &h)
	if err != nil {
		return h, err
	}
	people.Sealer = external
	if h.registry, err = registry.New(people); err != nil {
		return h, err
	}
	profiles, err := loadProfiles(o.Config.Profiles)
	if err != nil {
		return h, err
	}
	if err := checkOffered(o.Config, profiles); err != nil {
		return h, err
	}
	h.plan, h.marker = planOf(o.Config), filepath.Join(KeyDirectory(o.Config), "founded")
	if h.place, err = placeOf(o.Config); err != nil {
		return h, err
	}
	rules, err := caaRules(o.Config)
	if err != nil {
		return h, err
	}
	h.authority, err = ca.New(ca.Config{
		Ledger: h.store, Recovery: h.store, Revocations: h.store, Hierarchy: h.store,
		Keys: keyStore{h.keys}, Profiles: profiles, Clock: time.Now, Seals: seals, CAA: rules,
		CRLLife: o.Config.Status.CRLLife.Std(), CRLRefresh: o.Config.Status.CRLRefresh.Std(),
		Logger: o.Logger,
	})
	if err != nil {
		return h, err
	}
	sayCAA(o, &rules)
	if err := h.authority.Reload(ctx); err != nil {
		return h, err
	}
	if len(h.authority.Issuers().List()) == 0 {
		// A hierarchy is for ever: see first that it can certify this server.
		return h, o.Config.CheckDomains()
	}
	return h, nil
}

// KeyDirectory is where a configuration keeps its keys.
func KeyDirectory(c *config.Config) string { return filepath.Join(c.Data, "keys") }

// OpenKeys unlocks the key directory in the way that the configuration says,
// and makes it if there is none. Errors are those of [keys.Open].
func OpenKeys(c *config.Config) (*keys.Store, error) {
	in := keys.Config{Dir: KeyDirectory(c)}
	if c.Keys.Unlock != "" {
		secret, err := named{"keys.unlock", c.Keys.Unlock}.read()
		if err != nil {
			return nil, err
		}
		in.Secret = secret
	}
	return keys.Open(in)
}

func openDatabase(ctx context.Context, o Options) (*sqldb.DB, error) {
	in := sqldb.Config{URL: databaseURL(o.Config), MaxConns: o.Config.Database.MaxConnections, Logger: o.Logger}
	if o.Config.Database.URL == "" {
		in.MaxConns = 0
	} else if o.Config.Database.Password != "" {
		secret, err := named{"database.password", o.Config.Database.Password}.read()
		if err != nil {
			return nil, err
		}
		if in.URL, err = withPassword(in.URL, secret.Reveal()); err != nil {
			return nil, err
		}
	}
	db, err := sqldb.Open(ctx, in)
	if locked, ok := errors.AsType[*sqldb.Locked](err); ok {
		return nil, fmt.Errorf("another chancery (process %d) runs on %s; stop it, or choose another directory with --data", locked.PID, o.Config.Data)
	}
	return db, err
}

// loadProfiles reads the deployment's own profiles over the shipped ones. A
// directory that does not exist holds none.
func loadProfiles(dir string) (map[string]*ca.Profile, error) {
	all := ca.Shipped()
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".toml")
		if !ok || e.IsDir() {
			continue
		}
		if name == ownProfile || name == raProfile {
			return nil, fmt.Errorf("%s: the profile of the server's own certificate cannot be replaced; give the file another name", filepath.Join(dir, e.Name()))
		}
		text, err := owned.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("profiles: %w", err)
		}
		if all[name], err = ca.ParseProfile(name, text); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, e.Name()), err)
		}
	}
	return all, nil
}

func planOf(c *config.Config) ca.Plan {
	return ca.Plan{
		Organization: c.Hierarchy.Organization, RootKey: c.Hierarchy.RootKey, IssuerKey: c.Hierarchy.IssuerKey,
		RootLife: c.Hierarchy.RootLife.Std(), IssuerLife: c.Hierarchy.IssuerLife.Std(),
		Domains: c.Hierarchy.Domains, Shards: c.Hierarchy.CRLShards, StatusURL: c.URL.Status,
	}
}

// placeOf names a data directory so that no two have one name.
func placeOf(c *config.Config) (string, error) {
	path, err := filepath.Abs(c.Data)
	if err != nil {
		return "", fmt.Errorf("the data directory: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("this machine's name is needed: %w", err)
	}
	return host + ":" + path, nil
}

// keyStore fits the key directory to the authority.
type keyStore struct{ *keys.Store }

// Load implements [ca.Keys].
func (k keyStore) Load(ctx context.Context, name string) (crypto.Signer, error) {
	signer, err := k.Store.Load(ctx, name)
	if errors.Is(err, keys.ErrNotFound) {
		return nil, ca.Errorf(ca.NotFound, "the key %s is not in this key store", name)
	}
	if errors.Is(err, keys.ErrName) {
		return nil, ca.Errorf(ca.Invalid, "%w", err)
	}
	return signer, err
}

// Generate implements [ca.Keys].
func (k keyStore) Generate(ctx context.Context, name, algorithm string) (crypto.Signer, error) {
	signer, err := k.Store.Generate(ctx, name, keys.Algorithm(algorithm))
	if errors.Is(err, keys.ErrName) || errors.Is(err, keys.ErrAlgorithm) {
		return nil, ca.Errorf(ca.Invalid, "%w", err)
	}
	return signer, err
}
