package config

import (
	_ "embed" // these comments are the manual, too
)

//go:embed est.go
var estSource string

// EST is what the EST server offers (RFC 7030), at /.well-known/est on the public
// listener.
type EST struct {
	// false = no EST at all.
	Enabled bool `toml:"enabled"`
	// Whether passwords are asked for by HTTP Digest instead of Basic: "" = Basic,
	// "sha-256", or "md5" for old clients, which offers MD5 first and SHA-256 after
	// it. Passwords of users that were added before it was on do not work with it.
	Digest string `toml:"digest" live:"yes"`
	// What clients show to people who are asked for a password. Digest passwords are
	// bound to it: after a change every user has to be added again.
	Realm string `toml:"realm" live:"yes"`
	// Whether this server's own certificate has the purpose id-kp-cmcRA, by which
	// clients know an EST server although it has another name (RFC 7030 section 3.6.1).
	CMCRA bool `toml:"cmc_ra"`
	// A certificate from elsewhere for the listeners that serve EST, as a PEM file with its
	// chain. "" = one of our own authority, made and renewed by itself.
	Certificate string `toml:"certificate" live:"yes"`
	// The key of certificate, as a PEM file.
	Key string `toml:"key" live:"yes"`
	// Show the certificate of our own authority, although certificate is set, to
	// clients that say which authorities they trust (RFC 6066 section 6, RFC 8446
	// section 4.2.4): these have learnt ours from cacerts.
	OwnOnRequest bool `toml:"own_on_request" live:"yes"`
	// How long a request waits for an approver, unless its label says so.
	PendingLife Duration `toml:"pending_life" live:"yes"`
	// After how long a client whose request waits is told to ask again, unless its
	// label says so.
	RetryAfter Duration `toml:"retry_after" live:"yes"`
	// The services that clients choose between by a label in the path, or by none;
	// each gives certificates of one profile. [] = one without a name, with every
	// default.
	Labels []Label `toml:"label" live:"yes"`
	// Other people's authorities, of device makers for example, whose certificates
	// can authenticate (RFC 7030's Implicit TA database). They sign for nothing else.
	Makers []Maker `toml:"maker" live:"yes"`
}

// Label is one EST service under /.well-known/est/NAME.
type Label struct {
	// Its name in the path. Letters, digits, "-", ".", "_" and "~"; no name of an
	// EST operation. "" = the service without a label.
	Name string `toml:"name"`
	// The profile of its certificates; "est" must be among its rooms. "" = device.
	Profile string `toml:"profile"`
	// What it offers, besides cacerts: simpleenroll, simplereenroll, csrattrs,
	// fullcmc, serverkeygen. [] = all but serverkeygen, which makes keys for clients.
	Operations []string `toml:"operations"`
	// How clients prove who they are; any one way is enough, and a way may join
	// several with "+": certificate (of ours), maker (another's), password,
	// one-time (a password for one certificate), srp (TLS-SRP, by the terminator).
	// [] = ["certificate", "password", "one-time"].
	Accept []string `toml:"accept"`
	// The profiles of ours whose certificates authenticate. [] = this label's own.
	Holders []string `toml:"holders"`
	// The makers whose certificates authenticate, by name.
	Makers []string `toml:"makers"`
	// What may be asked for: "own" (what the certificate that authenticates has),
	// "*.iot.example", "gw.iot.example", "{serial}.iot.example", "{cn}", "{user}",
	// "192.0.2.0/24", "CN=*", "uri:urn:dev:*", "*" (everything). [] = ["own"], and with
	// manual whatever an approver lets pass. Patterns of a password's
	// own (--name) stand instead of these.
	Names []string `toml:"names"`
	// A person approves each certificate: "chancery est requests". Who renews his own,
	// with its subject and names, by showing it, needs no word again.
	Manual bool `toml:"manual"`
	// With manual: a person approves renewals too.
	ManualRenewals bool `toml:"manual_renewals"`
	// How long a request waits for that. "0s" = est.pending_life.
	PendingLife Duration `toml:"pending_life"`
	// After how long the client is told to ask again. "0s" = est.retry_after.
	RetryAfter Duration `toml:"retry_after"`
	// Most requests of one client that wait. 0 = 20.
	PendingLimit int `toml:"pending_limit"`
	// A request must be bound to the TLS connection it comes on (RFC 7030 section
	// 3.5), so that nobody in between can put in another. Where the binding is there
	// it is always checked.
	RequireLinking bool `toml:"require_linking"`
	// challengePassword in a request is a password of enrolment, as some clients
	// mean it, and not the binding.
	ChallengeSecret bool `toml:"challenge_secret"`
	// The profiles of registration authorities: their certificates, if they have
	// the purpose id-kp-cmcRA, may ask for others' (RFC 7030 section 3.7).
	RAs []string `toml:"ras"`
	// What registration authorities may ask for, as in names.
	RANames []string `toml:"ra_names"`
	// Registration authorities need not bind requests to the connection.
	RAUnlinked bool `toml:"ra_unlinked"`
	// Clients are asked for their MAC address, in csrattrs; who tells it has it in the
	// ledger's event of the certificate. Nobody is refused who does not.
	MACAddress bool `toml:"mac_address"`
	// A client may change subject and names when it renews (RFC 6402 section 2.8),
	// within names.
	ChangeSubject bool `toml:"change_subject"`
	// How long after its end a certificate can still be renewed with. "0s" = not.
	ExpiredGrace Duration `toml:"expired_grace"`
	// The certificate that was renewed is revoked, if its holder renewed it.
	RevokeOld bool `toml:"revoke_old"`
	// Base64 in lines of 64 characters ("wrapped"), in one line ("bare"), or in
	// lines but for clients known to want one ("auto"). "" = auto.
	Wrap string `toml:"wrap"`
	// Keys that we make are sent only encrypted to a key of the client's, besides
	// TLS: register it by "chancery est key add".
	KeysEncrypted bool `toml:"keys_encrypted"`
	// Keys that we make may be sent over a TLS cipher that is weaker than they.
	KeysWeakCipher bool `toml:"keys_weak_cipher"`
	// A copy of each key that we make is kept, encrypted to the RSA or EC key of this
	// certificate, a PEM file. Keep its private key elsewhere. "" = none is kept.
	KeysArchive string `toml:"keys_archive"`
	// Most certificates of one client in a time, as "10/1d", over renewals too; of
	// requests at once a few more may pass. "0" = no bound.
	Quota Rate `toml:"quota"`
	// CMC requests may be signed with SHA-1, which is broken.
	SHA1CMC bool `toml:"sha1_cmc"`
}

