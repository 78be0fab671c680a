// Package settings is the one documented structure that says how the client
// behaves, and the strict reader of it: client.toml.
//
// The comments of the fields below are the manual: this file is embedded in
// the binary and Explain prints each comment above its key. So they speak to
// the administrator, in the words of the file.
//
// The room judges form and contradictions. It must not know what is done with
// the settings, and holds no secret: those are given by reference.
package settings

import (
	_ "embed" // the manual is this file
	"net/netip"
)

//go:embed settings.go
var source string

// Settings is the whole of client.toml. Load gives one that is valid and has
// every default filled in; nobody changes it afterwards.
type Settings struct {
	// Directory for accounts, keys and certificates. Default:
	// /var/lib/chancery-client for root, else $XDG_STATE_HOME/chancery or
	// ~/.local/state/chancery. A relative path is relative to this file.
	Data string `toml:"data"`
	// Mail addresses that CAs may write to; each CA that gets an account is told.
	Contacts []string `toml:"contacts"`
	// Kind of new account keys: ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072,
	// rsa-4096 or ed25519 (which many CAs refuse).
	AccountKey string `toml:"account_key"`

	// How CAA records are looked up.
	DNS DNS `toml:"dns"`
	// How CAs are found by CAA records.
	Discovery Discovery `toml:"discovery"`
	// CAs that are known beforehand, one [[ca]] each: defaults for names that
	// nothing restricts, and particulars of discovered ones.
	CAs []CA `toml:"ca"`
	// How control of names is shown to a CA.
	Challenge Challenge `toml:"challenge"`
	// When certificates are renewed.
	Renew Renew `toml:"renew"`
	// How often and how long one CA is tried.
	Retry Retry `toml:"retry"`
	// When a CA that is down is left out for a while.
	Breaker Breaker `toml:"breaker"`
	// Who is told when something fails, beside the log.
	Notify Notify `toml:"notify"`
	// Certificates that the agent looks after, one [[certificate]] each.
	Certificates []Certificate `toml:"certificate"`

	file string // "" = none
}

// DNS says how CAA records are looked up.
type DNS struct {
	// Servers: "IP[:PORT]", "tls://IP[:PORT]#NAME" (DNS over TLS) or
	// "https://HOST/dns-query" (DNS over HTTPS). [] = the system's.
	Resolvers []string `toml:"resolvers"`
	// Those of them whose word on DNSSEC counts although they are neither on
	// this machine nor reached over TLS.
	Trusted []string `toml:"trusted"`
	// off, prefer or require. prefer uses answers without DNSSEC and says so;
	// require discovers nothing unless every answer is secure.
	DNSSEC string `toml:"dnssec"`
	// Go on as if there were no CAA records when a lookup fails. It lets who
	// can disturb your DNS choose the CA: only for a broken internal resolver.
	ForgiveFailures bool `toml:"forgive_failures"`
	// Servers that show whether a dns-01 record is visible. [] = the zone's own.
	Propagation []string `toml:"propagation"`
}

// Discovery says how CAs are found by CAA records.
type Discovery struct {
	// Whether CAs are found by CAA records at all.
	Enabled bool `toml:"enabled"`
	// How "priority" is read: "seed" (absent = 0 = first) or "03", the draft's
	// last revision (absent = last).
	Rules string `toml:"rules"`
	// What a record without "discovery" means.
	Default bool `toml:"default"`
	// Whether a CA must list its name in its directory: prefer (checked where it
	// lists any), require or ignore.
	CAAIdentities string `toml:"caa_identities"`
	// Let discovered CAs be on private addresses (RFC 1918, ULA).
	AllowPrivate bool `toml:"allow_private"`
	// Further networks on which discovered CAs may be, as ["127.0.0.0/8"].
	Allow []netip.Prefix `toml:"allow"`
	// Agreeing to a discovered CA's terms of service: "caa" (naming it in CAA is
	// the owner's word) or "ask" (--agree-tos each time).
	AgreeTerms string `toml:"agree_tos"`
	// Accept only these CAs, by issuer name. [] = any that the CAA records name.
	Only []string `toml:"only"`
	// PEM file with the roots that certificates of discovered CAs, and their
	// servers, must chain to. "" = the system's.
	Roots string `toml:"roots"`
}

