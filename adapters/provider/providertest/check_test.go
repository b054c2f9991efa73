package providertest_test

import (
	"errors"
	"testing"
	"time"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/providertest"
	"comanda.internal/domain"
)

// A suite that lets everything pass proves nothing.
func TestCheckFindsEachFault(t *testing.T) {
	c := providertest.Case{Provider: provider.Aprovei}
	good := func() domain.Fact {
		return domain.Fact{
			Kind: domain.KindApproved, Provider: provider.Aprovei, ProviderOrderID: "T1", Key: "T1|approved",
			OccurredAt: time.Date(2026, time.May, 9, 0, 0, 0, 0, time.UTC), OccurredText: "2026-05-09T00:00:00Z",
		}
	}
	if err := c.Check([]domain.Fact{good()}); err != nil {
		t.Fatalf("a good fact: %v", err)
	}
	for name, spoil := range map[string]func(*domain.Fact){
		"no kind":             func(f *domain.Fact) { f.Kind = domain.KindUnknown },
		"resolved":            func(f *domain.Fact) { f.Kind = domain.KindResolved },
		"an alias":            func(f *domain.Fact) { f.Provider = "vega" },
		"another provider":    func(f *domain.Fact) { f.Provider = provider.Voxuy },
		"no identity":         func(f *domain.Fact) { f.ProviderOrderID = "" },
		"no key":              func(f *domain.Fact) { f.Key = "" },
		"a resolution":        func(f *domain.Fact) { f.Resolution = &domain.Resolution{} },
		"a date without text": func(f *domain.Fact) { f.OccurredText = "" },
		"a text without date": func(f *domain.Fact) { f.OccurredAt = time.Time{} },
		"a local date":        func(f *domain.Fact) { f.OccurredAt = f.OccurredAt.In(time.FixedZone("", 60)) },
		"a phase":             func(f *domain.Fact) { f.Payment.Phase = "soon" },
		"negative instalment": func(f *domain.Fact) { f.Payment.Installments = -1 },
		"a negative sum":      func(f *domain.Fact) { f.Amounts.Refund = domain.Minor(-1) },
		"an unknown sum":      func(f *domain.Fact) { f.Amounts.Total = domain.Amount{Minor: 1} },
		"a negative price":    func(f *domain.Fact) { f.Items = []domain.Item{{UnitPrice: domain.Minor(-1)}} },
		"a negative quantity": func(f *domain.Fact) { f.Items = []domain.Item{{Quantity: -1}} },
		"an empty utm":        func(f *domain.Fact) { f.UTM = domain.UTM{} },
		"bad UTF-8":           func(f *domain.Fact) { f.Reference = "\xff" },
		"a long reason":       func(f *domain.Fact) { f.Reason = "Not a word" },
		"many warnings":       func(f *domain.Fact) { f.Warnings = make([]string, 33) },
		"inferred alone":      func(f *domain.Fact) { f.Inferred = true },
	} {
		fact := good()
		spoil(&fact)
		if err := c.Check([]domain.Fact{fact}); err == nil {
			t.Errorf("%s is not noticed", name)
		}
	}
	if c.Check(nil) == nil {
		t.Error("no facts are not noticed")
	}
	if c.Check([]domain.Fact{good(), good()}) == nil {
		t.Error("one key for two facts is not noticed")
	}
}

func TestCheckErrorFindsEachFault(t *testing.T) {
	fields := map[string][]string{"id": {"is required"}}
	for name, err := range map[string]error{
		"another type":         errors.New("x"),
		"another reason":       &provider.Error{Reason: "because"},
		"malformed and fields": &provider.Error{Reason: provider.Malformed, Fields: fields},
		"no fields":            &provider.Error{Reason: provider.InvalidFields},
	} {
		if providertest.CheckError(err) == nil {
			t.Errorf("%s is not noticed", name)
		}
	}
	if err := providertest.CheckError(&provider.Error{Reason: provider.InvalidFields, Fields: fields}); err != nil {
		t.Error(err)
	}
}
