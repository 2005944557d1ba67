// Package meter reads what a process and all its children cost, and sums up
// series of measurements.
package meter

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is USER_HZ, which Linux fixes at 100 for user space on every
// architecture that Debian ships.
const ticksPerSecond = 100

// Usage is what a tree of processes has used.
type Usage struct {
	// CPU is user and system time of the processes alive and of the dead
	// ones that their parents have waited for.
	CPU time.Duration
	// ByName is the same, by command name.
	ByName map[string]time.Duration
	// PSS is proportional resident memory in bytes.
	PSS int64
	// Processes is how many are alive.
	Processes int
}

// Tree sums over the process pid and all its descendants.
func Tree(pid int) (Usage, error) {
	all, err := processes()
	if err != nil {
		return Usage{}, err
	}
	if _, ok := all[pid]; !ok {
		return Usage{}, fmt.Errorf("read process %d: it is not running", pid)
	}
	u := Usage{ByName: map[string]time.Duration{}}
	for id, p := range all {
		if !descends(all, id, pid) {
			continue
		}
		u.CPU += p.cpu + p.waited
		u.ByName[p.name] += p.cpu + p.waited
		u.PSS += pss(id)
		u.Processes++
	}
	return u, nil
}

type process struct {
	name        string
	parent      int
	cpu, waited time.Duration
}

func processes() (map[int]process, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	all := make(map[int]process, len(paths))
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		pid, p, err := parseStat(string(b))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		all[pid] = p
	}
	return all, nil
}

// parseStat reads a line of /proc/PID/stat (proc(5)). The command name stands
// in brackets and may itself hold brackets and blanks.
func parseStat(line string) (int, process, error) {
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return 0, process{}, fmt.Errorf("no command name in %q", line)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line[:open]))
	if err != nil {
		return 0, process{}, fmt.Errorf("parse pid: %w", err)
	}
	rest := strings.Fields(line[end+1:])
	if len(rest) < 15 {
		return 0, process{}, fmt.Errorf("%d fields behind the name", len(rest))
	}
	var n [5]int64
	for i, at := range []int{1, 11, 12, 13, 14} { // ppid utime stime cutime cstime
		if n[i], err = strconv.ParseInt(rest[at], 10, 64); err != nil {
			return 0, process{}, fmt.Errorf("parse field %d: %w", at, err)
		}
	}
	ticks := func(v int64) time.Duration { return time.Duration(v) * time.Second / ticksPerSecond }
	return pid, process{name: line[open+1 : end], parent: int(n[0]), cpu: ticks(n[1] + n[2]), waited: ticks(n[3] + n[4])}, nil
}

func descends(all map[int]process, id, root int) bool {
	for range 64 { // a longer chain of parents is a race with reused ids
		if id == root {
			return true
		}
		p, ok := all[id]
		if !ok || p.parent <= 1 {
			return false
		}
		id = p.parent
	}
	return false
}

func pss(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		if rest, ok := strings.CutPrefix(sc.Text(), "Pss:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// Percentiles are a series' 50th, 95th and 99th percentile in milliseconds,
// by the nearest-rank method, and the number of values they rest on.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	N   int     `json:"n"`
}

// Summarise sorts the series and reads its percentiles. An empty series gives
// zeros with N 0.
func Summarise(series []time.Duration) Percentiles {
	if len(series) == 0 {
		return Percentiles{}
	}
	s := slices.Sorted(slices.Values(series))
	rank := func(p int) float64 {
		i := (len(s)*p+99)/100 - 1
		return float64(s[max(i, 0)].Microseconds()) / 1000
	}
	return Percentiles{P50: rank(50), P95: rank(95), P99: rank(99), N: len(s)}
}
