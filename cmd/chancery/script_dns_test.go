package main

import (
	"os"
	"sync"

	"chancery/internal/dnstest"

	"github.com/rogpeppe/go-internal/testscript"
)

// nameServers are those of the scripts, by address.
var nameServers sync.Map

// startDNS starts a DNS server for the script and puts its address into a variable: dns NAME
func startDNS(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "dns NAME")
	server, err := dnstest.Start("127.0.0.1:0")
	ts.Check(err)
	ts.Defer(server.Close)
	nameServers.Store(server.Addr(), server)
	ts.Setenv(args[0], server.Addr())
}

// setRecord adds a record, or with "none" takes all of that type away: record ADDRESS NAME TYPE VALUE
func setRecord(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 4, "record ADDRESS NAME TYPE {VALUE | none}")
	server, ok := nameServers.Load(args[0])
	need(ts, false, ok, "record ADDRESS NAME TYPE VALUE, with the address that dns gave")
	if args[3] == "none" {
		ts.Check(server.(*dnstest.Server).Set(args[1], args[2]))
		return
	}
	ts.Check(server.(*dnstest.Server).Add(args[1], args[2], args[3]))
}

// substitute writes a file with the variables in it filled in: envsubst FROM TO
func substitute(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "envsubst FROM TO")
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), 0o600))
}

// appendFile adds one file to another: append TO FROM
func appendFile(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "append TO FROM")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(ts.ReadFile(args[0])+ts.ReadFile(args[1])), 0o600))
}
