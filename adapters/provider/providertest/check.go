package providertest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"comanda.internal/adapters/provider"
	"comanda.internal/domain"
)

// maxWarnings is more than a message may add to an event.
const maxWarnings = 32

// Check reports what is wrong with the facts of one message, joined; nil is nothing.
func (c *Case) Check(facts []domain.Fact) error {
	if len(facts) == 0 {
		return errors.New("no facts and no error")
	}
	var wrong []error
	seen := make(map[string]bool)
	for i := range facts {
		for _, err := range c.checkFact(&facts[i]) {
			wrong = append(wrong, fmt.Errorf("fact %d: %w", i, err))
		}
		name := facts[i].Kind.String() + " " + facts[i].Key
		if seen[name] {
			wrong = append(wrong, fmt.Errorf("fact %d: kind and key of an earlier one", i))
		}
		seen[name] = true
		if facts[i].Inferred && i == len(facts)-1 {
			wrong = append(wrong, fmt.Errorf("fact %d: inferred, and comes last", i))
		}
	}
	return errors.Join(wrong...)
}

func (c *Case) checkFact(f *domain.Fact) []error {
	var wrong []error
	rule := func(holds bool, text string) {
		if !holds {
			wrong = append(wrong, errors.New(text))
		}
	}
	canonical, known := provider.Canonical(f.Provider)
	rule(known && canonical == f.Provider, "provider is not a canonical name")
	rule(f.Provider == c.Provider || c.OtherProviders, "provider is another's")
	rule(f.ProviderOrderID != "", "no identity")
	rule(f.Key != "", "no key")
	rule(f.Kind > domain.KindUnknown && f.Kind < domain.KindResolved, "not a kind for a codec")
	rule(f.Resolution == nil, "a resolution")
	rule(f.Inferred == strings.HasSuffix(f.Key, "|"+provider.InferredKeyPart) || !f.Inferred, "inferred, and its key does not say so")
	rule(f.OccurredAt.IsZero() == (f.OccurredText == ""), "date without text or text without date")
	rule(f.OccurredAt.Location() == time.UTC, "date is not in UTC")
	rule(f.Payment.Phase == "" || provider.IsPhase(f.Payment.Phase), "unknown phase")
	rule(f.Payment.Installments >= 0, "negative instalments")
	rule(f.Reason == "" || provider.IsWord(string(f.Reason)), "reason is not a word")
	rule(len(f.Warnings) <= maxWarnings, "too many warnings")
	for _, a := range sums(f) {
		rule(a.Minor >= 0 && (a.Known || a.Minor == 0), "a sum is negative, or unknown and not zero")
	}
	for _, item := range f.Items {
		rule(item.Quantity >= 0, "a quantity is negative")
	}
	rule(f.UTM == nil || len(f.UTM) > 0, "an empty utm is not nil")
	// The encoder refuses what is not UTF-8, as protobuf does.
	_, err := json.Marshal(f, factText...)
	rule(err == nil, "not fit to be written")
	return wrong
}

func sums(f *domain.Fact) []domain.Amount {
	all := []domain.Amount{
		f.Amounts.Total, f.Amounts.Paid, f.Amounts.Refunded, f.Amounts.Refund, f.Amounts.Freight, f.Amounts.Discount,
	}
	for _, item := range f.Items {
		all = append(all, item.UnitPrice)
	}
	return all
}

var reasons = []provider.ErrorReason{
	provider.Malformed, provider.InvalidFields, provider.UnknownStatus, provider.UnknownAction,
	provider.NotConfigured, provider.RefusedContent,
}

// CheckError reports what is wrong with an error of Decode; nil is nothing.
func CheckError(err error) error {
	var refused *provider.Error
	switch {
	case !errors.As(err, &refused):
		return fmt.Errorf("not a *provider.Error: %w", err)
	case !slices.Contains(reasons, refused.Reason):
		return fmt.Errorf("reason %q is not of the closed set", refused.Reason)
	case refused.Reason == provider.Malformed && refused.Fields != nil:
		return errors.New("malformed, and it names fields")
	case refused.Reason == provider.InvalidFields && len(refused.Fields) == 0:
		return errors.New("invalid fields, and it names none")
	default:
		return nil
	}
}

// words is everything that an answer says in the clear beside the facts
// themselves: the error's text, and the warnings.
func (a *answer) words() []string {
	var all []string
	if a.err != nil {
		all = append(all, a.err.Error())
	}
	for i := range a.facts {
		all = append(all, a.facts[i].Warnings...)
	}
	return all
}

// personal is every text of the facts that is about a person and tells one.
func (a *answer) personal() []string {
	var all []string
	for i := range a.facts {
		p := a.facts[i].Personal
		if p == nil {
			continue
		}
		all = append(all, p.Name, p.Email, p.Phone, p.Document, p.PixCode, p.PixURL, p.BoletoLine, p.BoletoURL, p.CheckoutURL)
		if d := p.Address; d != nil {
			all = append(all, d.Street, d.Complement, d.District, d.City, d.PostalCode)
		}
	}
	// Shorter texts stand in rules and offsets by chance.
	return slices.DeleteFunc(all, func(s string) bool { return len(s) < 5 })
}
