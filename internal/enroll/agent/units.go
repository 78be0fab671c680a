package agent

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"chancery/internal/plain"
)

// Units says what systemd units are for. Paths are absolute.
type Units struct {
	Binary string // the program
	Config string // client.toml; "" = the default place
	Data   string // the data directory
	// Write are further directories that certificates are installed to.
	Write []string
	// User: units of a user's own manager.
	User bool
	// Timer: a pass now and then instead of a process that stays.
	Timer bool
}

// Unit is one file.
type Unit struct{ Name, Text string }

// UnitDirectory is where administrators' system units go.
const UnitDirectory = "/etc/systemd/system"

// hardening is what the system's manager takes from the service. It keeps what installing
// a certificate and telling a server of it needs: writing for other users, low ports for
// challenges, signals.
const hardening = `# What it may write to is below; add what your commands need with: systemctl edit NAME
ProtectSystem=strict
PrivateTmp=yes
PrivateDevices=yes
ProtectHome=read-only
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
NoNewPrivileges=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_SETUID CAP_SETGID CAP_KILL
`

// hardeningOfUser is what a user's manager can take without privileges.
const hardeningOfUser = `NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
`

// Files are the units, the one to enable last. The error says that a path cannot stand in
// a unit.
func (u Units) Files() ([]Unit, error) {
	for _, path := range append([]string{u.Binary, u.Config, u.Data}, u.Write...) {
		if path != "" && (!filepath.IsAbs(path) || plain.Line(path, -1) != path || strings.ContainsAny(path, "\"\\'%$")) {
			return nil, fmt.Errorf("the path %q cannot stand in a systemd unit: use an absolute one without quotes, %%, $ or \\", path)
		}
	}
	service := Unit{"chancery-agent.service", u.service()}
	if !u.Timer {
		return []Unit{service}, nil
	}
	return []Unit{service, {"chancery-agent.timer", timer}}, nil
}

const timer = `[Unit]
Description=Renew certificates that are due
Documentation=man:systemd.timer(5)

[Timer]
OnCalendar=hourly
RandomizedDelaySec=30min
Persistent=yes

[Install]
WantedBy=timers.target
`

func (u Units) service() string {
	var b strings.Builder
	command := quoted(u.Binary) + " agent"
	if u.Timer {
		command += " --once"
	}
	if u.Config != "" {
		command += " --config " + quoted(u.Config)
	}
	command += " --data " + quoted(u.Data)
	fmt.Fprintf(&b, "[Unit]\nDescription=Certificates of this machine (chancery agent)\n")
	if !u.User {
		b.WriteString("Wants=network-online.target\nAfter=network-online.target nss-lookup.target\n")
	}
	b.WriteString("\n[Service]\n")
	if u.Timer {
		// 1 is "nothing was due", 2 "failed, but what there is is good": people are told of
		// that by the agent's own messages.
		fmt.Fprintf(&b, "Type=oneshot\nExecStart=%s\nSuccessExitStatus=1 2\nTimeoutStartSec=1h\n", command)
	} else {
		fmt.Fprintf(&b, "Type=notify\nNotifyAccess=main\nExecStart=%s\nExecReload=/bin/kill -HUP $MAINPID\nRestart=always\nRestartSec=10\nWatchdogSec=5min\nTimeoutStopSec=90\n", command)
	}
	b.WriteString("UMask=0077\n")
	if u.User {
		b.WriteString(hardeningOfUser)
	} else {
		b.WriteString(strings.ReplaceAll(hardening, "NAME", "chancery-agent.service"))
		for _, dir := range u.writable() {
			// "-": one that is not there yet is no reason not to start.
			fmt.Fprintf(&b, "ReadWritePaths=-%s\n", strings.ReplaceAll(dir, " ", `\x20`))
		}
	}
	if !u.Timer {
		target := "multi-user.target"
		if u.User {
			target = "default.target"
		}
		fmt.Fprintf(&b, "\n[Install]\nWantedBy=%s\n", target)
	}
	return b.String()
}

// writable are the directories that the service writes to.
func (u Units) writable() []string {
	dirs := append([]string{u.Data}, u.Write...)
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

func quoted(path string) string {
	if strings.Contains(path, " ") {
		return `"` + path + `"`
	}
	return path
}
