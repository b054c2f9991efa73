package export

import (
	"context"
	"io"

	"comanda.internal/domain"
)

// Stream writes the rows of the one table that c names to w, by order id when it is
// folded; scratch is a directory for what is spilled meanwhile. It answers how many.
func Stream(ctx context.Context, w io.Writer, scratch string, c Config) (rows int64, err error) {
	if err := c.Validate(); err != nil {
		return 0, err
	}
	if len(c.Tables) != 1 {
		return 0, domain.Errorf(domain.Invalid, "one file holds one table, not %d", len(c.Tables))
	}
	if _, err := c.reveal(ctx, c.end(), events(c.After, c.end())); err != nil {
		return 0, err
	}
	switch c.Tables[0] {
	case TableEvents:
		return streamOf(w, &c, func(s sink[Event]) error { return streamLog(ctx, &c, &logTables{filter: &c.Filter, events: s}) })
	case TableTransitions:
		return streamOf(w, &c, func(s sink[Transition]) error {
			return streamLog(ctx, &c, &logTables{filter: &c.Filter, transitions: s})
		})
	case TablePersonal:
		return streamOf(w, &c, func(s sink[Personal]) error {
			return streamLog(ctx, &c, &logTables{filter: &c.Filter, personal: &opener{ctx: ctx, reveal: c.Reveal, to: s}})
		})
	case TableCustomers:
		return streamOf(w, &c, func(s sink[Customer]) error {
			return streamFold(ctx, &c, scratch, &folder{customers: &customers{reveal: c.Reveal, to: s}})
		})
	case TableOrders:
		return streamOf(w, &c, func(s sink[Order]) error { return streamFold(ctx, &c, scratch, &folder{orders: s}) })
	case TableIntervals:
		return streamOf(w, &c, func(s sink[Interval]) error { return streamFold(ctx, &c, scratch, &folder{intervals: s}) })
	default:
		return streamOf(w, &c, func(s sink[Movement]) error { return streamFold(ctx, &c, scratch, &folder{movements: s}) })
	}
}

// counted is a sink of one file.
type counted[T row] struct {
	*batch[T]

	count int64
}

func (c *counted[T]) add(r *T) error {
	c.count++
	return c.batch.add(r)
}

func streamOf[T row](w io.Writer, c *Config, read func(sink[T]) error) (int64, error) {
	enc, err := newEncoder[T](c.Format, w)
	if err != nil {
		return 0, err
	}
	out := &counted[T]{batch: newBatch(enc.write, enc.close)}
	defer out.abandon()
	if err := read(out); err != nil {
		return 0, err
	}
	out.end()
	return out.count, out.wait()
}

func streamLog(ctx context.Context, c *Config, t *logTables) error {
	through := c.end()
	t.told = &told{tell: c.Progress, total: events(c.After, through)}
	for p := range through.Partitions() {
		if err := c.Log.Scan(ctx, p, c.After.At(p), through.At(p), t.add); err != nil {
			return err //nolint:wrapcheck // names the place
		}
	}
	return nil
}

func streamFold(ctx context.Context, c *Config, scratch string, f *folder) error {
	f.cfg, f.through = c, c.end()
	f.told = &told{tell: c.Progress, total: events(domain.Position{}, f.through)}
	return f.run(ctx, scratch)
}

// events are how many lie between two positions.
func events(after, through domain.Position) (n uint64) {
	for p := range through.Partitions() {
		n += through.At(p) - min(after.At(p), through.At(p))
	}
	return n
}
