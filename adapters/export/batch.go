package export

// batchRows are handed on at a time, and batches are how many there are: one is filled
// while another is encoded.
const (
	batchRows = 512
	batches   = 2
)

// batch has rows encoded, so many at a time, in a goroutine of its own, in which the
// file is also ended: encoding takes as long as to make the rows. It is used by one
// goroutine, which ends or abandons it.
type batch[T row] struct {
	rows []T // being filled
	full chan []T
	free chan encoded[T]
	done chan struct{}
	err  error // once done is closed

	ended     bool
	abandoned bool // once full is closed
}

// encoded are rows that may be filled again, and what went wrong with those before.
type encoded[T row] struct {
	rows []T
	err  error
}

// newBatch hands rows to write, and when there are no more calls finish.
func newBatch[T row](write func([]T) error, finish func() error) *batch[T] {
	b := &batch[T]{full: make(chan []T), free: make(chan encoded[T], batches), done: make(chan struct{})}
	for range batches {
		b.free <- encoded[T]{}
	}
	go b.run(write, finish)
	return b
}

func (b *batch[T]) run(write func([]T) error, finish func() error) {
	defer close(b.done)
	for rows := range b.full {
		if b.err == nil {
			b.err = write(rows)
		}
		clear(rows) // what they point to is free
		b.free <- encoded[T]{rows[:0], b.err}
	}
	if b.err == nil && !b.abandoned {
		b.err = finish()
	}
}

// add takes a copy of r. Its error may be of rows before.
func (b *batch[T]) add(r *T) error {
	if b.rows == nil {
		next := <-b.free
		if next.err != nil {
			return next.err
		}
		if b.rows = next.rows; b.rows == nil {
			b.rows = make([]T, 0, batchRows)
		}
	}
	if b.rows = append(b.rows, *r); len(b.rows) == batchRows {
		b.full <- b.rows
		b.rows = nil
	}
	return nil
}

// end says that there are no more rows, and does not wait.
func (b *batch[T]) end() {
	if b.ended {
		return
	}
	if len(b.rows) > 0 {
		b.full <- b.rows
	}
	b.ended, b.rows = true, nil
	close(b.full)
}

// wait waits, after end, until all is encoded.
func (b *batch[T]) wait() error {
	<-b.done
	return b.err
}

// abandon stops a batch that was not ended, and waits.
func (b *batch[T]) abandon() {
	if !b.ended {
		b.ended, b.abandoned = true, true
		close(b.full)
	}
	<-b.done
}
