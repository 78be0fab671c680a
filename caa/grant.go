package caa

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// Use says what became of one record.
type Use string

// What becomes of records.
const (
	UseOffered    Use = "offered"    // authorises, and is read for discovery
	UseAuthorizes Use = "authorizes" // authorises a configured CA, and is not for discovery
	UseUnusable   Use = "unusable"   // this client cannot satisfy it
	UseNobody     Use = "nobody"     // authorises nobody
	UseMalformed  Use = "malformed"
	UseIgnored    Use = "ignored"  // does not concern this name
	UseCritical   Use = "critical" // stops the name
)

// Judged is a record and what became of it.
type Judged struct {
	Record   Record `json:"record"`
	Issuer   string `json:"issuer,omitempty"`
	Priority string `json:"priority,omitempty"` // as it counts; of those offered
	Use      Use    `json:"use"`
	Reason   string `json:"reason"`
}

// Report says what was found for one name and what it means.
type Report struct {
	Subject    Subject  `json:"name"`
	Owner      string   `json:"owner,omitempty"` // where the records stand
	Authentic  bool     `json:"authentic"`
	Restricted bool     `json:"restricted"`
	Reason     string   `json:"reason"`
	Records    []Judged `json:"records,omitempty"`
}

// Authorized lists the CAs that the name's records authorise for this client,
// discovery or not, without repetition.
func (r Report) Authorized() []string {
	var all []string
	for _, j := range r.Records {
		if (j.Use == UseOffered || j.Use == UseAuthorizes) && !slices.Contains(all, j.Issuer) {
			all = append(all, j.Issuer)
		}
	}
	return all
}

// alternative is one way in which one record lets one name be certified.
type alternative struct {
	issuer     string
	kind       Kind   // AnyKind: the record does not ask for one
	account    string // "": the record is not bound to one
	methods    []string
	priority   *big.Int
	discovered bool
	place      int // in the record's list
	record     Record
}

func methodsKey(methods []string) string { return strings.Join(methods, ",") }

// grant is what one name permits.
type grant struct {
	subject      Subject
	unknown      bool                     // its set is another name's
	stopped      bool                     // nobody may issue
	free         bool                     // nothing restricts it
	blind        bool                     // its climb is not good enough for discovery
	alternatives map[string][]alternative // by issuer, the best first
	own          *big.Int                 // the best priority that it has for anyone; nil if none is for discovery
	report       Report
	properties   []Property // of the records that count and could be read
}

// candidate is a record that names a CA, before its priority is known: under
// revision 03 that takes all names' records.
type candidate struct {
	Property
	grant      int
	judged     int
	priority   *big.Int
	discovered bool
}

// grants reads all names.
func (q Question) grants() []grant {
	grants := make([]grant, len(q.Names))
	var candidates []candidate
	largest := new(big.Int)
	for i, n := range q.Names {
		var found []candidate
		grants[i], found = q.grant(n)
		for _, c := range found {
			c.grant = i
			candidates = append(candidates, c)
			if c.priority != nil && c.discovered && c.priority.Cmp(largest) > 0 {
				largest = c.priority
			}
		}
	}
	last := new(big.Int).Add(largest, big.NewInt(1))
	for _, c := range candidates {
		if c.priority == nil {
			c.priority = last
		}
		g := &grants[c.grant]
		found, why := q.alternatives(g.subject, c)
		g.alternatives[c.Issuer] = append(g.alternatives[c.Issuer], found...)
		j := &g.report.Records[c.judged]
		switch {
		case len(found) == 0:
			j.Use, j.Reason = UseUnusable, why
		case c.discovered:
			j.Priority = abridged(c.priority.String())
		}
	}
	for i := range grants {
		grants[i].settle()
	}
	return grants
}

// settle puts the alternatives into an order that does not depend on the order of the
// records in the answer, and leaves of those that come to the same the best: an
// owner may write down thousands.
func (g *grant) settle() {
	type same struct {
		kind             Kind
		account, methods string
		discovered       bool
	}
	for issuer, all := range g.alternatives {
		slices.SortFunc(all, func(a, b alternative) int {
			return cmp.Or(a.priority.Cmp(b.priority), cmp.Compare(a.place, b.place), strings.Compare(string(a.kind), string(b.kind)),
				strings.Compare(a.account, b.account), strings.Compare(methodsKey(a.methods), methodsKey(b.methods)),
				strings.Compare(a.record.Value, b.record.Value))
		})
		seen := map[same]bool{}
		g.alternatives[issuer] = slices.DeleteFunc(all, func(a alternative) bool {
			if a.discovered && (g.own == nil || a.priority.Cmp(g.own) < 0) {
				g.own = a.priority
			}
			key := same{a.kind, a.account, methodsKey(a.methods), a.discovered}
			double := seen[key]
			seen[key] = true
			return double
		})
	}
}

