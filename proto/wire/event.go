package wire

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// FromEnvelope is the event that env stores. A value outside its closed set is
// an error of kind Corrupt. The result shares memory with env.
func FromEnvelope(env *comandav1.Envelope) (domain.Event, error) {
	e, err := FromEvent(env.GetEvent())
	if err != nil {
		return domain.Event{}, err
	}
	if len(env.GetPrevHash()) != len(e.PrevHash) {
		return domain.Event{}, domain.Errorf(domain.Corrupt, "event %s: prev_hash of %d bytes", e.ID, len(env.GetPrevHash()))
	}
	copy(e.PrevHash[:], env.GetPrevHash())
	e.KeyID = env.GetKeyId()
	e.SealedPersonal = env.GetSealedPersonal()
	e.SealedRaw = env.GetSealedRaw()
	return e, nil
}

// FromEvent is the event that p tells, without sealed parts and hash. A value
// outside its closed set is an error of kind Corrupt.
//
// Fact.OccurredAt comes back only where it placed the fact: an undated fact and
// one whose date was refused are both marked TimeInferred.
func FromEvent(p *comandav1.Event) (domain.Event, error) {
	if p == nil {
		return domain.Event{}, domain.Errorf(domain.Corrupt, "envelope without an event")
	}
	e := domain.Event{
		ID:             domain.EventID(p.GetEventId()),
		OrderID:        domain.OrderID(p.GetOrderId()),
		Tenant:         domain.TenantID(p.GetTenant()),
		Source:         domain.SourceID(p.GetSource()),
		Revision:       p.GetRevision(),
		Why:            p.GetWhy(),
		Correction:     p.GetCorrection(),
		Gap:            p.GetGap(),
		MoneyChanged:   p.GetMoneyChanged(),
		Opens:          fromEventIDs(p.GetOpens()),
		Closes:         fromEventIDs(p.GetCloses()),
		EffectiveAt:    FromTime(p.GetEffectiveAt()),
		TimeInferred:   p.GetTimeInferred(),
		ReceivedAt:     FromTime(p.GetReceivedAt()),
		RecordedAt:     FromTime(p.GetRecordedAt()),
		MachineVersion: p.GetMachineVersion(),
		Cause: domain.Cause{
			RequestID: p.GetCause().GetRequestId(), Traceparent: p.GetCause().GetTraceparent(), Tracestate: p.GetCause().GetTracestate(),
			Actor: p.GetCause().GetActor(), Reason: p.GetCause().GetReason(),
		},
	}
	if len(p.GetDigest()) != len(e.Digest) {
		return domain.Event{}, domain.Errorf(domain.Corrupt, "event %s: digest of %d bytes", e.ID, len(p.GetDigest()))
	}
	copy(e.Digest[:], p.GetDigest())
	if err := fromEnums(&e, p); err != nil {
		return domain.Event{}, err
	}
	fromFact(&e.Fact, p)
	if !e.TimeInferred {
		e.Fact.OccurredAt = e.EffectiveAt
	}
	return e, nil
}

func fromEnums(e *domain.Event, p *comandav1.Event) error {
	var ok [4]bool
	e.Fact.Kind, ok[0] = FromKind(p.GetKind())
	e.Verdict, ok[1] = FromVerdict(p.GetVerdict())
	e.From, ok[2] = FromStatus(p.GetStatusFrom())
	e.To, ok[3] = FromStatus(p.GetStatusTo())
	for i, name := range [...]string{"kind", "verdict", "status_from", "status_to"} {
		if !ok[i] {
			return domain.Errorf(domain.Corrupt, "event %s: %s is not one of its set", e.ID, name)
		}
	}
	for _, s := range p.GetPath() {
		from, okFrom := FromStatus(s.GetStatusFrom())
		to, okTo := FromStatus(s.GetStatusTo())
		if !okFrom || !okTo {
			return domain.Errorf(domain.Corrupt, "event %s: path is not of statuses", e.ID)
		}
		e.Path = append(e.Path, domain.Step{
			Event: domain.EventID(s.GetEventId()), From: from, To: to,
			Forced: s.GetForced(), Gap: s.GetGap(), Why: s.GetWhy(),
		})
	}
	return nil
}

func fromFact(f *domain.Fact, p *comandav1.Event) {
	f.Provider = p.GetProvider()
	f.Account = p.GetAccount()
	f.ProviderOrderID = p.GetProviderOrderId()
	f.Reference = p.GetReference()
	f.Key = p.GetKey()
	f.OccurredText = p.GetOccurredText()
	f.Inferred = p.GetFactInferred()
	f.Reason = domain.Reason(p.GetReason())
	f.Detail = p.GetDetail()
	f.Amounts = fromAmounts(p.GetAmounts())
	f.Payment = fromPayment(p.GetPayment())
	f.Items = fromItems(p.GetItems())
	f.UTM = domain.UTMOf(p.GetUtm())
	f.Shipping = fromShipping(p.GetShipping())
	f.CustomEvent = p.GetCustomEvent()
	if r := p.GetResolution(); r != nil {
		f.Resolution = &domain.Resolution{Event: domain.EventID(r.GetEventId()), Action: domain.ResolutionAction(r.GetAction())}
	}
	f.Warnings = p.GetWarnings()
}

// Steps are the edges of a fold.
func Steps(steps []domain.Step) []*comandav1.Step {
	if len(steps) == 0 {
		return nil
	}
	out := make([]*comandav1.Step, len(steps))
	for i := range steps {
		s := &steps[i]
		out[i] = &comandav1.Step{
			EventId: string(s.Event), StatusFrom: Status(s.From), StatusTo: Status(s.To),
			Forced: s.Forced, Gap: s.Gap, Why: s.Why,
		}
	}
	return out
}

// EventIDs are ids as text; nil when there are none.
func EventIDs(ids []domain.EventID) []string {
	if len(ids) == 0 {
		return nil
	}
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}

func fromEventIDs(ids []string) []domain.EventID {
	if len(ids) == 0 {
		return nil
	}
	out := make([]domain.EventID, len(ids))
	for i, id := range ids {
		out[i] = domain.EventID(id)
	}
	return out
}

// Time is t as a timestamp; nil for the zero time.
func Time(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// FromTime is ts in UTC; the zero time for nil.
func FromTime(ts *timestamppb.Timestamp) time.Time {
	if ts == nil {
		return time.Time{}
	}
	return ts.AsTime()
}