// CA is one that is known beforehand.
type CA struct {
	// Its name here: letters, digits, - and _.
	Label string `toml:"label"`
	// Its issuer names, as in CAA records.
	Issuers []string `toml:"issuers"`
	// URL of its directory. "" = https://ISSUER/.well-known/acme.
	Directory string `toml:"directory"`
	// Serve names that no CAA record restricts.
	Default bool `toml:"default"`
	// Among the defaults: the lower the earlier; equals are shuffled.
	Priority int `toml:"priority"`
	// PEM file with the roots that its server's and its own certificates chain
	// to. "" = the system's.
	Roots string `toml:"roots"`
	// It may be on a private address, or on this machine.
	AllowPrivate bool `toml:"allow_private"`
	// Whether it must list its name in its directory: prefer, require or ignore.
	// "" = as discovery.caa_identities says.
	CAAIdentities string `toml:"caa_identities"`
	// ACME profile by kind of certificate, as {"ca-ev" = "ev-2026"}; the key
	// "default" is for certificates of any kind.
	Profiles map[string]string `toml:"profiles"`
	// Policy OIDs that show the kind, as {"ca-ev" = ["2.23.140.1.1"]}.
	Policies map[string][]string `toml:"policies"`
	// Kind of its account's key. "" = account_key above.
	AccountKey string `toml:"account_key"`
	// You agree to its terms of service.
	AgreeTerms bool `toml:"agree_tos"`
	// Mail addresses for this CA. [] = contacts above.
	Contacts []string `toml:"contacts"`
	// The external account binding that it gave you. Or "chancery account eab
	// add", which keeps it in the data directory.
	EAB EAB `toml:"eab"`
}

// EAB is an external account binding (RFC 8555 §7.3.4).
type EAB struct {
	// The key's name, as the CA gave it.
	KeyID string `toml:"key_id"`
	// "file:PATH" or "credential:NAME": the MAC key in base64url, as the CA gave it.
	Key Reference `toml:"key"`
	// HS256 (if ""), HS384 or HS512.
	Algorithm string `toml:"algorithm"`
}

// Challenge says how control of names is shown.
type Challenge struct {
	// The kinds to use, the preferred first. [] = all that are set up below:
	// http-01, tls-alpn-01, dns-01, dns-persist-01.
	Types []string `toml:"types"`
	// Address to listen on for http-01 while an order is under way. "" = off.
	HTTP string `toml:"http"`
	// Directory that another web server serves at the root of the names; used
	// in place of listening.
	Webroot string `toml:"webroot"`
	// Address to listen on for tls-alpn-01. "" = off.
	TLS string `toml:"tls"`
	// Label of the [[challenge.dns]] to use unless a certificate names another.
	// "" = the first whose zones hold the name.
	DNSDefault string `toml:"dns_default"`
	// How DNS records are set, one [[challenge.dns]] each.
	DNS []Provider `toml:"dns"`
	// dns-persist-01: the records stand already, for good; nothing is set.
	Persist bool `toml:"persist"`
}

// Provider sets DNS records.
type Provider struct {
	// Its name here.
	Label string `toml:"label"`
	// rfc2136, exec, or the name of a provider that is built in.
	Kind string `toml:"kind"`
	// Zones it is for, as ["corp.example"]. [] = all.
	Zones []string `toml:"zones"`
	// rfc2136: the server, "HOST[:PORT]".
	Server string `toml:"server"`
	// rfc2136: a file of tsig-keygen with the TSIG key. It holds name, algorithm and
	// secret; key_name chooses, if it has several keys.
	KeyFile string `toml:"key_file"`
	// rfc2136: name of the TSIG key.
	KeyName string `toml:"key_name"`
	// rfc2136: algorithm of the TSIG key: hmac-sha256 (if ""), hmac-sha384,
	// hmac-sha512, hmac-sha224 or hmac-sha1.
	KeyAlgorithm string `toml:"key_algorithm"`
	// rfc2136: the TSIG key in base64, or such a file's text, by reference.
	Key Reference `toml:"key"`
	// exec: program and arguments; "present" or "cleanup", name and value follow.
	Command []string `toml:"command"`
	// What a built-in provider wants, but no secrets; exec takes mode = "RAW".
	Options map[string]string `toml:"options"`
	// Its secrets, by reference, as {api_token = "file:/etc/chancery/token"}.
	Secrets map[string]Reference `toml:"secrets"`
	// How long to wait until all servers of the zone show a record; default 2m.
	Propagation Duration `toml:"propagation"`
}

// Renew says when certificates are renewed.
type Renew struct {
	// What part of its life a certificate has left when it is renewed, where the
	// CA does not say.
	Before float64 `toml:"before"`
	// Follow the times that CAs suggest (RFC 9773).
	ARI bool `toml:"ari"`
	// Let discovery replace a certificate that it did not obtain itself, or one
	// of another kind.
	AllowCAChange bool `toml:"allow_ca_change"`
	// Stay with the CA that issued last, whatever happens.
	PinCA bool `toml:"pin_ca"`
	// Renewals are spread over this much time.
	Jitter Duration `toml:"jitter"`
	// Certificates that the agent works on at a time.
	Workers int `toml:"workers"`
}

// Retry says how often and how long one CA is tried.
type Retry struct {
	// Tries at one CA before the next in the plan.
	Attempts int `toml:"attempts"`
	// Pause after the first failure; it doubles, with jitter.
	Pause Duration `toml:"pause"`
	// Longest pause, unless the CA asks for a longer one.
	Longest Duration `toml:"longest"`
	// Most time for one CA; less when the certificate is about to expire.
	PerCA Duration `toml:"per_ca"`
	// Most time for one certificate.
	Total Duration `toml:"total"`
}

// Breaker says when a CA that is down is left out for a while.
type Breaker struct {
	// Times in a row that it could not be reached.
	Failures int `toml:"failures"`
	// For how long at first; it doubles up to a day.
	Pause Duration `toml:"pause"`
}

