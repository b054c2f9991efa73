package proof_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// storiesPerPlatform keeps the simulation to a few seconds under the race detector.
const storiesPerPlatform = 400

// post is one delivery of a message.
type post struct {
	message  message
	received int
}

// tally counts the deliveries whose end contradicts what really happened.
type tally struct {
	deliveries, ours, lastArrival, onePerToken int
	// Of these, how many show a paid order as if nobody had paid. Ours is in ours.
	unpaidLastArrival, unpaidByToken int
}

// TestTrueHistories tells stories of what really happened to the money, delivers
// what platforms would say of them in time, out of order and repeatedly, with
// operators at work, and finds none whose end contradicts the story. The two
// naive machines beside it do go wrong.
func TestTrueHistories(t *testing.T) {
	for i, p := range platforms {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(20260509, uint64(i))) // a seed, so that every run is the same
			var n tally
			for range storiesPerPlatform {
				s := tell(r, p)
				for _, posts := range deliveries(r, s) {
					end := n.count(t, order.Default(), s, posts)
					if s.contradicts(end) && n.ours <= 3 {
						t.Errorf("%s\nends %s, delivered as %v", s, end, received(posts))
					}
				}
			}
			t.Logf("%d deliveries; ends that contradict the truth: ours %d, last arrival wins %d, one event per token %d",
				n.deliveries, n.ours, n.lastArrival, n.onePerToken)
			t.Logf("paid orders shown unpaid: last arrival wins %d, one event per token %d", n.unpaidLastArrival, n.unpaidByToken)
			if n.ours > 0 || n.lastArrival == 0 || n.onePerToken == 0 || n.unpaidLastArrival == 0 || n.unpaidByToken == 0 {
				t.Error("want none of ours, and both baselines to go wrong")
			}
		})
	}
}

// TestTrueHistoriesNotice is the simulation's own proof: machines with one cell
// wrong must be caught contradicting the truth.
func TestTrueHistoriesNotice(t *testing.T) {
	for _, wrong := range []mutant{
		{domain.StatusPending, domain.KindApproved, "."},
		{domain.StatusRefused, domain.KindApproved, "!"},
		{domain.StatusCancelled, domain.KindApproved, "."},
		{domain.StatusApproved, domain.KindRefused, "refused"},
		{domain.StatusApproved, domain.KindPending, "pending"},
		{domain.StatusApproved, domain.KindExpired, "cancelled"},
		{domain.StatusApproved, domain.KindChargeback, "."},
		{domain.StatusApproved, domain.KindRefunded, "."},
		{domain.StatusRefunded, domain.KindChargeback, "."},
		{domain.StatusChargeback, domain.KindRefunded, "refunded"},
		{domain.StatusChargeback, domain.KindChargebackReversed, "."},
		{domain.StatusChargeback, domain.KindChargebackReversed, "approved"},
	} {
		t.Run(wrong.status.String()+"/"+wrong.kind.String()+"/"+string(wrong.code), func(t *testing.T) {
			t.Parallel()
			m, err := order.New(order.DefaultTable().With(wrong.status, wrong.kind, wrong.code))
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(20260509, 0)) // a seed, so that every run is the same
			var n tally
			for range 20 * storiesPerPlatform { // enough for the rarest; most are caught in the first few
				for _, p := range platforms {
					s := tell(r, p)
					n.count(t, m, s, deliveries(r, s)[0])
				}
				if n.ours > 0 {
					return
				}
			}
			t.Errorf("%d deliveries, and nothing was noticed", n.deliveries)
		})
	}
}

// deliveries are ways in which a story's messages arrive: as sent; delayed, so
// that they overtake each other; and, when they are few, every order of them
// after everything has happened. In all, some come twice.
func deliveries(r *rand.Rand, s *story) [][]post {
	messages := s.platform.messages(s)
	var ways [][]post
	for _, delay := range []int{1, 200, 3000} {
		var posts []post
		for _, m := range messages {
			for range 1 + r.IntN(5)/4 {
				posts = append(posts, post{m, m.sent + r.IntN(delay)})
			}
		}
		slices.SortStableFunc(posts, func(a, b post) int { return a.received - b.received })
		ways = append(ways, posts)
	}
	if len(messages) <= 4 {
		permute(messages, func(order []message) {
			var posts []post
			for i, m := range order {
				posts = append(posts, post{m, s.now + 10*i})
			}
			ways = append(ways, append(posts, posts[r.IntN(len(posts))]))
		})
	}
	return ways
}

