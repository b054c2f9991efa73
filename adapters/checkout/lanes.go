package checkout

import "sync"

// lanes has jobs done, up to a number, and a number of bytes, at once: those of one lane one after the other, in the
// order in which they were handed over, and beside those of others.
type lanes struct {
	desk      *desk
	do        func(*job)
	most      int
	mostBytes int

	mu     sync.Mutex
	inHand int
	bytes  int               // of the messages in hand
	behind map[string][]*job // of each lane that is worked on: what waits in it
}

func newLanes(most, mostBytes int, do func(*job)) *lanes {
	return &lanes{desk: newDesk(most), do: do, most: most, mostBytes: mostBytes, behind: make(map[string][]*job)}
}

// hand has j done; false: too much is in hand.
func (l *lanes) hand(j *job) bool {
	lane := j.lane()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inHand == l.most || l.bytes+j.size > l.mostBytes {
		return false
	}
	queue, busy := l.behind[lane]
	if busy {
		l.behind[lane] = append(queue, j)
	} else if !l.desk.take(func() { l.work(lane, j) }) { // a worker that is done may not be gone yet
		return false
	} else {
		l.behind[lane] = nil
	}
	l.inHand++
	l.bytes += j.size
	return true
}

// work does j and what comes behind it.
func (l *lanes) work(lane string, j *job) {
	for j != nil {
		l.do(j)
		j = l.next(lane, j)
	}
}

// next is the lane's next job after done; nil: it has none.
func (l *lanes) next(lane string, done *job) *job {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inHand--
	l.bytes -= done.size
	queue := l.behind[lane]
	if len(queue) == 0 {
		delete(l.behind, lane)
		return nil
	}
	l.behind[lane] = queue[1:]
	return queue[0]
}

// close waits until all is done. Nothing may be handed over any more.
func (l *lanes) close() { l.desk.close() }