// Notify says who is told when something fails.
type Notify struct {
	// Failures of one CA in a row before anybody is told.
	After int `toml:"after"`
	// By mail.
	Mail Mail `toml:"mail"`
	// By HTTP POST of JSON.
	Webhook Webhook `toml:"webhook"`
	// By a command that gets JSON on its input.
	Exec Exec `toml:"exec"`
	// To the system's log.
	Syslog Syslog `toml:"syslog"`
}

// Mail is sent by SMTP.
type Mail struct {
	// "HOST:PORT". "" = no mail.
	Server string `toml:"server"`
	// starttls, tls, or none (on this machine only).
	Security string `toml:"security"`
	// Sender.
	From string `toml:"from"`
	// Recipients.
	To []string `toml:"to"`
	// User, if the server wants one.
	User string `toml:"user"`
	// Its password, by reference.
	Password Reference `toml:"password"`
}

// Webhook gets JSON.
type Webhook struct {
	// https://..., or http://... on this machine. "" = none. It may be a secret:
	// then use url_from.
	URL string `toml:"url"`
	// The URL by reference, where it holds a token.
	URLFrom Reference `toml:"url_from"`
	// Bearer token, by reference.
	Token Reference `toml:"token"`
	// Key of a signature over each message (HMAC-SHA-256, in the header
	// Chancery-Signature), by reference; the receiver has the same text.
	Secret Reference `toml:"secret"`
}

// Exec is a command.
type Exec struct {
	// Program and arguments. [] = none.
	Command []string `toml:"command"`
	// Longest time.
	Timeout Duration `toml:"timeout"`
}

// Syslog is the system's log.
type Syslog struct {
	// Whether.
	Enabled bool `toml:"enabled"`
	// "" = this machine's; else "udp://HOST[:PORT]", "tcp://HOST[:PORT]",
	// "tls://HOST[:PORT]" or "unix:///PATH".
	Server string `toml:"server"`
}

// Certificate is one that the agent looks after.
type Certificate struct {
	// Its name in the data directory. "" = after its first name.
	Name string `toml:"name"`
	// DNS names, *.names and IP addresses. An international name is written
	// either way.
	Names []string `toml:"names"`
	// Kind of its key: as account_key. "" = ecdsa-p256.
	KeyType string `toml:"key_type"`
	// Keep the key at renewals.
	ReuseKey bool `toml:"reuse_key"`
	// ACME profile. "" = as the CA thinks best.
	Profile string `toml:"profile"`
	// Label of the [[ca]] to use and no discovery. "" = discovery.
	CA string `toml:"ca"`
	// Stay with the CA that issued last. Also true by renew.pin_ca.
	PinCA bool `toml:"pin_ca"`
	// As renew.allow_ca_change, for this one.
	AllowCAChange bool `toml:"allow_ca_change"`
	// Challenge kinds for this one. [] = as [challenge] says.
	Challenges []string `toml:"challenges"`
	// Webroot for this one.
	Webroot string `toml:"webroot"`
	// Label of the [[challenge.dns]] for this one.
	DNS string `toml:"dns"`
	// Where to put it.
	Install Install `toml:"install"`
	// What to run.
	Hooks Hooks `toml:"hooks"`
	// The agent leaves it alone.
	Disabled bool `toml:"disabled"`
}

// Install says where a certificate goes beside the data directory; absolute paths.
type Install struct {
	// The certificate alone, PEM.
	Cert string `toml:"cert"`
	// The private key, PKCS#8 PEM.
	Key string `toml:"key"`
	// The intermediates, PEM.
	Chain string `toml:"chain"`
	// Certificate and intermediates, PEM.
	FullChain string `toml:"fullchain"`
	// Certificate, intermediates and key in one, as HAProxy reads it.
	Combined string `toml:"combined"`
	// PKCS#12, for Java and Windows.
	PKCS12 string `toml:"pkcs12"`
	// Its password, by reference.
	PKCS12Password Reference `toml:"pkcs12_password"`
	// Encode it for old programs (3DES, SHA-1).
	PKCS12Legacy bool `toml:"pkcs12_legacy"`
	// User that the files belong to. "" = who runs the agent.
	Owner string `toml:"owner"`
	// Their group.
	Group string `toml:"group"`
	// Mode of files without the key; default "0644".
	Mode Mode `toml:"mode"`
	// Mode of files with the key; default "0600".
	KeyMode Mode `toml:"key_mode"`
}

// Hooks are commands: a list is program and arguments, text is a line for the
// shell. They learn of the certificate by CHANCERY_... variables.
type Hooks struct {
	// Before a CA is asked.
	Pre Command `toml:"pre"`
	// After a new certificate is in place; tried again until it succeeds.
	Deploy Command `toml:"deploy"`
	// After every attempt.
	Post Command `toml:"post"`
	// After a failed attempt.
	Failure Command `toml:"failure"`
	// Longest time for each; default 1m.
	Timeout Duration `toml:"timeout"`
}
