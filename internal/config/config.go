// Package config is the one documented structure that says how a chancery
// behaves, and the strict reader of it: TOML file, then environment, then
// command line, each later one winning.
//
// The comments of the fields below are the manual: this file is embedded in
// the binary and Effective prints each comment above its value. So they speak
// to the administrator, in the words of the file.
//
// The room knows no other room. It judges form (an address, a duration, a known
// word) and contradictions; whether a directory can be written or a database
// answers is for those who open them.
package config

import (
	_ "embed" // the manual is this file
	"net/netip"
	"time"
)

//go:embed config.go
var source string

// Config is the whole configuration. Load gives one that is valid and has every
// default filled in; nobody changes it afterwards.
type Config struct {
	// Directory for everything that must survive: database, keys, sockets.
	// Default: $STATE_DIRECTORY when systemd sets it, else ./chancery-data.
	// A relative path in the file is relative to the file.
	Data string `toml:"data"`
	// Directory with certificate profiles, one TOML file each, beside the ones
	// that are built in. "" = the directory "profiles" inside data.
	Profiles string `toml:"profiles"`

	// Where to listen.
	Listen Listen `toml:"listen"`
	// What the world calls this server. Certificates and clients carry these
	// for life: choose names that you can keep.
	URL URL `toml:"url"`
	// Where records are kept.
	Database Database `toml:"database"`
	// How private keys are protected.
	Keys Keys `toml:"keys"`
	// The root and issuer that the first start makes. Without effect later.
	Hierarchy Hierarchy `toml:"hierarchy"`
	// The ACME server (RFC 8555).
	ACME ACME `toml:"acme"`
	// The EST server (RFC 7030), for devices.
	EST EST `toml:"est"`
	// How names are validated: the way out to the clients' hosts.
	Validation Validation `toml:"validation"`
	// How the CAA records of the names' owners are obeyed (RFC 8659).
	CAA CAA `toml:"caa"`
	// What is published about certificates: CRL and OCSP.
	Status Status `toml:"status"`
	// Rate limits, as "300/3h": so many in so long. "0" = none.
	Limits Limits `toml:"limits"`
	// The mail server by which customers are asked.
	Mail Mail `toml:"mail"`
	// What is told to the log.
	Log Log `toml:"log"`

	origins map[string]origin // who set each key; a key not in it has its default
}

// Listen has the addresses of the listeners, as "HOST:PORT".
type Listen struct {
	// HTTPS for clients. ":8443" = all interfaces.
	Public string `toml:"public"`
	// Plain HTTP for CRL, OCSP and issuer certificates, and nothing else.
	// "" = the public port answers plain HTTP for these paths (one port can
	// tell TLS from HTTP by its first byte).
	Status string `toml:"status"`
	// Prometheus metrics and health: only for your own eyes, so on
	// loopback, as "127.0.0.1:9443". "" = none.
	Metrics string `toml:"metrics"`
	// The newest TLS version of the public listener, "1.3" or "1.2": some EST clients
	// cannot bind their requests to a connection of 1.3.
	TLSNewest string `toml:"tls_newest"`
	// A further HTTPS listener that serves EST alone, as ":9443". "" = none.
	EST string `toml:"est"`
	// The newest TLS version there.
	ESTNewest string `toml:"est_newest"`
	// The path of a Unix socket for a TLS terminator that does TLS-SRP and names the
	// user in a header: who can open it is anybody he says. "" = none.
	ESTTerminator string `toml:"est_terminator"`
	// Where clients of TLS-SRP connect, as ":9444": what they send is passed on to
	// est_srp_backend unread but for the user's name, and a user after whose
	// handshakes no request comes, so who guesses passwords, waits longer each time.
	// "" = none.
	ESTSRP string `toml:"est_srp"`
	// The TLS terminator behind est_srp, as "127.0.0.1:9445" or "unix:/PATH". Nobody
	// else should reach it.
	ESTSRPBackend string `toml:"est_srp_backend"`
}

// URL has the names under which the listeners are reached from outside.
type URL struct {
	// Of the HTTPS server, as "https://ca.corp.example". Default on loopback:
	// https://localhost:PORT. Required as soon as any listener or url.status is
	// off loopback. A name off loopback says that others reach this server, by
	// a proxy if every listener is on loopback.
	Base string `toml:"base"`
	// Of the status pages that certificates point to; must be http://, as who
	// checks a certificate cannot yet trust one. Default on loopback:
	// http://localhost:PORT. Required as soon as any listener or url.base is off
	// loopback.
	Status string `toml:"status"`
}

