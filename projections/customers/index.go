package customers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	bbolterrors "go.etcd.io/bbolt/errors"

	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/kv"
)

// Vault opens what events keep sealed.
type Vault interface {
	// Reveal is the event's personal data; the error's kind is NotFound when its key was
	// destroyed.
	Reveal(ctx context.Context, e *domain.Event) (domain.Personal, error)
	// Pepper is a secret of the tenant's.
	Pepper(tenant domain.TenantID) [sha256.Size]byte
	// Held are those of the data keys that were not destroyed.
	Held(ctx context.Context, ids []string) (map[string]bool, error)
}

// Deps is what an Index needs of the process. All but Registerer, FlushBytes and At are required.
type Deps struct {
	Log   projections.Log
	Vault Vault
	// Begin is closed when reading may begin.
	Begin  <-chan struct{}
	Logger *slog.Logger
	// Clock says when a build began.
	Clock func() time.Time
	// Registerer gets the metrics; nil: they are kept nowhere.
	Registerer prometheus.Registerer
	// FlushBytes of memory are written to the file without waiting for it. Default 16 MiB.
	FlushBytes int
	// At is called at each of [Points], of the index and of a build; nil: nothing is.
	At func(projections.Point)
}

// Index is the file, its follower and its reader. It is safe for concurrent use.
type Index struct {
	deps   Deps
	path   string
	file   atomic.Pointer[kv.DB]
	broken prometheus.Counter

	looking bool // only: nothing is changed

	ready chan struct{}
	done  chan struct{} // closed: Run has ended

	peppers sync.Map // by tenant

	writing sync.Mutex    // held by who puts entries or puts another file in the place of this one
	placing sync.Mutex    // held by who takes the file's name away, or gives it to another
	proving chan struct{} // of one, in it while a check reads the file, or another takes its place
	begin   chan *build   // of one

	mu        sync.Mutex
	builds    uint64
	building  *build                   // nil: none is
	last      *projections.BuildStatus // of the build that ended last
	marks     []mark
	newest    time.Time        // when the newest event that Run added was recorded; zero: it added none
	unchecked map[int]struct{} // partitions whose remembered event was not yet seen again
	changed   chan struct{}    // closed when marks change, then replaced
}

// version is raised whenever the same events would give other entries.
const version = 1

// The buckets. Of entries, a key is the tenant with its length, the subject id and the
// order id; its value is the id of the order's data key, "" for what is not sealed.
const (
	metaBucket    = "meta"
	entriesBucket = "entries"
)

var ofKey = []byte("of")

// mark is the last event of a partition that was read.
type mark struct {
	sequence uint64
	hash     [sha256.Size]byte
}

const markSize = 8 + sha256.Size

func markKey(partition int) []byte {
	return binary.BigEndian.AppendUint16([]byte("mark/"), uint16(partition)) //nolint:gosec // at most 256 partitions
}

// Open opens the index at path, or makes one. The error's kind is Unavailable when
// another process has the file. [Index.Run] fills it; Close closes it after.
func Open(path string, deps Deps) (*Index, error) {
	x := newIndex(path, deps)
	if deps.Registerer != nil {
		if err := deps.Registerer.Register(x.broken); err != nil {
			return nil, fmt.Errorf("register the metrics of the customer index: %w", err)
		}
	}
	if err := x.openOurs(); err != nil {
		return nil, fmt.Errorf("open the customer index %s: %w", path, err)
	}
	return x, nil
}

func newIndex(path string, deps Deps) *Index {
	if deps.FlushBytes == 0 {
		deps.FlushBytes = flushBytes
	}
	if deps.At == nil {
		deps.At = func(projections.Point) {}
	}
	return &Index{
		deps: deps, path: path, ready: make(chan struct{}), done: make(chan struct{}), changed: make(chan struct{}),
		proving: make(chan struct{}, 1), begin: make(chan *build, 1),
		broken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "comanda_customers_unopened_events_total", Help: "Events whose personal data could not be opened, and whose customer is not found by it.",
		}),
	}
}

// openOurs opens the file, or an empty one in the place of one that is of something else.
func (x *Index) openOurs() error {
	err := x.openFile()
	if err == nil && !x.isOurs() {
		x.deps.Logger.Info("customer index is of something else and is made anew", "path", x.path)
		err = x.reset()
	}
	return err
}

// db is the file that is there now.
func (x *Index) db() *kv.DB { return x.file.Load() }

// openFile opens the file, or one anew in the place of a damaged one.
func (x *Index) openFile() error {
	bolt, err := kv.OpenBolt(x.path)
	var system syscall.Errno // the file cannot be reached, whatever is in it
	if err != nil && !errors.Is(err, bbolterrors.ErrTimeout) && !errors.As(err, &system) {
		x.deps.Logger.Warn("customer index is damaged and is made anew", "path", x.path, "error", err)
		if err := os.Remove(x.path); err != nil {
			return err //nolint:wrapcheck // names the file
		}
		bolt, err = kv.OpenBolt(x.path)
	}
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return domain.Errorf(domain.Unavailable, "another process has the file: %w", err)
	case err != nil:
		return err
	}
	x.file.Store(kv.New(bolt))
	return nil
}

// of is what a file is of: version, a digest that tells peppers apart, the log.
func (x *Index) of() []byte {
	pepper := x.deps.Vault.Pepper("")
	digest := sha256.Sum256(append([]byte("which pepper"), pepper[:]...))
	of := append(binary.BigEndian.AppendUint32(nil, version), digest[:8]...)
	return append(of, x.deps.Log.Identity()...)
}

