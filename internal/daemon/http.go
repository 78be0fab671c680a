package daemon

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/pprof"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"chancery/est"
	"chancery/internal/admin"
	"chancery/internal/ca"
	"chancery/internal/confirm"
	"chancery/internal/desk"
)

// publicServer is the HTTPS server; its handler is replaced by a reload.
func (d *Daemon) publicServer() *http.Server {
	s := plain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*d.public.Load()).ServeHTTP(w, r) }))
	s.TLSConfig = d.secured(d.Config.Listen.TLSNewest)
	return s
}

// plain gives a server with the limits that every listener has.
func plain(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
}

// publish makes the handlers of the rooms as they are now.
func (d *Daemon) publish() {
	mux := http.NewServeMux()
	room := d.acme.Load().Handler()
	mux.Handle("/acme/", room)
	mux.Handle("/.well-known/acme", room)
	mux.Handle(confirm.Path, d.page)
	pages := d.status.Handler()
	mux.Handle("GET /root.pem", pages)
	mux.Handle("GET /roots.pem", pages)
	mux.HandleFunc("GET /healthz", healthz)
	mux.HandleFunc("GET /readyz", d.readyz)
	mux.HandleFunc("GET /{$}", d.welcome)
	devices, others := d.devicesHandler(false), d.counted(d.limited(refuseProblem, mux))
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isEST(r.URL.Path) {
			devices.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
	if d.Wrap != nil {
		h = d.Wrap(h)
	}
	d.public.Store(&h)
	office := d.officeHandler()
	d.office.Store(&office)
}

// welcome tells a person with a browser or curl where they are.
func (d *Daemon) welcome(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "This is chancery, a certification authority.\n\nACME directory  %s\n", d.Directory())
	if room := d.est.Load(); room != nil {
		for _, l := range room.Labels {
			fmt.Fprintf(w, "EST             %s%s\n", d.BaseURL(), path.Join(est.WellKnown, l.Name))
		}
	}
	fmt.Fprintf(w, "Root            %s/root.pem\n", d.BaseURL())
	for _, root := range d.Roots() {
		fmt.Fprintf(w, "SHA-256         %X  %s\n", sha256.Sum256(root.Raw), root.Subject)
	}
}

// statusHandler serves the plain-HTTP side. Who came with http:// to a path
// that needs https:// reads where to go.
func (d *Daemon) statusHandler() http.Handler {
	pages := d.status.Handler()
	// No ServeMux: it would redirect the slashes in a GET's base64 (RFC 6960 A.1).
	return d.counted(d.limited(refusePlainly, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := r.URL.Path; p == "/" || p == "/.well-known/acme" || isEST(p) || strings.HasPrefix(p, "/acme/") || strings.HasPrefix(p, confirm.Path) {
			http.Error(w, "This is the plain-HTTP side, for CRL, OCSP and CA certificates only. Use "+d.BaseURL()+r.URL.EscapedPath(), http.StatusBadRequest)
			return
		}
		pages.ServeHTTP(w, r)
	})))
}

func healthz(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }

// readyz tells whether certificates can be issued now.
func (d *Daemon) readyz(w http.ResponseWriter, r *http.Request) {
	switch err := d.db.Ping(r.Context()); {
	case err != nil:
		http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
	case d.db.Writable(r.Context()) != nil:
		http.Error(w, "the database cannot be written", http.StatusServiceUnavailable)
	case d.authority.Issuers().Line(ca.DefaultLine, time.Now()) == nil:
		http.Error(w, "no issuer can sign", http.StatusServiceUnavailable)
	case d.cert.current.Load() == nil:
		http.Error(w, "HTTPS has no certificate", http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "ready")
	}
}

// adminServer serves administrators on the socket; its operations are replaced
// by a reload.
func (d *Daemon) adminServer() *http.Server {
	s := admin.NewServer().HTTP()
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*d.office.Load()).ServeHTTP(w, r) })
	return s
}

// officeHandler has the operations of the rooms as they are now, and profiling
// beside them.
func (d *Daemon) officeHandler() http.Handler {
	operations := desk.New(desk.Config{
		Authority: d.authority, Ledger: d.store, Listing: d.store, Keys: d.keys, Clock: time.Now, Defaults: d.plan,
		ProfileText: d.profileText, Registry: d.registry,
	}).Operations()
	operations = append(operations, d.acme.Load().Operations()...)
	if room := d.est.Load(); room != nil {
		operations = append(operations, room.Operations()...)
	}
	office := admin.NewServer(operations...)
	office.Log = d.Logger
	office.Classify = classify
	return withProfiles(office)
}

// withProfiles adds the process's profiles, for administrators: memory shows
// secrets.
func withProfiles(office *admin.Server) http.Handler {
	profiles := http.NewServeMux()
	profiles.HandleFunc("/debug/pprof/", pprof.Index)
	profiles.HandleFunc("/debug/pprof/profile", pprof.Profile)
	profiles.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux := http.NewServeMux()
	mux.Handle("/", office)
	mux.Handle("/debug/pprof/", office.Guard(admin.Administrator, profiles))
	return mux
}

// profileText gives the file of a profile of this deployment's own.
func (d *Daemon) profileText(name string) []byte {
	text, err := os.ReadFile(filepath.Join(d.Config.Profiles, filepath.Base(name)+".toml"))
	if err != nil {
		return nil
	}
	return text
}
