// Command chancery is a certification authority with an ACME server: the
// server itself, and the administrators' commands that talk to a running one.
//
// It parses what was typed, calls the daemon or an operation of a running
// server, and shows the answer, to people aligned and to programs as JSON. It
// must not decide anything: what can be done is offered by the rooms.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}