// Database says which engine keeps the records.
type Database struct {
	// "" = SQLite in the data directory, for one server. Or PostgreSQL, for one
	// or more: "postgres://USER@HOST:5432/NAME?sslmode=verify-full".
	URL string `toml:"url"`
	// The password that goes with url, by reference: "file:PATH" or
	// "credential:NAME" (systemd's LoadCredential).
	Password Reference `toml:"password"`
	// Most connections that this process opens to PostgreSQL.
	MaxConnections int `toml:"max_connections"`
}

// Keys says what unlocks the encrypted key files.
type Keys struct {
	// "file:PATH" or "credential:NAME" with an unlock key, or
	// "passphrase-file:PATH" with a passphrase. "" = a file that the first
	// start makes in the data directory: who copies the directory has the keys.
	Unlock Reference `toml:"unlock"`
}

// Hierarchy says what the first start makes.
type Hierarchy struct {
	// Organisation in the subject of root and issuer.
	Organization string `toml:"organization"`
	// ecdsa-p256, ecdsa-p384, ecdsa-p521, ed25519, rsa-2048, rsa-3072 or rsa-4096.
	RootKey string `toml:"root_key"`
	// The same choice for the issuer.
	IssuerKey string `toml:"issuer_key"`
	// How long the root is valid.
	RootLife Duration `toml:"root_life"`
	// How long the issuer is valid; not longer than the root.
	IssuerLife Duration `toml:"issuer_life"`
	// Domains below which this CA may issue, as ["corp.example"]: they become
	// permitted name constraints. [] = every name; a root that a whole
	// organisation trusts without constraints is a loaded gun.
	Domains []string `toml:"domains"`
	// Into how many parts the issuer's CRL is split. Fixed with the issuer.
	CRLShards int `toml:"crl_shards"`
}

// ACME is what the ACME server offers.
type ACME struct {
	// URL of the terms of service that new accounts must agree to. "" = none.
	Terms string `toml:"terms" live:"yes"`
	// URL of a page about this CA. "" = none.
	Website string `toml:"website" live:"yes"`
	// Names by which CAA records allow this CA to issue (RFC 8659).
	CAAIdentities []string `toml:"caa_identities" live:"yes"`
	// Accounts need an external account binding: "chancery eab" makes one. Without
	// it no account is opened, and an account without it makes no orders.
	RequireEAB bool `toml:"require_eab" live:"yes"`
	// Accounts need a binding to a customer: an external one, or one that the
	// customer confirmed (bind_by_domain, bind_by_mail).
	RequireBinding bool `toml:"require_binding" live:"yes"`
	// An account that proves a domain of a customer's gets its authorization only
	// if it is bound to him: opened with a key of his (another's does not count),
	// or after he confirmed, on the page that a mail leads to or by "chancery
	// binding". Needs section mail, or somebody who looks at "chancery binding
	// list". A suspended customer's domains are refused.
	BindByDomain bool `toml:"bind_by_domain" live:"yes"`
	// The contact address of a new account asks the customer of that address to
	// confirm that the account is his. Anybody can write any address there, so
	// this sends mail that strangers cause: leave it off unless you need it.
	BindByMail bool `toml:"bind_by_mail" live:"yes"`
	// How long a customer has to answer. Longer than order_life it is of no use to
	// the client that waits.
	BindingLife Duration `toml:"binding_life"`
	// What https://HOST/.well-known/acme gives: "directory", the ACME directory
	// itself, or "redirect", a redirect to it, which some clients do not follow.
	WellKnown string `toml:"well_known" live:"yes"`
	// Names of the profiles offered to clients; the first is the default.
	Profiles []string `toml:"profiles" live:"yes"`
	// How long an order waits for its client.
	OrderLife Duration `toml:"order_life" live:"yes"`
	// How long a successful validation may be used again.
	AuthorizationLife Duration `toml:"authorization_life" live:"yes"`
	// Most names in one order.
	MaxNames int `toml:"max_names" live:"yes"`
	// Port that http-01 connects to. Other than 80 only in a laboratory.
	HTTP01Port int `toml:"http01_port" live:"yes"`
	// Port that tls-alpn-01 connects to. Other than 443 only in a laboratory.
	TLSALPN01Port int `toml:"tlsalpn01_port" live:"yes"`
	// Challenges offered: http-01, dns-01, tls-alpn-01.
	Challenges []string `toml:"challenges" live:"yes"`
	// Further ACME directories over the same accounts, each at
	// /acme/d/NAME/directory; the keys above make the first, at /acme/directory.
	Directories []Directory `toml:"directory" live:"yes"`
}

