package acme

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
)

func linksOf(t *testing.T, field string) []string {
	base, err := url.Parse("https://ca.example/orders")
	if err != nil {
		t.Fatal(err)
	}
	return (&response{url: base, header: http.Header{"Link": {field}}}).links("next")
}

func TestLinks(t *testing.T) {
	for field, want := range map[string][]string{
		`<?page=2>;rel="next"`:                                {"https://ca.example/orders?page=2"},
		`<https://x.example/a,b>; rel=next, </dir>;rel=index`: {"https://x.example/a,b"},
		`</dir>;rel="index",<b>;rel="prev NEXT"`:              {"https://ca.example/b"},
		`<b>; title="x, <c>; rel=next"; rel=other`:            nil,
		`<b>; title="\\"; rel=next`:                           {"https://ca.example/b"},
		`<b>; rel=other; rel=next`:                            nil,
		`<b>; crossorigin; rel=next`:                          {"https://ca.example/b"},
		`<b>; rel="next`:                                      {"https://ca.example/b"},
		`<b`:                                                  nil,
		`b; rel=next`:                                         nil,
		``:                                                    nil,
	} {
		if got := linksOf(t, field); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
}

func FuzzLinks(f *testing.F) {
	f.Add(`</a>;rel="next", <b>; title="x\"y"; rel=alternate`)
	f.Add(`<a>;;;=,<`)
	f.Fuzz(func(t *testing.T, field string) {
		for _, l := range linksOf(t, field) {
			if u, err := url.Parse(l); err != nil || !u.IsAbs() {
				t.Fatalf("%q gives %q, %v", field, l, err)
			}
		}
	})
}
