package stream

// TailBytes bounds what is remembered.
const TailBytes = tailSize * tailEach

// Remembered is how many bytes r remembers of what its process stored.
func (r *Reader) Remembered() int {
	r.tail.mu.Lock()
	defer r.tail.mu.Unlock()
	total := 0
	for i := range r.tail.held {
		total += r.tail.held[i].size()
	}
	return total
}
