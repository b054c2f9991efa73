package eventstore

import (
	"errors"
	"fmt"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode/blocks"
	"comanda.internal/eventstore/stream"
)

// holes reports sequences that did not come: those that the server says it lost,
// and those that it still counts.
func (v *verification) holes(p int, holes ranges) error {
	if len(holes) == 0 {
		return nil
	}
	deleted, err := deletedRanges(v.ctx, v.log.js, p)
	if err != nil {
		return err
	}
	for _, h := range holes {
		for from := h[0]; from <= h[1]; {
			missing, to := deleted.run(from, h[1])
			if missing {
				v.lost(p, RuleHole, from, to, "missing")
			} else {
				v.lost(p, RuleUnreadable, from, to, "counted by the server and cannot be read: the file of the block is damaged")
			}
			from = to + 1
		}
	}
	return nil
}

// files reports messages from the sequence from on that the server's files do not hold as they
// were written, beside holes: it has read them from its memory, and will lose them with that.
// Behind a length that is wrong nothing can be told of a block.
func (v *verification) files(p int, from, head uint64, holes ranges) error {
	var room []byte
	take := func(size int) []byte {
		room = slices.Grow(room[:0], size)[:size]
		return room
	}
	for from <= head {
		r, err := blocks.Open(v.log.cfg.Files(OrdersStream(p)), OrdersStream(p), from-1)
		for err == nil && from <= head {
			if _, err = r.Next(take); err == nil {
				from++
			}
		}
		if r != nil {
			err = errors.Join(err, r.Close())
		}
		if domain.KindOf(err) != domain.Corrupt || r == nil {
			return v.ctx.Err() // what is on its way to the files is not damaged
		}
		if in, _ := holes.run(from, from); !in {
			if err := v.inMemory(p, from); err != nil {
				return err
			}
		}
		from++
	}
	return nil
}

// inMemory reports a message that the server has in memory, and no longer in its files.
func (v *verification) inMemory(p int, sequence uint64) error {
	m, err := v.log.readers[p].At(v.ctx, sequence)
	if err != nil && !errors.Is(err, stream.ErrNotFound) {
		return storeError(fmt.Sprintf("read %d of %s again", sequence, OrdersStream(p)), err)
	}
	v.problem(Problem{
		Rule: RuleUnreadable, Partition: p, Sequence: sequence, Through: sequence, OrderID: orderOf(m.Subject),
		Detail: "the file of its block is damaged: the server answers from memory, and loses it when it ends; back up the log before",
	})
	return nil
}

func (v *verification) lost(p int, rule Rule, from, to uint64, how string) {
	v.problem(Problem{Rule: rule, Partition: p, Sequence: from, Through: to, Detail: fmt.Sprintf("%d to %d are %s", from, to, how)})
}