// Maker is somebody else's authority.
type Maker struct {
	// Its name, for labels and records: lower case letters, digits and single hyphens.
	Name string `toml:"name"`
	// Its root certificates, a PEM file.
	Roots string `toml:"roots"`
	// Certificates between roots and devices that devices do not send, a PEM file.
	// "" = none.
	Intermediates string `toml:"intermediates"`
	// How its revocations are learnt: "crl", "ocsp", "any" (OCSP, and CRLs where that
	// does not answer), or "none": they are not, and a stolen device's certificate
	// opens this server until it ends.
	Revocation string `toml:"revocation"`
	// A certificate whose revocation cannot be learnt now is let in.
	RevocationSoft bool `toml:"revocation_soft"`
	// Where its CRLs are: files, or http URLs. [] = where its certificates say.
	CRLs []string `toml:"crls"`
	// Its OCSP responder, an http URL. "" = what its certificates say.
	OCSP string `toml:"ocsp"`
}

// defaults of a label whose lists are empty.
var (
	usualOperations = []string{"csrattrs", "simpleenroll", "simplereenroll", "fullcmc"}
	usualWays       = []string{"certificate", "password", "one-time"}
)

// ESTLabels gives the labels with every default filled in.
func (c *Config) ESTLabels() []Label {
	all := []Label{{}}
	if len(c.EST.Labels) > 0 {
		all = append([]Label(nil), c.EST.Labels...)
	}
	for i := range all {
		l := &all[i]
		if l.Profile == "" {
			l.Profile = "device"
		}
		if len(l.Operations) == 0 {
			l.Operations = usualOperations
		}
		if len(l.Accept) == 0 {
			l.Accept = usualWays
		}
		if l.PendingLife == 0 {
			l.PendingLife = c.EST.PendingLife
		}
		if l.RetryAfter == 0 {
			l.RetryAfter = c.EST.RetryAfter
		}
	}
	return all
}

// ESTKeysMade tells whether the EST server makes keys for clients.
func (c *Config) ESTKeysMade() bool {
	for _, l := range c.ESTLabels() {
		for _, op := range l.Operations {
			if op == "serverkeygen" && c.EST.Enabled {
				return true
			}
		}
	}
	return false
}