// grant judges the records of one name as far as that goes without the others.
func (q Question) grant(n Name) (grant, []candidate) {
	g := grant{subject: n.Subject, alternatives: map[string][]alternative{}, blind: q.RequireAuthentic && !n.Set.Authentic}
	g.report = Report{Subject: n.Subject, Owner: n.Set.Owner, Authentic: n.Set.Authentic, Restricted: true}
	c := n.Set.concerning(n.Subject)
	switch {
	case !n.Set.of(n.Subject):
		g.unknown, g.stopped, g.report.Reason = true, true, unknown(n.Subject)
	case c.stop != nil:
		g.stopped, g.report.Reason = true, stopped(n.Set, *c.stop)
	case c.tag == "":
		g.free, g.report.Restricted, g.report.Reason = true, false, n.Set.free(n.Subject)
	default:
		g.report.Reason = fmt.Sprintf("the %s records at %s say who may issue", c.tag, n.Set.Owner)
	}
	if g.blind {
		g.report.Reason += "; not every answer was validated by DNSSEC, so nothing is discovered from them"
	}
	var found []candidate
	for _, r := range c.readings {
		j, cand := q.judge(r, g.blind)
		if cand.Issuer != "" && !g.stopped {
			cand.judged = len(g.report.Records)
			found = append(found, cand)
		}
		if r.malformed == nil {
			g.properties = append(g.properties, r.Property)
		}
		g.report.Records = append(g.report.Records, j)
	}
	for _, r := range c.rest {
		j := Judged{Record: r.Record, Use: UseIgnored, Reason: "it does not concern this name"}
		if !r.Known() && r.Record.Critical() {
			j.Use, j.Reason = UseCritical, "it is critical and unknown"
		} else if !r.Known() {
			j.Reason = "its tag is unknown and not critical"
		}
		g.report.Records = append(g.report.Records, j)
	}
	return g, found
}

// judge looks at one record of the tag that counts. The candidate has an issuer
// only if the record authorises somebody.
func (q Question) judge(r reading, blind bool) (Judged, candidate) {
	j := Judged{Record: r.Record, Issuer: r.Issuer}
	switch {
	case r.malformed != nil:
		j.Use, j.Reason = UseMalformed, r.malformed.Error()
		return j, candidate{}
	case r.Issuer == "":
		j.Use, j.Reason = UseNobody, "it names no CA"
		return j, candidate{}
	}
	c := candidate{Property: r.Property}
	j.Use = UseAuthorizes
	ok, why := r.discoverable(!q.DiscoveryOnRequest)
	n, wrong := r.rank(q.Rules)
	switch {
	case !ok:
		j.Reason = "not for discovery: " + why
	case wrong != "":
		j.Reason = "not for discovery: " + wrong
	case !hostName(r.Issuer):
		j.Reason = "not for discovery: " + abridged(r.Issuer) + " cannot be a host's name"
	case blind:
		j.Reason = "not for discovery: not every answer of the climb was validated by DNSSEC"
	default:
		j.Use, j.Reason = UseOffered, "it authorises "+abridged(r.Issuer)
		c.priority, c.discovered = n, true
	}
	return j, c
}

// hostName tells whether an issuer can be the host of a directory's URL. The
// grammar lets labels of any length through, and addresses.
func hostName(issuer string) bool {
	if len(issuer) > 253 {
		return false
	}
	label := ""
	for label = range strings.SplitSeq(issuer, ".") {
		if len(label) > 63 {
			return false
		}
	}
	numeric := strings.Trim(strings.TrimPrefix(label, "0x"), "0123456789") == "" ||
		strings.HasPrefix(label, "0x") && strings.Trim(label[2:], "0123456789abcdef") == ""
	return !numeric
}

// alternatives gives the ways in which this client can satisfy a record, or why
// there is none (RFC 8657; auto-discovery §8.1.1 for kinds).
func (q Question) alternatives(s Subject, c candidate) ([]alternative, string) {
	a := alternative{issuer: c.Issuer, priority: c.priority, discovered: c.discovered, record: c.Record}
	if uri, bound := c.AccountURI(); bound {
		if uri == "" || !slices.Contains(q.Client.Accounts(c.Issuer), uri) {
			return nil, "its accounturi is none of the accounts that this client has there"
		}
		a.account = uri
	}
	able := q.Client.Methods(s)
	labels, bound := c.Methods()
	if !bound {
		a.methods = able
		return []alternative{a}, ""
	}
	var all []alternative
	a.methods = slices.DeleteFunc(slices.Clone(able), func(m string) bool { return !slices.Contains(labels, m) })
	if len(a.methods) > 0 {
		a.place = slices.IndexFunc(labels, func(l string) bool { return slices.Contains(a.methods, l) })
		all = append(all, a)
	}
	for i, l := range labels {
		if k := Kind(l); slices.Contains(kinds, k) && q.Client.Kinds(c.Issuer, k) {
			a.kind, a.place, a.methods = k, i, able
			all = append(all, a)
		}
	}
	return all, "its validationmethods (" + abridged(strings.Join(labels, ", ")) + ") name nothing that this client can do there"
}