// pepper is the tenant's, which never changes.
func (x *Index) pepper(tenant domain.TenantID) [sha256.Size]byte {
	if known, ok := x.peppers.Load(tenant); ok {
		return known.([sha256.Size]byte)
	}
	pepper := x.deps.Vault.Pepper(tenant)
	x.peppers.Store(tenant, pepper)
	return pepper
}

// isOurs reads the marks; false for a file that is of something else, or new.
func (x *Index) isOurs() bool {
	ours := false
	err := x.survive(func(db *kv.DB) error {
		return db.View(func(tx *kv.Tx) error {
			ours = bytes.Equal(tx.Bucket(metaBucket).Get(ofKey), x.of())
			x.marks = marksIn(tx, x.deps.Log.Partitions())
			return nil
		})
	})
	return ours && err == nil
}

func marksIn(tx *kv.Tx, partitions int) []mark {
	marks, meta := make([]mark, partitions), tx.Bucket(metaBucket)
	for p := range marks {
		if value := meta.Get(markKey(p)); len(value) == markSize {
			marks[p] = mark{sequence: binary.BigEndian.Uint64(value), hash: [sha256.Size]byte(value[8:])}
		}
	}
	return marks
}

// errDamaged says that a page of the file is none.
var errDamaged = errors.New("the file is damaged")

// survive does what reads or writes the file, anew when another takes its place before
// that begins. A damaged page is errDamaged, and the file goes, so that the next start
// makes one anew if this one cannot.
func (x *Index) survive(do func(*kv.DB) error) error {
	for {
		db := x.db()
		err := do(db)
		switch {
		case errors.Is(err, kv.ErrDamaged):
			return x.drop(db, fmt.Errorf("%w: %w", errDamaged, err))
		case errors.Is(err, bbolterrors.ErrDatabaseNotOpen) && x.db() != db:
		default:
			return err
		}
	}
}

// drop removes the file, if it is still db's, over err.
func (x *Index) drop(db *kv.DB, err error) error {
	x.placing.Lock()
	defer x.placing.Unlock()
	if x.looking || x.db() != db {
		return err
	}
	if e := os.Remove(x.path); !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

// reset makes an empty file. Nobody may be reading it.
func (x *Index) reset() error {
	if err := x.db().Discard(); err != nil {
		return err //nolint:wrapcheck // the caller says of what
	}
	if err := os.Remove(x.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err //nolint:wrapcheck // names the file
	}
	if err := x.openFile(); err != nil {
		return err
	}
	x.mu.Lock()
	x.marks = make([]mark, x.deps.Log.Partitions())
	x.mu.Unlock()
	return x.db().Update(func(tx *kv.Tx) error { return tx.Bucket(metaBucket).Put(ofKey, x.of()) })
}

// Close writes what only memory holds and closes the file, when Run has returned.
func (x *Index) Close() error {
	if err := x.survive((*kv.DB).Close); err != nil {
		return fmt.Errorf("close the customer index %s: %w", x.path, err)
	}
	return nil
}

// Discard closes the file without what only memory holds, when Run has returned: a kill
// leaves as much.
func (x *Index) Discard() error {
	if err := x.db().Discard(); err != nil {
		return fmt.Errorf("close the customer index %s: %w", x.path, err)
	}
	return nil
}

// Dump writes everything the file holds, as [kv.DB.Dump] does. Two that have read the same
// events, of the same keys, give the same bytes.
func (x *Index) Dump(w io.Writer) error {
	if err := x.survive(func(db *kv.DB) error { return db.Dump(w) }); err != nil {
		return fmt.Errorf("dump the customer index %s: %w", x.path, err)
	}
	return nil
}

// Ready is closed when the index holds everything that was in the log when Run began
// to read.
func (x *Index) Ready() <-chan struct{} { return x.ready }

// position is what the index has read.
func (x *Index) position() (domain.Position, <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return positionOf(x.marks), x.changed
}

// mark is how far a partition was read.
func (x *Index) mark(partition int) mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.marks[partition]
}

func positionOf(marks []mark) (p domain.Position) {
	for partition, m := range marks {
		if m.sequence > 0 {
			p = p.With(partition, m.sequence)
		}
	}
	return p
}

// Status is how far the index is behind head, and a build of it.
func (x *Index) Status(head domain.Position, now time.Time) projections.Beside {
	have, _ := x.position()
	x.mu.Lock()
	newest, building, last := x.newest, x.building, x.last
	x.mu.Unlock()
	b := projections.Behind(projections.ViewStatus{Name: "customers", Version: version}, head, have, newest, now, x.path)
	if b.Build = last; building != nil {
		build := building.status()
		b.Build = &build
	}
	return b
}

// Wait blocks until the index has read up to position, or ctx ends. The error's kind is
// Unavailable before Ready.
func (x *Index) Wait(ctx context.Context, position domain.Position) error {
	if err := x.made(); err != nil {
		return err
	}
	for {
		have, changed := x.position()
		if have.Covers(position) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for the customer index to hold position %s: %w", position, ctx.Err())
		}
	}
}

// made is nil after Ready.
func (x *Index) made() error {
	if x.isReady() {
		return nil
	}
	have, _ := x.position()
	return domain.Errorf(domain.Unavailable, "the customer index is being made: it has read up to position %q", have.String())
}
