package caa

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The oracle makes the same choice from the definition: it goes through every way
// to pick one record for each name, and knows nothing of pools, shapes or walks.

// pick is one record for one name, used in one way.
type pick struct {
	issuer, kind, account, methods string
	priority                       int64
}

// asked is a question whose client the oracle can look into.
type asked struct {
	Question
	methods  []string
	accounts map[string][]string
	kinds    []string
}

// picks lists what a name permits by discovery; free if nothing restricts it.
func (a asked) picks(n Name) (all []pick, largest int64, free bool) {
	tags := map[string]bool{}
	for _, r := range n.Set.Records {
		tags[strings.ToLower(r.Tag)] = true
		if r.Critical() && strings.ToLower(r.Tag) == "tbs" {
			return nil, 0, false
		}
	}
	tag := "issue"
	if strings.HasPrefix(n.Subject.Name, "*.") && tags["issuewild"] {
		tag = "issuewild"
	}
	if !tags[tag] {
		return nil, 0, true
	}
	for _, r := range n.Set.Records {
		p, err := Parse(r)
		if strings.ToLower(r.Tag) != tag || err != nil || p.Issuer == "" {
			continue
		}
		if n, ok := a.number(p); ok { // seen, be the record of use to the client or not
			largest = max(largest, n)
		}
		all = append(all, a.ways(p)...)
	}
	return all, largest, false
}

// single gives the value of a parameter that may stand there once.
func single(p Property, tag string) (value string, count int) {
	for _, q := range p.Parameters {
		if q.Tag == tag {
			value, count = q.Value, count+1
		}
	}
	return value, count
}

func (a asked) ways(p Property) (all []pick) {
	w := pick{issuer: p.Issuer}
	ok := false
	if w.priority, ok = a.number(p); !ok {
		return nil
	}
	if v, n := single(p, "accounturi"); n > 1 || n == 1 && !slices.Contains(a.accounts[p.Issuer], v) {
		return nil
	} else if n == 1 {
		w.account = v
	}
	v, n := single(p, "validationmethods")
	if n > 1 {
		return nil
	}
	w.methods = strings.Join(a.methods, ",")
	if n == 0 {
		return []pick{w}
	}
	var able []string
	for _, m := range a.methods {
		if slices.Contains(strings.Split(v, ","), m) {
			able = append(able, m)
		}
	}
	if len(able) > 0 {
		x := w
		x.methods = strings.Join(able, ",")
		all = append(all, x)
	}
	for l := range strings.SplitSeq(v, ",") {
		if slices.Contains(a.kinds, l) {
			x := w
			x.kind = l
			all = append(all, x)
		}
	}
	return all
}

// number gives the priority of a record that is for discovery, -1 for "last".
func (a asked) number(p Property) (n int64, ok bool) {
	if v, n := single(p, "discovery"); n > 1 || n == 1 && v != "true" || n == 0 && a.DiscoveryOnRequest {
		return 0, false
	}
	v, count := single(p, "priority")
	switch {
	case count > 1 || count == 1 && (v == "" || strings.Trim(v, "0123456789") != ""):
		return 0, false
	case count == 0 && a.Rules == Revision03:
		return -1, true
	case count == 1:
		fmt.Sscan(v, &n)
	}
	return n, n > 0 || a.Rules == Seed
}

// way is one pick for each name that restricts, and what it comes to.
type way struct {
	issuer, kind, account string
	methods               string // of the single name, if there is one
	worse                 int
	sum                   int64
}

// every gives all ways.
func (a asked) every() []way {
	var names [][]pick
	largest := int64(0)
	for _, n := range a.Names {
		picks, number, free := a.picks(n)
		if free {
			continue
		}
		largest = max(largest, number)
		names = append(names, picks)
	}
	if len(names) == 0 {
		return nil
	}
	for _, picks := range names {
		for i := range picks {
			if picks[i].priority < 0 {
				picks[i].priority = largest + 1
			}
		}
	}
	var all []way
	var next func(i int, w way)
	next = func(i int, w way) {
		if i == len(names) {
			if w.account == "" && len(a.accounts[w.issuer]) > 0 {
				w.account = a.accounts[w.issuer][0]
			}
			all = append(all, w)
			return
		}
		own := int64(1 << 62)
		for _, p := range names[i] {
			own = min(own, p.priority)
		}
		for _, p := range names[i] {
			x := w
			if w.issuer != "" && p.issuer != w.issuer || w.kind != "" && p.kind != "" && p.kind != w.kind || w.account != "" && p.account != "" && p.account != w.account {
				continue
			}
			x.issuer, x.sum = p.issuer, w.sum+p.priority
			if p.kind != "" {
				x.kind = p.kind
			}
			if p.account != "" {
				x.account = p.account
			}
			if p.priority > own {
				x.worse++
			}
			if len(a.Names) == 1 {
				x.methods = p.methods
			}
			next(i+1, x)
		}
	}
	next(0, way{})
	return all
}

var everyAccount = []string{"u1", "u2", "u3"}

