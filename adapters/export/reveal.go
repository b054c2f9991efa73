package export

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"comanda.internal/domain"
)

// Vault opens what events keep sealed.
type Vault interface {
	// Reveal is the event's personal data; the zero value when it has none. The error's
	// kind is NotFound when its key was destroyed.
	Reveal(ctx context.Context, e *domain.Event) (domain.Personal, error)
}

// Reveal has the tables of personal data written. All of it is required.
type Reveal struct {
	Vault  Vault
	Reason string
	// Record stores, durably and before anything is opened, what is about to be; where it
	// fails, the export does.
	Record func(ctx context.Context, what Scope) (Revealed, error)
}

// Scope is what an export that reveals is about to read.
type Scope struct {
	Reason         string
	Tables         []string
	Format         string
	Filter         Filter
	After, Through domain.Position
	Events         uint64 // of the log: at most so many are opened
}

// Revealed is a record of personal data that was opened. An export that was interrupted,
// or went on, has one for each time.
type Revealed struct {
	Sequence uint64    `json:"audit_sequence"` // in the stream AUDIT
	AuditID  string    `json:"audit_id"`
	At       time.Time `json:"at"`
	Actor    string    `json:"actor"`
	Reason   string    `json:"reason"`
}

// isRevealed reports whether table holds personal data.
func isRevealed(table string) bool { return table == TablePersonal || table == TableCustomers }

// validateReveal holds reason and tables to one another.
func (c *Config) validateReveal() error {
	switch revealed := slices.ContainsFunc(c.Tables, isRevealed); {
	case c.Reveal == nil && revealed:
		return domain.Errorf(domain.Invalid, "tables of personal data need a reason to reveal it")
	case c.Reveal != nil && !revealed:
		return domain.Errorf(domain.Invalid, "there is a reason to reveal personal data, but no table of it is named")
	case c.Reveal != nil && strings.TrimSpace(c.Reveal.Reason) == "":
		return domain.Errorf(domain.Invalid, "the reason to reveal personal data is empty")
	}
	return nil
}

// reveal records that reading is about to begin; nil when nothing is opened.
func (c *Config) reveal(ctx context.Context, through domain.Position, toRead uint64) (*Revealed, error) {
	if c.Reveal == nil {
		return nil, nil //nolint:nilnil // nothing to record
	}
	done, err := c.Reveal.Record(ctx, Scope{
		Reason: c.Reveal.Reason, Tables: c.Tables, Format: c.Format, Filter: c.Filter, After: c.After, Through: through, Events: toRead,
	})
	if err != nil {
		return nil, fmt.Errorf("nothing was opened, for it cannot be recorded: %w", err)
	}
	return &done, nil
}

// open is the personal data of e; erased when its key was destroyed.
func (r *Reveal) open(ctx context.Context, e *domain.Event) (p domain.Personal, erased bool, err error) {
	p, err = r.Vault.Reveal(ctx, e)
	if err != nil && domain.KindOf(err) == domain.NotFound {
		return domain.Personal{}, true, nil
	}
	if err != nil {
		return domain.Personal{}, false, fmt.Errorf("open the personal data of %s: %w", e.ID, err)
	}
	return p, false, nil
}

// opener makes the rows of [TablePersonal].
type opener struct {
	ctx    context.Context //nolint:containedctx // that of the scan whose rows it is handed
	reveal *Reveal
	to     sink[Personal]
}

func (o *opener) add(r *domain.Recorded) error {
	e := &r.Event
	if len(e.SealedPersonal) == 0 {
		return nil
	}
	p, erased, err := o.reveal.open(o.ctx, e)
	if err != nil {
		return err
	}
	row := personalOf(r, &p, erased)
	return o.to.add(&row)
}

// customers gathers the sealed parts of every order beside the events, and makes the rows
// of [TableCustomers]. A nil one does nothing: they are not wanted.
type customers struct {
	reveal *Reveal
	to     sink[Customer]
	spool  *spool
	orders map[domain.OrderID][]domain.Recorded // of the bucket that was read last: only what opens them
}

