package export

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"comanda.internal/domain"
)

// Directory writes the tables that c names below dir, which is new or empty, or
// holds an export of the same: one that was interrupted goes on where it was, and
// one that is complete goes on to the log's end. The error's kind is Unavailable while another
// export writes there.
func Directory(ctx context.Context, dir string, c Config) (_ *Manifest, err error) {
	if c.SegmentEvents == 0 {
		c.SegmentEvents = segmentEvents
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	taken, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, taken.Close()) }()
	x := &directory{dir: dir, cfg: &c}
	if x.manifest, err = x.begin(); err != nil {
		return nil, err
	}
	m := x.manifest
	if m.Complete {
		return m, x.revealAgain(ctx)
	}
	defer func() { err = errors.Join(err, removePartial(dir)) }()
	x.told = told{tell: c.Progress}
	ofLog, folded := slices.ContainsFunc(c.Tables, isOfLog), slices.ContainsFunc(c.Tables, isFolded) && !m.Folded
	if ofLog {
		for p := range m.Through.Partitions() {
			x.told.total += m.Through.At(p) - min(m.reached(p), m.Through.At(p))
		}
	}
	if folded {
		x.told.total += events(domain.Position{}, m.Through)
	}
	if err := x.reveal(ctx); err != nil {
		return nil, err
	}
	if ofLog {
		err = x.segments(ctx)
	}
	if err == nil && folded {
		err = x.fold(ctx)
	}
	if err != nil {
		return nil, err
	}
	m.Complete = true
	return m, m.save(dir)
}

// reveal notes in the manifest who opens what follows, once that is recorded.
func (x *directory) reveal(ctx context.Context) error {
	done, err := x.cfg.reveal(ctx, x.manifest.Through, x.told.total)
	if err != nil || done == nil {
		return err
	}
	x.manifest.Revealed = append(x.manifest.Revealed, *done)
	return x.manifest.save(x.dir)
}

// revealAgain notes another reason for personal data that is there already. None is opened.
func (x *directory) revealAgain(ctx context.Context) error {
	r := x.cfg.Reveal
	if r == nil || slices.ContainsFunc(x.manifest.Revealed, func(done Revealed) bool { return done.Reason == r.Reason }) {
		return nil
	}
	return x.reveal(ctx)
}

// directory is an export into one.
type directory struct {
	dir      string
	cfg      *Config
	manifest *Manifest
	told     told
}

// begin finds the manifest, or makes it.
func (x *directory) begin() (*Manifest, error) {
	c := x.cfg
	m := &Manifest{
		Version: manifestVersion, Log: c.Identity, Epoch: c.Epoch, Format: c.Format, SegmentEvents: c.SegmentEvents,
		MachineVersion: c.Machine.Version(), Tables: c.Tables, Filter: c.Filter, After: c.After, Through: c.end(),
		Segments: []Segment{}, Files: []File{},
	}
	have, err := ReadManifest(x.dir)
	if domain.KindOf(err) == domain.NotFound {
		if err := vacant(x.dir); err != nil {
			return nil, err
		}
		return m, m.save(x.dir)
	}
	if err != nil {
		return nil, err
	}
	if err := removePartial(x.dir); err != nil { // whether or not this one may go on
		return nil, err //nolint:wrapcheck // names the file
	}
	if have.Log != m.Log || have.Epoch != m.Epoch {
		return nil, domain.Errorf(domain.Refused, "%s holds an export of %s, epoch %d, not of %s, epoch %d", x.dir, have.Log, have.Epoch, m.Log, m.Epoch)
	}
	if have.Format != m.Format || have.SegmentEvents != m.SegmentEvents || !slices.Equal(have.Tables, m.Tables) ||
		!reflect.DeepEqual(have.Filter, m.Filter) || !have.After.Equal(m.After) {
		return nil, domain.Errorf(domain.Refused, "%s holds another export: go on with the same format, tables, filters and beginning, or name another directory", x.dir)
	}
	return x.goOn(have, m)
}

// goOn makes of an export that is there the beginning of one up to m.Through.
func (x *directory) goOn(have, m *Manifest) (*Manifest, error) {
	if have.Complete && have.Through.Equal(m.Through) && have.MachineVersion == m.MachineVersion {
		return have, nil
	}
	if !have.Complete && !x.cfg.Through.IsZero() && !have.Through.Equal(x.cfg.Through) {
		return nil, domain.Errorf(domain.Refused, "the export in %s was to end at %s: end it first", x.dir, have.Through)
	}
	if !m.Through.Covers(have.Through) {
		return nil, domain.Errorf(domain.Refused, "the export in %s goes further, up to %s", x.dir, have.Through)
	}
	if !have.Complete && have.MachineVersion == m.MachineVersion {
		return have, nil
	}
	if have.Complete {
		have.Through = m.Through
	}
	have.Complete, have.Folded, have.LeftOut, have.MachineVersion = false, false, 0, m.MachineVersion
	have.Files = slices.DeleteFunc(have.Files, func(f File) bool { return isFolded(f.Table) })
	return have, have.save(x.dir)
}

