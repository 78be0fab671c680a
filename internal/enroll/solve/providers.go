package solve

// Providers are the libdns providers that are built in, by the name that settings use.
// None is: each service's module brings dependencies of its own. To build with one more,
// get its module and add its line here, such as
//
//	"example": func() Provider { return new(example.Provider) },
//
// See docs/solving.md.
var Providers = map[string]func() Provider{}