// begin has dir for what is spilled.
func (c *customers) begin(dir string) (err error) {
	if c != nil {
		c.spool, err = newSpool(dir)
	}
	return err
}

// keep spills the sealed part of r's event: nothing opened comes to disk here.
func (c *customers) keep(r *domain.Recorded) error {
	e := &r.Event
	if c == nil || len(e.SealedPersonal) == 0 {
		return nil
	}
	name := bucketOf(e.OrderID)
	b := c.spool.to(name)
	_, _ = b.Write(binary.AppendUvarint(b.AvailableBuffer(), r.Sequence))
	for _, part := range []string{string(e.OrderID), string(e.ID), e.KeyID, string(e.SealedPersonal)} {
		_, _ = b.Write(binary.AppendUvarint(b.AvailableBuffer(), uint64(len(part))))
		_, _ = b.WriteString(part)
	}
	return c.spool.flushed(name, b)
}

// read takes a bucket, and removes its file.
func (c *customers) read(name string) error {
	if c == nil {
		return nil
	}
	c.orders = map[domain.OrderID][]domain.Recorded{}
	if c.spool.files[name] == nil {
		return nil // no event of the bucket has personal data
	}
	if err := c.spool.flush(name, c.spool.files[name]); err != nil {
		return err
	}
	in, err := os.ReadFile(c.spool.path(name))
	if err == nil {
		err = os.Remove(c.spool.path(name))
	}
	if err != nil {
		return err //nolint:wrapcheck // names the file
	}
	for from := bytes.NewBuffer(in); from.Len() > 0; {
		sequence, err := binary.ReadUvarint(from)
		if err != nil {
			return domain.Errorf(domain.Corrupt, "%s was cut short", c.spool.path(name))
		}
		var parts [4][]byte
		for i := range parts {
			n, err := binary.ReadUvarint(from)
			if err != nil || n > math.MaxInt32 || int(n) > from.Len() {
				return domain.Errorf(domain.Corrupt, "%s was cut short", c.spool.path(name))
			}
			parts[i] = from.Next(int(n))
		}
		id := domain.OrderID(parts[0])
		c.orders[id] = append(c.orders[id], domain.Recorded{Sequence: sequence, Event: domain.Event{
			OrderID: id, ID: domain.EventID(parts[1]), KeyID: string(parts[2]), SealedPersonal: parts[3],
		}})
	}
	return nil
}

// add writes the row of an order: of each field the value that the fact latest in
// effective time gives. An order without personal data has none, one that was erased has
// nulls. What came with an event that is not among events is left out.
func (c *customers) add(ctx context.Context, row *Order, events []domain.Recorded) error {
	if c == nil {
		return nil
	}
	parts := slices.DeleteFunc(c.orders[domain.OrderID(row.OrderID)], func(r domain.Recorded) bool {
		return !slices.ContainsFunc(events, func(e domain.Recorded) bool { return e.Sequence == r.Sequence })
	})
	if len(parts) == 0 {
		return nil
	}
	slices.SortStableFunc(parts, func(a, b domain.Recorded) int {
		x, y := eventOf(events, a.Event.ID), eventOf(events, b.Event.ID)
		return cmp.Or(x.EffectiveAt.Compare(y.EffectiveAt), cmp.Compare(x.Fact.Kind, y.Fact.Kind),
			x.ReceivedAt.Compare(y.ReceivedAt), cmp.Compare(x.ID, y.ID))
	})
	var all domain.Personal
	erased := true
	for i := range parts {
		p, gone, err := c.reveal.open(ctx, &parts[i].Event)
		if err != nil {
			return err
		}
		if !gone {
			erased = false
			merge(&all, &p)
		}
	}
	out := customerOf(row, &all, erased)
	return c.to.add(&out)
}

// merge takes from p what it says of the person.
func merge(to, p *domain.Personal) {
	to.Name, to.Email, to.Phone = cmp.Or(p.Name, to.Name), cmp.Or(p.Email, to.Email), cmp.Or(p.Phone, to.Phone)
	if p.Document != "" {
		to.Document, to.DocumentValid = p.Document, p.DocumentValid
	}
	if p.Address != nil {
		to.Address = p.Address
	}
}
