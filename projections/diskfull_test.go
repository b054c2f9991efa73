package projections_test

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"comanda.internal/projections"
	"comanda.internal/projections/projectiontest"
)

// fullDisk lets no file of this process grow beyond limit until the returned
// function is called: the kernel answers EFBIG where a full disk answers ENOSPC.
func fullDisk(t *testing.T, limit uint64) (restore func()) {
	t.Helper()
	var before syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before))
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: before.Max}))
	restored := false
	restore = func() {
		if restored {
			return
		}
		restored = true
		must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before))
	}
	t.Cleanup(restore)
	return restore
}

// ofItsOwn is set in the environment of a process that runs one test.
const ofItsOwn = "COMANDA_TEST_PROCESS"

// inAProcessOfItsOwn runs the test in another process: a limit on this one's files is
// one on the record of what tests read, too, which go test keeps unless it is told
// not to (testing/testing.go, testlogfile).
func inAProcessOfItsOwn(t *testing.T) {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), ofItsOwn+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestAFullDiskFailsTheBuildAndKeepsTheViews(t *testing.T) {
	if os.Getenv(ofItsOwn) == "" {
		inAProcessOfItsOwn(t)
		return
	}
	s, path := projectiontest.NewScript(2), viewsPath(t)
	s.Fill(t, 7, 200, 2000)
	f := projectiontest.Start(t, path, s, views, projections.Config{})
	<-f.Runner.Ready()
	restore := fullDisk(t, 256<<10)
	number, err := f.Runner.Rebuild(false)
	must(t, err)
	ended(t, f.Runner, number, projections.Failed)
	exists(t, path+".next", false)
	exists(t, path+".next.building", false)
	exists(t, path+".previous", false)
	s.Fill(t, 8, 200, 500) // is seen, and not on disk yet
	f.Wait()

	restore()
	number, err = f.Runner.Rebuild(false)
	must(t, err)
	ended(t, f.Runner, number, projections.Promoted)
	f.Wait()
	if !bytes.Equal(f.Dump(), build(t, viewsPath(t), s)) {
		t.Error("the views hold other bytes")
	}
}