// random makes a question that is small enough for the oracle and has everything.
func random(t *testing.T, r *rand.Rand) asked {
	some := func(all ...string) string { return all[r.IntN(len(all))] }
	a := asked{methods: []string{"http-01", "dns-01"}[r.IntN(2):], accounts: map[string][]string{}}
	for i := range 3 {
		a.accounts[fmt.Sprintf("ca%d.example", i)] = everyAccount[:r.IntN(3)]
	}
	a.kinds = []string{"ca-ev", "ca-dv"}[r.IntN(3)%2:]
	for i := range 1 + r.IntN(4) {
		var lines []string
		for range r.IntN(8) {
			value := fmt.Sprintf("ca%d.example", r.IntN(6)*r.IntN(2)%3)
			for _, p := range []string{
				some("", "", "; priority=0", "; priority=1", "; priority=2", "; priority=5", "; priority=x", "; priority=1; priority=2"),
				some("", "", "", "", "", "", "", "; discovery=true", "; discovery=false", "; discovery=perhaps"),
				some("", "", "", "", "", "; accounturi=u1", "; accounturi=u2", "; accounturi=u3", "; accounturi=u1; accounturi=u1"),
				some("", "", "", "; validationmethods=dns-01", "; validationmethods=http-01,dns-01", "; validationmethods=ca-ev", "; validationmethods=ca-dv,http-01", "; validationmethods="),
			} {
				value += p
			}
			lines = append(lines, some("0 issue", "0 issue", "0 issue", "0 ISSUE", "0 issuewild", "128 issue")+" "+some(value, value, value, value, value, value, value, ";", "%%"))
		}
		if r.IntN(12) == 0 {
			lines = append(lines, some("0 iodef mailto:x", "0 tbs x", "128 tbs x", "1 tbs x"))
		}
		a.Names = append(a.Names, found(t, some("", "", "*.")+fmt.Sprintf("n%d.test", i), lines...))
	}
	a.Rules = []Rules{Seed, Revision03}[r.IntN(2)]
	a.DiscoveryOnRequest = r.IntN(8) == 0
	a.Client = Client{
		Methods:  func(Subject) []string { return a.methods },
		Accounts: func(issuer string) []string { return a.accounts[issuer] },
		Kinds:    func(_ string, k Kind) bool { return slices.Contains(a.kinds, string(k)) },
	}
	return a
}

func (a asked) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "rules %s, on request %t, methods %v, accounts %v, kinds %v", a.Rules, a.DiscoveryOnRequest, a.methods, a.accounts, a.kinds)
	for _, n := range a.Names {
		fmt.Fprintf(&b, "\n  %s:", n.Subject)
		for _, r := range n.Set.Records {
			fmt.Fprintf(&b, "\n    %s", r)
		}
	}
	return b.String()
}

// TestChoiceAgainstOracle: for thousands of random questions, the plan's offers are
// authorised, in order, the first is the best there is, and nothing possible is
// missing.
func TestChoiceAgainstOracle(t *testing.T) {
	planned, several := 0, 0
	for n := range uint64(3000) {
		a := random(t, rand.New(seeded(n)))
		a.Random = seeded(n)
		p, err := Choose(a.Question)
		ways := a.every()
		if (err == nil) != (len(ways) > 0) {
			t.Fatalf("question %d: %v, but there are %d ways\n%s", n, err, len(ways), a.text())
		}
		if err != nil {
			continue
		}
		planned++
		if restricting := slices.DeleteFunc(slices.Clone(p.Offers[0].Terms), func(t Term) bool { return t.Free }); len(restricting) > 1 {
			several++
		}
		if why := a.wrong(p, ways); why != "" {
			t.Fatalf("question %d: %s\ngot %s\n%s", n, why, brief(p), a.text())
		}
	}
	t.Logf("%d questions had a plan, %d of them for several names that restrict", planned, several)
	if planned < 400 || several < 100 {
		t.Errorf("only %d questions had a plan, %d for several names: the generator is no good", planned, several)
	}
}

// wrong says what is wrong with a plan.
func (a asked) wrong(p Plan, ways []way) string {
	for i, o := range p.Offers {
		if why := a.unauthorized(o); why != "" {
			return why
		}
		worse, sum := o.count()
		if worse != o.cost.worse || sum.Cmp(o.cost.sum) != 0 {
			return fmt.Sprintf("offer %d costs %d, %d by its terms, and says %d, %d", i, worse, sum, o.cost.worse, o.cost.sum)
		}
		if !slices.ContainsFunc(ways, o.goes) {
			return fmt.Sprintf("offer %d is no way of the oracle's", i)
		}
		if i > 0 {
			before := p.Offers[i-1]
			if c := before.cost.compare(o.cost); c > 0 || (c == 0) != (before.Tier == o.Tier) {
				return fmt.Sprintf("offer %d stands behind a worse one, or in the wrong tier", i)
			}
		}
	}
	for _, w := range ways {
		c := cost{w.worse, big.NewInt(w.sum)}
		if c.compare(p.Offers[0].cost) < 0 {
			return fmt.Sprintf("%+v is better than the first", w)
		}
		if !slices.ContainsFunc(p.Offers, func(o Offer) bool {
			return o.Issuer == w.issuer && string(o.Kind) == w.kind && o.Account == w.account && o.cost.compare(c) <= 0 &&
				(len(a.Names) > 1 || methodsKey(o.Terms[0].Methods) == w.methods)
		}) {
			return fmt.Sprintf("%+v is missing", w)
		}
	}
	return ""
}