// vacant makes dir, or refuses one with anything in it.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if len(entries) > 0 {
		return domain.Errorf(domain.Exists, "%s is not empty and holds no export", dir)
	}
	if err == nil {
		return nil
	}
	return os.MkdirAll(dir, 0o750) //nolint:wrapcheck // names the directory
}

// segments writes the tables of the log, range by range.
func (x *directory) segments(ctx context.Context) error {
	m := x.manifest
	for p := range m.Through.Partitions() {
		for at := m.reached(p); at < m.Through.At(p); {
			s := Segment{Partition: p, After: at, Through: min((at/m.SegmentEvents+1)*m.SegmentEvents, m.Through.At(p))}
			files, err := x.segment(ctx, s)
			if err == nil {
				m.Segments, m.Files = append(m.Segments, s), append(m.Files, files...)
				err = m.save(x.dir)
			}
			if err != nil {
				return fmt.Errorf("export partition %d after %d: %w", p, at, err)
			}
			at = s.Through
		}
	}
	return nil
}

func (x *directory) segment(ctx context.Context, s Segment) ([]File, error) {
	name := fmt.Sprintf("p%03d-%012d", s.Partition, s.After)
	tables := &logTables{filter: &x.cfg.Filter, told: &x.told}
	var finish []func() ([]File, error)
	if slices.Contains(x.cfg.Tables, TableEvents) {
		p := newParts[Event](x.dir, TableEvents, x.cfg.Format, name)
		defer p.abandon()
		tables.events, finish = p, append(finish, p.finish)
	}
	if slices.Contains(x.cfg.Tables, TableTransitions) {
		p := newParts[Transition](x.dir, TableTransitions, x.cfg.Format, name)
		defer p.abandon()
		tables.transitions, finish = p, append(finish, p.finish)
	}
	if slices.Contains(x.cfg.Tables, TablePersonal) {
		p := newParts[Personal](x.dir, TablePersonal, x.cfg.Format, name)
		defer p.abandon()
		tables.personal, finish = &opener{ctx: ctx, reveal: x.cfg.Reveal, to: p}, append(finish, p.finish)
	}
	if err := x.cfg.Log.Scan(ctx, s.Partition, s.After, s.Through, tables.add); err != nil {
		return nil, err //nolint:wrapcheck // names the place
	}
	return x.publish(finish)
}

// fold writes the tables of orders' folds.
func (x *directory) fold(ctx context.Context) error {
	for _, table := range []string{TableOrders, TableIntervals, TableMovements, TableCustomers} { // of an older fold
		if err := os.RemoveAll(filepath.Join(x.dir, table)); err != nil {
			return err //nolint:wrapcheck // names the file
		}
	}
	f := &folder{cfg: x.cfg, through: x.manifest.Through, told: &x.told}
	var finish []func() ([]File, error)
	wanted := func(table string) bool { return slices.Contains(x.cfg.Tables, table) }
	if wanted(TableOrders) {
		d, err := newByDay[Order](x.dir, TableOrders, x.cfg.Format)
		if err != nil {
			return err
		}
		f.orders, finish = d, append(finish, d.finish)
	}
	if wanted(TableIntervals) {
		d, err := newByDay[Interval](x.dir, TableIntervals, x.cfg.Format)
		if err != nil {
			return err
		}
		f.intervals, finish = d, append(finish, d.finish)
	}
	if wanted(TableMovements) {
		d, err := newByDay[Movement](x.dir, TableMovements, x.cfg.Format)
		if err != nil {
			return err
		}
		f.movements, finish = d, append(finish, d.finish)
	}
	if wanted(TableCustomers) {
		d, err := newByDay[Customer](x.dir, TableCustomers, x.cfg.Format)
		if err != nil {
			return err
		}
		f.customers, finish = &customers{reveal: x.cfg.Reveal, to: d}, append(finish, d.finish)
	}
	if err := f.run(ctx, filepath.Join(x.dir, partialDir)); err != nil {
		return fmt.Errorf("export the orders: %w", err)
	}
	files, err := x.publish(finish)
	if err != nil {
		return fmt.Errorf("export the orders: %w", err)
	}
	x.manifest.Files, x.manifest.Folded, x.manifest.LeftOut = append(x.manifest.Files, files...), true, f.leftOut
	return x.manifest.save(x.dir)
}

func (x *directory) publish(finish []func() ([]File, error)) ([]File, error) {
	var files []File
	for _, f := range finish {
		of, err := f()
		if err != nil {
			return nil, err
		}
		files = append(files, of...)
	}
	return files, publish(x.dir, files)
}
