package export

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// partialDir is where files are until they are whole.
const partialDir = ".partial"

// partialOf is that of table's files. What was opened stays below its table, even when
// the export is killed: who deletes the table has deleted it, and [Check] finds it.
func partialOf(dir, table string) string {
	if isRevealed(table) {
		return filepath.Join(dir, table, partialDir)
	}
	return filepath.Join(dir, partialDir, table)
}

// partialFile is where f is until it is whole.
func partialFile(dir string, f *File) string {
	inTable, _ := strings.CutPrefix(f.Path, f.Table+"/")
	return filepath.Join(partialOf(dir, f.Table), filepath.FromSlash(inTable))
}

// removePartial removes what an export that ended early left of files that are not whole.
func removePartial(dir string) error {
	errs := []error{os.RemoveAll(filepath.Join(dir, partialDir))}
	for _, table := range []string{TablePersonal, TableCustomers} {
		errs = append(errs, os.RemoveAll(partialOf(dir, table)))
	}
	return errors.Join(errs...)
}

const (
	// openParts are the files that one table has open at a time: recorded times of
	// a partition hardly go back, but instances' clocks differ around midnight.
	openParts = 4
	partBytes = 1 << 18 // of a file's buffer
	// endingParts are the files that one table has that get no more rows and are not ended.
	endingParts = 1
)

// sink takes a table's rows, in their order, and keeps none of the pointers.
type sink[T row] interface{ add(r *T) error }

// parts writes rows into a file for each day, and another when the day comes again
// after so many others that its file was closed.
type parts[T row] struct {
	dir, table, format string
	name               string // begins the names of the files

	open   []*part[T] // the one that was used last is the last
	ending []*part[T]
	made   map[string]int
	done   []File

	// day is that of the last row, whose recorded time was in the same 24 hours.
	day      string
	midnight int64 // in seconds of Unix time
}

var _ sink[Event] = (*parts[Event])(nil)

func newParts[T row](dir, table, format, name string) *parts[T] {
	return &parts[T]{dir: dir, table: table, format: format, name: name, made: map[string]int{}}
}

func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

const daySeconds = 24 * 60 * 60

// dayOf is [dayOf], which is asked of every row.
func (p *parts[T]) dayOf(t time.Time) string {
	if s := t.Unix() - p.midnight; p.day == "" || s < 0 || s >= daySeconds {
		p.day = dayOf(t)
		p.midnight = t.UTC().Truncate(daySeconds * time.Second).Unix()
	}
	return p.day
}

func (p *parts[T]) add(r *T) error {
	day := p.dayOf((*r).recorded())
	if n := len(p.open); n == 0 || p.open[n-1].day != day {
		if err := p.turnTo(day); err != nil {
			return err
		}
	}
	return p.open[len(p.open)-1].add(r)
}

// turnTo makes the day's file the last of those that are open.
func (p *parts[T]) turnTo(day string) error {
	for i, f := range p.open {
		if f.day == day {
			p.open = append(append(p.open[:i:i], p.open[i+1:]...), f)
			return nil
		}
	}
	if len(p.open) == openParts {
		if err := p.endOne(); err != nil {
			return err
		}
	}
	name := fmt.Sprintf("%s-%d.%s", p.name, p.made[day], p.format)
	p.made[day]++
	f, err := newPart[T](p.dir, p.table, p.format, day, name)
	if err != nil {
		return err
	}
	p.open = append(p.open, f)
	return nil
}

// endOne ends the file that was not used for longest, beside what follows.
func (p *parts[T]) endOne() error {
	f := p.open[0]
	p.open = p.open[1:]
	f.end()
	p.ending = append(p.ending, f)
	return p.ended(endingParts)
}

// ended waits until no more than so many files are still ending.
func (p *parts[T]) ended(left int) error {
	for len(p.ending) > left {
		f := p.ending[0]
		if err := f.wait(); err != nil {
			return fmt.Errorf("write %s: %w", f.file.Path, err)
		}
		p.ending, p.done = p.ending[1:], append(p.done, f.file)
	}
	return nil
}