// Directory is one more ACME directory, such as one for each kind of
// certificate or for each name by which CAA records know this CA.
type Directory struct {
	// Its name in its URLs: lower case letters, digits and single hyphens. Clients
	// keep these URLs: choose one that you can keep.
	Name string `toml:"name"`
	// Hosts at which /.well-known/acme means this directory, as
	// ["ev.ca.example"]; every other host means the first directory. They are in
	// the server's own certificate, but for those that the authority may not
	// certify: these need a proxy with a certificate of its own.
	Hosts []string `toml:"hosts"`
	// Profiles offered here; the first is the default. [] = those of section acme.
	Profiles []string `toml:"profiles"`
	// Orders here need an account with an external account binding.
	RequireEAB bool `toml:"require_eab"`
	// Names by which CAA records allow this CA to issue, as this directory
	// announces them. [] = those of section acme.
	CAAIdentities []string `toml:"caa_identities"`
	// URL of the terms of service that this directory shows. "" = those of section
	// acme.
	Terms string `toml:"terms"`
}

// Mail is the way to the customers' mailboxes.
type Mail struct {
	// The server that takes our mail, as "HOST:PORT". "" = nobody is mailed.
	Server string `toml:"server"`
	// "starttls", "tls" from the first byte on, or "none", for a server on
	// loopback only.
	TLS string `toml:"tls"`
	// The sender's address, as "ca@corp.example".
	From string `toml:"from"`
	// The name to log in with. "" = without.
	User string `toml:"user"`
	// The password that goes with user, by reference: "file:PATH" or
	// "credential:NAME" (systemd's LoadCredential).
	Password Reference `toml:"password"`
}

// Validation is how the validators go out.
type Validation struct {
	// DNS servers: "10.0.0.53", "10.0.0.53:5353", "tls://10.0.0.53#NAME" or
	// "https://NAME/dns-query". [] = the system's.
	Resolvers []string `toml:"resolvers" live:"yes"`
	// Networks that validators may reach although they are refused by default,
	// as ["127.0.0.0/8"]. Loopback is refused unless every listener and both
	// URLs are on loopback, link-local always; private networks are always
	// allowed.
	Allow []netip.Prefix `toml:"allow" live:"yes"`
	// Networks that validators must not reach; wins over allow.
	Deny []netip.Prefix `toml:"deny" live:"yes"`
	// How long one validation may take.
	Timeout Duration `toml:"timeout" live:"yes"`
	// How many validations run at a time.
	Workers int `toml:"workers" live:"yes"`
}

// CAA is how the records are obeyed by which owners of domains say who may
// certify names in them. They are looked up before every certificate.
type CAA struct {
	// "enforce": what they forbid is refused, and so is what they may forbid while
	// they cannot be looked up. "report": it is issued, logged and written into
	// the event. "off": they are not looked up. "" = enforce if
	// acme.caa_identities names anybody, else off.
	Mode string `toml:"mode" live:"yes"`
	// Lines of issuers with another mode, as ["devices=off"].
	Lines []string `toml:"lines" live:"yes"`
	// DNS servers to ask, written as in validation.resolvers. [] = those.
	Resolvers []string `toml:"resolvers" live:"yes"`
	// Those of them whose word on DNSSEC counts although they are neither on
	// loopback nor reached over TLS, as ["10.0.0.53"]: the network between is yours.
	Trusted []string `toml:"trusted" live:"yes"`
	// Whether records may name accounts (accounturi) and methods
	// (validationmethods, RFC 8657). This needs resolvers that validate DNSSEC, on
	// loopback, over TLS or trusted. false = both are ignored, and the records
	// permit more than their owners wrote: say so to them.
	Parameters bool `toml:"parameters" live:"yes"`
}

