package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of CPU times in /proc: USER_HZ, which Linux has fixed at 100
// on every architecture that Go runs on.
const tick = time.Second / 100

// stat is what /proc/PID/stat tells of one process.
type stat struct {
	pid, parent int
	own, reaped time.Duration // user and system time; of children that ended
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(pid, text)
}

func parseStat(pid int, text []byte) (stat, error) {
	// The second field is a name in parentheses that may hold anything.
	end := bytes.LastIndexByte(text, ')')
	fields := strings.Fields(string(text[end+1:]))
	if end < 0 || len(fields) < 15 {
		return stat{}, fmt.Errorf("/proc/%d/stat: not understood", pid)
	}
	var n [15]int
	for _, i := range []int{1, 11, 12, 13, 14} { // ppid, utime, stime, cutime, cstime
		var err error
		if n[i], err = strconv.Atoi(fields[i]); err != nil {
			return stat{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
	}
	return stat{pid: pid, parent: n[1], own: time.Duration(n[11]+n[12]) * tick, reaped: time.Duration(n[13]+n[14]) * tick}, nil
}

// usage is what a process and all below it have used.
type usage struct {
	cpu time.Duration
	rss int64 // most bytes resident at any time, summed over the processes alive now
}

// measureTree adds up a process and its descendants.
func measureTree(root int) (usage, error) {
	first, err := readStat(root)
	if err != nil {
		return usage{}, err
	}
	paths, _ := filepath.Glob("/proc/[0-9]*") // the pattern is good
	children := map[int][]stat{}
	for _, path := range paths {
		pid, _ := strconv.Atoi(filepath.Base(path))
		if s, err := readStat(pid); err == nil { // it may have ended since
			children[s.parent] = append(children[s.parent], s)
		}
	}
	var sum usage
	for queue := []stat{first}; len(queue) > 0; {
		s := queue[0]
		queue = append(queue[1:], children[s.pid]...)
		sum.cpu += s.own + s.reaped
		sum.rss += peak(s.pid)
	}
	return sum, nil
}

// peak is VmHWM in bytes; 0 if the process is gone.
func peak(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// ownCPU is what this process has used: client, DNS and web server.
func ownCPU() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
