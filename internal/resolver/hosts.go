package resolver

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/miekg/dns"
)

// maxHostsFile bounds how much of a hosts file is read.
const maxHostsFile = 4 << 20

// hostsAnswer looks a canonical name up in a hosts file: IPv6 addresses first,
// as Host gives them. It gives nil if the file is missing or does not have the
// name, and the DNS is asked instead.
func hostsAnswer(file, name string) *Answer {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	v6, v4 := hostsRecords(io.LimitReader(f, maxHostsFile), name)
	if len(v6)+len(v4) == 0 {
		return nil
	}
	return &Answer{Name: name, Records: append(v6, v4...), Server: file}
}

// hostsRecords gives the lines for a name as AAAA and A records.
func hostsRecords(r io.Reader, name string) (v6, v4 []dns.RR) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) < 2 || !names(fields[1:], name) {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil || addr.Zone() != "" {
			continue
		}
		addr = addr.Unmap()
		h := dns.RR_Header{Name: name + ".", Class: dns.ClassINET}
		if addr.Is4() {
			h.Rrtype = dns.TypeA
			v4 = append(v4, &dns.A{Hdr: h, A: net.IP(addr.AsSlice())})
		} else {
			h.Rrtype = dns.TypeAAAA
			v6 = append(v6, &dns.AAAA{Hdr: h, AAAA: net.IP(addr.AsSlice())})
		}
	}
	return v6, v4
}

// names says whether one of the host names of a line is the name.
func names(fields []string, name string) bool {
	for _, f := range fields {
		if bare(f) == name {
			return true
		}
	}
	return false
}