// Status is how long what is published about certificates holds.
type Status struct {
	// From a CRL's thisUpdate to its nextUpdate.
	CRLLife Duration `toml:"crl_life"`
	// From an OCSP response's thisUpdate to its nextUpdate.
	OCSPLife Duration `toml:"ocsp_life"`
	// How often a new CRL is made although nothing was revoked; at most half of
	// crl_life, so that one failure is not yet an outage.
	CRLRefresh Duration `toml:"crl_refresh"`
	// How long HTTP caches may keep CRLs and answers to OCSP by GET: so long they
	// may show what was before a revocation.
	MaxAge Duration `toml:"max_age"`
}

// Limits are rates beyond which clients are asked to come back later.
type Limits struct {
	// New accounts from one address (an IPv6 /64 counts as one).
	AccountsPerAddress Rate `toml:"accounts_per_address" live:"yes"`
	// New orders of one account.
	OrdersPerAccount Rate `toml:"orders_per_account" live:"yes"`
	// Authorisations that one account may have pending at once, or acme.max_names if
	// that is more; 0 = any number.
	PendingAuthorizations int `toml:"pending_authorizations" live:"yes"`
	// Confirmations that one account may ask for (bind_by_domain, bind_by_mail),
	// and one address by opening accounts: each is a mail. Besides, a customer is
	// asked no more than 50 times a day, 10 times by bind_by_mail.
	BindingRequests Rate `toml:"binding_requests" live:"yes"`
	// Failed log-ins of one EST user from one address before they are slowed; ten times
	// as many from one address, whoever the users.
	FailedLogins Rate `toml:"failed_logins" live:"yes"`
	// Requests of any kind from one address.
	RequestsPerAddress Rate `toml:"requests_per_address" live:"yes"`
}

// Log is how the log is written, to standard error.
type Log struct {
	// debug, info, warn or error.
	Level string `toml:"level" live:"yes"`
	// "text" or "json".
	Format string `toml:"format"`
}

// Default is the configuration of a machine that has none. Its profiles and
// URLs are still "": they follow from other values, and Load fills them in.
func Default() *Config {
	const day = Duration(24 * time.Hour)
	return &Config{
		Data:     "chancery-data",
		Listen:   Listen{Public: "127.0.0.1:8443", TLSNewest: "1.3", ESTNewest: "1.3"},
		Database: Database{MaxConnections: 16},
		Hierarchy: Hierarchy{
			Organization: "Chancery",
			RootKey:      "ecdsa-p384", IssuerKey: "ecdsa-p256",
			RootLife: 7300 * day, IssuerLife: 1825 * day,
			Domains: []string{}, CRLShards: 1,
		},
		ACME: ACME{
			CAAIdentities: []string{}, Profiles: []string{"tls-server"},
			OrderLife: 7 * day, AuthorizationLife: 30 * day, MaxNames: 100,
			HTTP01Port: 80, TLSALPN01Port: 443,
			Challenges: []string{"http-01", "dns-01", "tls-alpn-01"}, WellKnown: "directory", BindingLife: 3 * day,
			Directories: []Directory{},
		},
		EST: EST{
			Enabled: true, Realm: "EST", PendingLife: 7 * day, RetryAfter: Duration(5 * time.Minute),
			Labels: []Label{}, Makers: []Maker{},
		},
		Validation: Validation{
			Resolvers: []string{}, Allow: []netip.Prefix{}, Deny: []netip.Prefix{},
			Timeout: Duration(10 * time.Second), Workers: 32,
		},
		CAA: CAA{Lines: []string{}, Resolvers: []string{}, Trusted: []string{}, Parameters: true},
		Status: Status{
			CRLLife: 7 * day, OCSPLife: day, CRLRefresh: day, MaxAge: Duration(5 * time.Minute),
		},
		Limits: Limits{
			AccountsPerAddress: Rate{Count: 500, Per: Duration(3 * time.Hour)},
			OrdersPerAccount:   Rate{Count: 10000, Per: Duration(3 * time.Hour)},
			BindingRequests:    Rate{Count: 20, Per: Duration(24 * time.Hour)},
			FailedLogins:       Rate{Count: 20, Per: Duration(10 * time.Minute)},

			PendingAuthorizations: 300,
		},
		Mail: Mail{TLS: "starttls"},
		Log:  Log{Level: "info", Format: "text"},
	}
}
