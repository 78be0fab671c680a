package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what version says.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Time    string `json:"time,omitempty"` // of the commit
	Changed bool   `json:"changed"`        // built from files that differ from the commit
	Go      string `json:"go"`
	System  string `json:"system"`
}

func (p *program) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "say which chancery this is", Args: between(0, 0, "version takes no arguments"),
		RunE: func(*cobra.Command, []string) error {
			b := thisBuild()
			return p.show(b, func(w io.Writer) {
				commit := b.Commit
				if b.Changed {
					commit += " with changes"
				}
				fmt.Fprintf(w, "chancery %s\n", b.Version)
				pairs(w, [2]string{"commit", commit}, [2]string{"of", b.Time}, [2]string{"go", b.Go}, [2]string{"system", b.System})
			})
		},
	}
}

func thisBuild() build {
	b := build{Version: "(unknown)", Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = cmp.Or(info.Main.Version, b.Version)
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Changed = s.Value == "true"
		}
	}
	return b
}
