package proof_test

import (
	"fmt"
	"strings"
	"time"

	"comanda.internal/domain"
)

// platform is how one kind of platform tells a story.
type platform struct {
	name      string
	ids       bool // it names payments, so an order may have two
	partial   bool // it refunds in parts
	reversals bool // it tells of won disputes
	bounces   bool // it tells of refunds that came back
	mute      bool // it tells no amounts, so it has but one payment and refunds all of it
	infers    bool // a refund's or dispute's body carries the approval and its date
	// dates says which kinds carry their own date; nil is all of them.
	dates map[domain.Kind]bool
}

// platforms are those of providers.md, and our own format with and without dates.
//
// Known limits of DESIGN section 5 are left out here: only platforms that date a
// chargeback tell of its reversal (an undated chargeback recorded late sorts
// after a dated reversal), none tells of a won dispute by a second approval
// equal to its first, and none dates a second pending of a refused charge by its
// creation.
var platforms = []*platform{
	{name: "comanda", ids: true, partial: true, reversals: true, bounces: true},
	{name: "comanda, one payment", partial: true, reversals: true, bounces: true},
	{name: "comanda, no amounts", reversals: true, bounces: true, mute: true},
	{
		name: "comanda, undated refunds and voids", ids: true, partial: true, reversals: true,
		dates: map[domain.Kind]bool{
			domain.KindStarted: true, domain.KindPending: true, domain.KindRefused: true, domain.KindExpired: true,
			domain.KindApproved: true, domain.KindRefundRequested: true, domain.KindChargeback: true, domain.KindChargebackReversed: true,
		},
	},
	{
		name: "aprovei", infers: true,
		dates: map[domain.Kind]bool{
			domain.KindStarted: true, domain.KindPending: true, domain.KindApproved: true, domain.KindRefunded: true,
			domain.KindChargeback: true,
		},
	},
	{
		name: "onprofit", infers: true,
		dates: map[domain.Kind]bool{domain.KindStarted: true, domain.KindPending: true, domain.KindApproved: true},
	},
	{
		name:  "voxuy",
		dates: map[domain.Kind]bool{domain.KindStarted: true, domain.KindPending: true},
	},
}

// message is one body: its facts, when it was sent, and what an operator will
// say of its last fact.
type message struct {
	facts []domain.Fact
	sent  int
	word  domain.ResolutionAction
}

// messages is what the platform sends of a story, in the order of sending.
func (p *platform) messages(s *story) []message {
	var out []message
	approval := map[*charge]happening{}
	for i, h := range s.happenings {
		m := message{sent: h.at, word: h.word}
		if h.kind == domain.KindApproved && h.payment != nil {
			approval[h.payment] = h
		}
		if a, ok := approval[h.payment]; ok && p.infers && (h.kind == domain.KindRefunded || h.kind == domain.KindChargeback) {
			inferred := p.fact(a, fmt.Sprintf("m%d/inferred", i))
			inferred.Inferred = true
			inferred.OccurredAt = minute(a.at)
			m.facts = append(m.facts, inferred)
		}
		m.facts = append(m.facts, p.fact(h, fmt.Sprintf("m%d", i)))
		out = append(out, m)
	}
	return out
}

// fact is how the platform tells of h.
func (p *platform) fact(h happening, key string) domain.Fact {
	f := fact(h.kind, key, h.at).fact
	if p.dates != nil && !p.dates[h.kind] {
		f.OccurredAt = time.Time{}
	}
	f.Reason, f.Amounts, f.Payment.RefundID = h.reason, h.amounts, h.refund
	if p.ids && h.payment != nil {
		f.Payment.PaymentID = h.payment.id
	}
	return f
}

// String is the story as its platform tells it.
func (s *story) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:", s.platform.name)
	for i, h := range s.happenings {
		f := arrival{fact: s.platform.fact(h, fmt.Sprintf("m%d", i)), received: minute(h.at)}
		fmt.Fprintf(&b, "\n  %v %s", f, h.word)
	}
	return b.String()
}
