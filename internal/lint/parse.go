package lint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	zlintlint "github.com/zmap/zlint/v3/lint"

	"chancery/internal/spelling"
)

// UnknownError says that a name is neither a source nor a lint.
type UnknownError struct {
	Name    string
	Nearest string // the known name that is spelled most alike
}

// Error suggests what may have been meant.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("there is no lint or source of lints called %q; did you mean %q?", e.Name, e.Nearest)
}

// sources says what each name that stands for many lints means. A lint is of
// one source, so the order does not matter.
var sources = map[string][]string{
	"rfc": {
		string(zlintlint.RFC3279), string(zlintlint.RFC5280), string(zlintlint.RFC5480), string(zlintlint.RFC5891),
		string(zlintlint.RFC6960), string(zlintlint.RFC6962), string(zlintlint.RFC8813), ownSource,
	},
	"rfc3279": {string(zlintlint.RFC3279)},
	"rfc5280": {string(zlintlint.RFC5280)},
	"rfc5480": {string(zlintlint.RFC5480)},
	"rfc5891": {string(zlintlint.RFC5891)},
	"rfc6960": {string(zlintlint.RFC6960)},
	"rfc6962": {string(zlintlint.RFC6962)},
	"rfc8813": {string(zlintlint.RFC8813)},
	"public-web": {
		string(zlintlint.CABFBaselineRequirements), string(zlintlint.CABFEVGuidelines),
		string(zlintlint.MozillaRootStorePolicy), string(zlintlint.AppleRootStorePolicy),
	},
	"cabf_br":       {string(zlintlint.CABFBaselineRequirements)},
	"cabf_cs_br":    {string(zlintlint.CABFCSBaselineRequirements)},
	"cabf_smime_br": {string(zlintlint.CABFSMIMEBaselineRequirements)},
	"cabf_ev":       {string(zlintlint.CABFEVGuidelines)},
	"mozilla":       {string(zlintlint.MozillaRootStorePolicy)},
	"apple":         {string(zlintlint.AppleRootStorePolicy)},
	"community":     {string(zlintlint.Community)},
	"etsi":          {string(zlintlint.EtsiEsi)},
	"chancery":      {ownSource},
}

// catalogue is every lint there is, by its name and sorted by it.
type catalogue struct {
	byName map[string]*rule
	sorted []*rule
}

// known is built at the first use: reading zlint's registry takes its locks.
var known = sync.OnceValue(func() catalogue {
	c := catalogue{byName: map[string]*rule{}, sorted: append(zlintRules(), ownRules()...)}
	slices.SortFunc(c.sorted, func(a, b *rule) int { return cmp.Compare(a.name, b.name) })
	for _, r := range c.sorted {
		c.byName[r.name] = r
	}
	return c
})

// cache holds the sets made so far: profiles ask for few different ones.
var cache = struct {
	sync.Mutex
	sets map[string]*Set
}{sets: map[string]*Set{}}

// cacheSize bounds the cache, in case somebody makes up lists.
const cacheSize = 256

// Parse gives the lints that a profile's list selects. Each name is
//
//   - a source in any case: "rfc" (RFC 5280, 3279, 5480, 5891, 6960, 6962 and
//     8813 as far as they fit a private CA, and our own rules), "public-web"
//     (CA/Browser Forum, Mozilla, Apple), or one of "rfc5280", "cabf_br",
//     "cabf_ev", "cabf_cs_br", "cabf_smime_br", "mozilla", "apple", "etsi",
//     "community", "chancery" and so on;
//   - the name of one lint;
//   - either with "-" in front, which takes it away again, wherever it stands.
//
// An empty list selects nothing. An unknown name is an [*UnknownError]; a list
// that only takes away is an error too, as it is not clear from what.
func Parse(names []string) (*Set, error) {
	key := fmt.Sprintf("%q", names)
	cache.Lock()
	defer cache.Unlock()
	if s := cache.sets[key]; s != nil {
		return s, nil
	}
	chosen, err := choose(names)
	if err != nil {
		return nil, err
	}
	s := &Set{}
	for _, r := range known().sorted {
		switch {
		case !chosen[r]:
		case r.certificate != nil:
			s.certificate = append(s.certificate, r)
		case r.crl != nil:
			s.crl = append(s.crl, r)
		default:
			s.ocsp = append(s.ocsp, r)
		}
	}
	if len(cache.sets) < cacheSize {
		cache.sets[key] = s
	}
	return s, nil
}

// choose says which rules the names select.
func choose(names []string) (map[*rule]bool, error) {
	with, without := map[*rule]bool{}, map[*rule]bool{}
	adds := len(names) == 0
	for _, name := range names {
		into := with
		bare, minus := strings.CutPrefix(name, "-")
		if minus {
			into = without
		} else {
			adds = true
		}
		rules, err := find(bare)
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			into[r] = true
		}
	}
	if !adds {
		return nil, fmt.Errorf("the list of lints %q only takes away; put what to take it from in front, for example \"rfc\"", names)
	}
	for r := range without {
		delete(with, r)
	}
	return with, nil
}

// find gives the rules that one name stands for.
func find(name string) ([]*rule, error) {
	if r := known().byName[name]; r != nil {
		return []*rule{r}, nil
	}
	source := strings.ToLower(name)
	of, found := sources[source]
	if !found {
		return nil, &UnknownError{Name: name, Nearest: nearest(name)}
	}
	var rules []*rule
	for _, r := range known().sorted {
		if slices.Contains(of, r.source) && !(source == "rfc" && unfit[r.name] != "") {
			rules = append(rules, r)
		}
	}
	return rules, nil
}

// nearest gives the known name with the smallest edit distance.
func nearest(name string) string {
	best, distance := "", 1<<30
	consider := func(candidate string) {
		d := spelling.Edits(strings.ToLower(name), candidate)
		if d < distance || d == distance && candidate < best {
			best, distance = candidate, d
		}
	}
	for source := range sources {
		consider(source)
	}
	for _, r := range known().sorted {
		consider(r.name)
	}
	return best
}