// finish ends the files that are open, and lists all.
func (p *parts[T]) finish() ([]File, error) {
	for len(p.open) > 0 {
		if err := p.endOne(); err != nil {
			return nil, err
		}
	}
	if err := p.ended(0); err != nil {
		return nil, err
	}
	return p.done, nil
}

// abandon closes what is open, of files that nobody wants any more.
func (p *parts[T]) abandon() {
	for _, f := range slices.Concat(p.open, p.ending) {
		f.abandon()
		_ = f.out.Close() // closed already, when it was ended
	}
	p.open, p.ending = nil, nil
}

// part is one file that is being written.
type part[T row] struct {
	day  string
	file File

	out  *os.File
	buf  *bufio.Writer
	hash hash.Hash
	enc  encoder[T]
	*batch[T]
}

func newPart[T row](dir, table, format, day, name string) (*part[T], error) {
	p := &part[T]{day: day, hash: sha256.New(), file: File{Table: table, Path: path.Join(table, "recorded_day="+day, name)}}
	at := partialFile(dir, &p.file)
	err := os.MkdirAll(filepath.Dir(at), 0o750)
	if err == nil {
		p.out, err = os.OpenFile(at, os.O_RDWR|os.O_CREATE|os.O_TRUNC, modeOf(table)) //nolint:gosec // below the directory that the caller names
	}
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file
	}
	p.buf = bufio.NewWriterSize(io.MultiWriter(p.out, p.hash), partBytes)
	if p.enc, err = newEncoder[T](format, p.buf); err != nil {
		return nil, errors.Join(err, p.out.Close())
	}
	p.batch = newBatch(p.enc.write, p.finish)
	return p, nil
}

// modeOf has personal data read by its owner alone.
func modeOf(table string) os.FileMode {
	if isRevealed(table) {
		return 0o600
	}
	return 0o666 // before umask
}

func (p *part[T]) add(r *T) error {
	at := (*r).recorded()
	if p.file.Rows == 0 || at.Before(p.file.First) {
		p.file.First = at
	}
	if p.file.Rows == 0 || at.After(p.file.Last) {
		p.file.Last = at
	}
	p.file.Rows++
	return p.batch.add(r)
}

// finish ends the file; [publish] makes it durable.
func (p *part[T]) finish() (err error) {
	defer func() {
		if closing := p.out.Close(); err == nil {
			err = closing
		}
	}()
	if err := p.enc.close(); err != nil {
		return err
	}
	if err := p.buf.Flush(); err != nil {
		return err //nolint:wrapcheck // the caller names the file
	}
	info, err := p.out.Stat()
	if err != nil {
		return err //nolint:wrapcheck // the caller names the file
	}
	p.file.Bytes, p.file.SHA256 = info.Size(), hex.EncodeToString(p.hash.Sum(nil))
	return nil
}

// publish gives the files their names, durably: nobody sees one that is not whole.
func publish(dir string, files []File) error {
	var syncing errgroup.Group // one commit of the file system's journal is for many
	syncing.SetLimit(syncsAtOnce)
	for i := range files {
		syncing.Go(func() error { return syncPath(partialFile(dir, &files[i])) })
	}
	if err := syncing.Wait(); err != nil {
		return err //nolint:wrapcheck // names the file
	}
	dirs := map[string]struct{}{dir: {}}
	for i := range files {
		to := filepath.Join(dir, filepath.FromSlash(files[i].Path))
		if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
			return err //nolint:wrapcheck // names the directory
		}
		if err := os.Rename(partialFile(dir, &files[i]), to); err != nil {
			return err //nolint:wrapcheck // names the files
		}
		dirs[filepath.Dir(to)], dirs[filepath.Dir(filepath.Dir(to))] = struct{}{}, struct{}{}
	}
	for d := range dirs {
		syncing.Go(func() error { return syncPath(d) })
	}
	return syncing.Wait() //nolint:wrapcheck // names the directory
}

const syncsAtOnce = 8

// syncPath makes a file's bytes, or a directory's names, durable.
func syncPath(path string) error {
	f, err := os.Open(path) //nolint:gosec // below the directory that the caller names
	if err != nil {
		return err //nolint:wrapcheck // names it
	}
	return errors.Join(f.Sync(), f.Close())
}