// permute calls visit with every order of list.
func permute[T any](list []T, visit func([]T)) {
	var walk func(done, left []T)
	walk = func(done, left []T) {
		if len(left) == 0 {
			visit(done)
		}
		for i := range left {
			walk(append(slices.Clone(done), left[i]), append(slices.Clone(left[:i]), left[i+1:]...))
		}
	}
	walk(nil, list)
}

// count delivers one way to m and the two naive machines, and returns m's end.
func (n *tally) count(t *testing.T, m *order.Machine, s *story, posts []post) domain.Status {
	t.Helper()
	n.deliveries++
	desk := operator{machine: m, now: clock}
	end, last, token := desk.work(t, posts), lastArrival(posts), onePerToken(posts)
	n.ours += one(s.contradicts(end))
	n.lastArrival += one(s.contradicts(last))
	n.onePerToken += one(s.contradicts(token))
	if s.kept() > 0 {
		n.unpaidLastArrival += one(showsUnpaid(last))
		n.unpaidByToken += one(showsUnpaid(token))
	}
	return end
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// showsUnpaid reports whether whoever reads status would think that nothing was paid.
func showsUnpaid(status domain.Status) bool {
	switch status {
	case domain.StatusApproved, domain.StatusRefunded, domain.StatusChargeback:
		return false
	default:
		return true
	}
}

// lastArrival is a status column that every webhook overwrites.
func lastArrival(posts []post) domain.Status { return naive(posts[len(posts)-1].message) }

// onePerToken is the documents' PHP sample, which marks a token as processed:
// whatever comes after the first message is "already processed".
func onePerToken(posts []post) domain.Status { return naive(posts[0].message) }

// naive is what a message says of the order, taken alone.
func naive(m message) domain.Status {
	return cellOf(domain.StatusNone, m.facts[len(m.facts)-1].Kind).to
}

// received is the minutes of receipt and what came in then.
func received(posts []post) []string {
	var out []string
	for _, p := range posts {
		out = append(out, minute(p.received).Format("02 15:04 ")+p.message.facts[len(p.message.facts)-1].Key)
	}
	return out
}

// operator sits before the machine: sees each message decided and says their word.
type operator struct {
	machine *order.Machine
	history *order.History
	now     time.Time
	todo    []arrival // words to say, as soon as they are legal
	heard   []domain.EventID
}

// work is the status after all posts and all words.
func (o *operator) work(t *testing.T, posts []post) domain.Status {
	t.Helper()
	for _, p := range posts {
		var id domain.EventID
		for _, f := range p.message.facts {
			a := arrival{fact: f, received: minute(p.received)}
			if err := o.decide(a); err != nil {
				t.Fatalf("decide %v: %v", a, err)
			}
			id = eventID(a)
		}
		if !slices.Contains(o.heard, id) {
			o.heard = append(o.heard, id)
			o.plan(p.message.word, id)
		}
		o.speak()
	}
	for range o.todo {
		o.speak()
	}
	return o.machine.Fold(o.history).Status
}

func (o *operator) decide(a arrival) error {
	d, err := o.machine.Decide(o.history, a.fact, metaOf(a, o.now))
	if err == nil {
		o.history = d.History
		o.now = o.now.Add(time.Minute)
	}
	return err
}

// plan writes down what is to be said of an event.
func (o *operator) plan(word domain.ResolutionAction, id domain.EventID) {
	switch word {
	case domain.ActionReopen:
		o.todo = append(
			o.todo, resolve(domain.ActionReject, id, "doubt/"+string(id)), resolve(domain.ActionReopen, id, "believe/"+string(id)),
		)
	case domain.ActionAccept, domain.ActionReject:
		o.todo = append(o.todo, resolve(word, id, "word/"+string(id)))
	default:
	}
}

// speak says the first word that is legal now. A word that never is, as an
// accept of what the machine believed by itself, is never said.
func (o *operator) speak() {
	for i, a := range o.todo {
		if o.decide(a) == nil {
			o.todo = slices.Delete(slices.Clone(o.todo), i, i+1)
			return
		}
	}
}
