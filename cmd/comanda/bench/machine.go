package bench

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// Machine is where a run was made. What the system does not tell is "" or 0.
type Machine struct {
	Cores       int    `json:"cores"`   // that Go may use
	Threads     int    `json:"threads"` // that run Go code at the same time; in a serve, too
	CPU         string `json:"cpu"`
	MemoryBytes uint64 `json:"memory_bytes"`
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	Kernel      string `json:"kernel"`
	FileSystem  string `json:"file_system"` // of the data, as "ext4"
}

// ThisMachine is the one that this process runs on, with its data in dir.
func ThisMachine(dir string) Machine {
	// What cannot be read is not known.
	memory, _, _ := strings.Cut(field("/proc/meminfo", "MemTotal"), " ")
	kilobytes, _ := strconv.ParseUint(memory, 10, 64)
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	threads := runtime.GOMAXPROCS(0) // fewer than the cores are a quota
	return Machine{
		Cores: min(threads, runtime.NumCPU()), Threads: threads, CPU: field("/proc/cpuinfo", "model name"), MemoryBytes: kilobytes << 10,
		OS: runtime.GOOS, Arch: runtime.GOARCH, Kernel: strings.TrimSpace(string(kernel)), FileSystem: fileSystem(dir),
	}
}

// field is the value of the first line of a file in /proc that begins with name.
func field(path, name string) string {
	text, err := os.ReadFile(path) //nolint:gosec // one of two files
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// fileSystem is the type of the mount that dir is on (proc_pid_mountinfo(5): the
// fifth field is where, the one after the dash what).
func fileSystem(dir string) string {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	if whole, err := filepath.EvalSymlinks(dir); err == nil {
		dir = whole
	}
	longest, kind := -1, ""
	for line := range strings.Lines(string(mounts)) {
		before, after, ok := strings.Cut(line, " - ")
		fields, source := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(source) < 1 {
			continue
		}
		at := fields[4]
		if below := strings.TrimSuffix(at, "/") + "/"; strings.HasPrefix(dir+"/", below) && len(at) >= longest {
			longest, kind = len(at), source[0]
		}
	}
	return kind
}

// modules are those whose versions a report tells, by their name there.
var modules = map[string]string{
	"github.com/nats-io/nats-server/v2": "nats_server",
	"github.com/nats-io/nats.go":        "nats_go",
	"go.etcd.io/bbolt":                  "bbolt",
}

// Versions are Comanda's, Go's, and those of the modules that matter to speed.
func Versions(comanda string) map[string]string {
	versions := map[string]string{"comanda": comanda, "go": runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	for _, m := range info.Deps {
		if name, ok := modules[m.Path]; ok {
			versions[name] = m.Version
		}
	}
	return versions
}
