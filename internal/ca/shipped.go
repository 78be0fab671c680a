package ca

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed profiles/*.toml
var shipped embed.FS

// Shipped gives the profiles that come with chancery, by name. A deployment's
// own profile of the same name replaces one.
func Shipped() map[string]*Profile {
	files, err := shipped.ReadDir("profiles")
	if err != nil {
		panic(err) // the binary is broken
	}
	all := make(map[string]*Profile, len(files))
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), ".toml")
		p, err := ParseProfile(name, ShippedText(name))
		if err != nil {
			panic(fmt.Sprintf("a shipped profile is broken: %v", err)) // a test reads them all
		}
		all[name] = p
	}
	return all
}

// ShippedText gives the file of a shipped profile, nil when there is none.
func ShippedText(name string) []byte {
	text, err := shipped.ReadFile("profiles/" + name + ".toml")
	if err != nil {
		return nil
	}
	return text
}
