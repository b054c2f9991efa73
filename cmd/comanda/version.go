package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"comanda.internal/domain/order"
)

// versionCmd prints versions.
type versionCmd struct{}

// Run prints the module's version, the machine's, and what the binary is made of.
func (*versionCmd) Run(io *stdio) error {
	version, revision := buildVersion()
	_, err := fmt.Fprintf(io.out, "comanda %s%s, machine version %d, %s %s/%s\n",
		version, revision, order.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// buildVersion is the module's version, and a blank and the revision that it was
// built from, if known.
func buildVersion() (version, revision string) {
	version = "devel"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version, ""
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		version = v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = " " + s.Value
		}
	}
	return version, revision
}