// goes tells whether an offer is that way.
func (o Offer) goes(w way) bool {
	return o.Issuer == w.issuer && string(o.Kind) == w.kind && o.Account == w.account && o.cost.worse == w.worse && o.cost.sum.Cmp(big.NewInt(w.sum)) == 0
}

// count adds an offer's terms up.
func (o Offer) count() (worse int, sum *big.Int) {
	sum = new(big.Int)
	for _, t := range o.Terms {
		if t.Worse {
			worse++
		}
		if n, ok := new(big.Int).SetString(t.Priority, 10); ok {
			sum.Add(sum, n)
		}
	}
	return worse, sum
}

// unauthorized asks the CA's side of this package about each name, with each of
// the methods that the offer permits there.
func (a asked) unauthorized(o Offer) string {
	for i, term := range o.Terms {
		for _, m := range term.Methods {
			q := Request{Issuers: []string{o.Issuer}, Subject: a.Names[i].Subject, Methods: []string{m}}
			if o.Account != "" {
				q.Accounts = []string{o.Account}
			}
			if o.Kind != AnyKind {
				q.Methods = append(q.Methods, string(o.Kind))
			}
			if d := Authorize(a.Names[i].Set, q); !d.Allowed {
				return fmt.Sprintf("%s by %s is not authorised: %s", o.Issuer, m, d.Reason)
			}
		}
	}
	return ""
}

// TestChoiceIsDeterministic: under one seed the plan does not depend on the order of
// the records in an answer, and under any seed the tiers are the same.
func TestChoiceIsDeterministic(t *testing.T) {
	for n := range uint64(500) {
		r := rand.New(seeded(n))
		a := random(t, r)
		a.Random = seeded(1)
		first, _ := Choose(a.Question)
		for i := range a.Names {
			records := a.Names[i].Set.Records
			r.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		}
		a.Random = seeded(1)
		again, _ := Choose(a.Question)
		a.Random = seeded(2)
		other, _ := Choose(a.Question)
		if !reflect.DeepEqual(identities(first), identities(again)) {
			t.Fatalf("question %d: %s, then %s\n%s", n, brief(first), brief(again), a.text())
		}
		if brief(first) != brief(other) {
			t.Fatalf("question %d: chance moved more than equals: %s, then %s\n%s", n, brief(first), brief(other), a.text())
		}
	}
}

func identities(p Plan) (all []string) {
	for _, o := range p.Offers {
		all = append(all, o.identity())
	}
	return all
}

// TestSplitAgainstOracle: the sets of names are the fewest, each can have a
// certificate, and together they are all the names that can.
func TestSplitAgainstOracle(t *testing.T) {
	split := 0
	for n := range uint64(1200) {
		a := random(t, rand.New(seeded(n)))
		a.Defaults = []Default{{Label: "any", Issuers: []string{"ca0.example"}}}
		_, err := Choose(a.Question)
		none, ok := err.(*ChoiceError)
		if !ok {
			continue
		}
		possible := func(set []Subject) bool {
			b := a.Question
			b.Names = slices.DeleteFunc(slices.Clone(a.Names), func(n Name) bool { return !slices.Contains(set, n.Subject) })
			_, err := Choose(b)
			return err == nil
		}
		var able []Subject
		for _, name := range a.Names {
			if possible([]Subject{name.Subject}) == slices.Contains(none.Never, name.Subject) {
				t.Fatalf("question %d: %s is in the wrong list\n%s", n, name.Subject, a.text())
			}
			if !slices.Contains(none.Never, name.Subject) {
				able = append(able, name.Subject)
			}
		}
		var all []Subject
		for _, set := range none.Together {
			all = append(all, set...)
			if !possible(set) {
				t.Fatalf("question %d: %v cannot go together\n%s", n, set, a.text())
			}
		}
		if len(all) != len(able) || fewestSets(able, possible) != len(none.Together) {
			t.Fatalf("question %d: %v for %v, where %d sets would do\n%s", n, none.Together, able, fewestSets(able, possible), a.text())
		}
		if len(none.Together) > 1 {
			split++
		}
	}
	if split < 30 {
		t.Errorf("only %d questions had to be split: the generator is no good", split)
	}
}

// fewestSets tries every partition.
func fewestSets(names []Subject, possible func([]Subject) bool) int {
	if len(names) == 0 {
		return 0
	}
	best := len(names)
	for bits := range 1 << (len(names) - 1) {
		set, rest := []Subject{names[0]}, []Subject{}
		for i, n := range names[1:] {
			if bits>>i&1 == 1 {
				set = append(set, n)
			} else {
				rest = append(rest, n)
			}
		}
		if possible(set) {
			best = min(best, 1+fewestSets(rest, possible))
		}
	}
	return best
}
