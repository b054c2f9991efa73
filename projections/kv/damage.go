package kv

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// ErrDamaged says that a page of the file is missing or holds something else. bbolt has
// no checksums: it notices some of that, by a panic or by reading behind the file's end.
var ErrDamaged = errors.New("the file is damaged")

// survive does what reads or writes pages; a panic over a damaged one is ErrDamaged.
// Any other goes on.
func survive(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		_, fault := r.(interface{ Addr() uintptr }) // in memory that is not there: mapped behind the file's end
		if !fault && !panickedIn("go.etcd.io/bbolt") {
			panic(r) //nolint:forbidigo // it is not ours
		}
		err = fmt.Errorf("%w: %v", ErrDamaged, r)
	}()
	return do()
}

// panickedIn reports whether the function that panicked is of a module. It is called by
// a deferred function, which runs on top of it.
func panickedIn(module string) bool {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	panicking := false
	for {
		frame, more := frames.Next()
		inRuntime := strings.HasPrefix(frame.Function, "runtime.")
		if panicking && !inRuntime {
			return strings.HasPrefix(frame.Function, module)
		}
		panicking = panicking || frame.Function == "runtime.gopanic"
		if !more {
			return false
		}
	}
}
