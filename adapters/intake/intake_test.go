package intake_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/adapters/intake"
	"comanda.internal/adapters/provider"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// codecFunc is a codec that breaks its contract, which a real one cannot be told to.
type codecFunc func(domain.Message) ([]domain.Fact, error)

func (f codecFunc) Decode(m domain.Message) ([]domain.Fact, error) { return f(m) }

// spy records what it was given; nothing here is about what a log does with it.
type spy struct {
	outcomes []domain.Outcome
	err      error

	msg    domain.Message
	reason string
	detail string
	fields map[string][]string
}

func (s *spy) Record(_ context.Context, msg domain.Message, _ []domain.Fact) ([]domain.Outcome, error) {
	s.msg = msg
	return s.outcomes, s.err
}

func (s *spy) RecordOn(ctx context.Context, msg domain.Message, fact domain.Fact, _ order.Terms) (domain.Outcome, error) {
	outcomes, err := s.Record(ctx, msg, []domain.Fact{fact})
	if err != nil {
		return domain.Outcome{}, err
	}
	return outcomes[0], nil
}

func (s *spy) Quarantine(_ context.Context, msg domain.Message, reason, detail string, fields map[string][]string) (string, error) {
	s.msg, s.reason, s.detail, s.fields = msg, reason, detail, fields
	return "qtn_1", nil
}

func (s *spy) Relay(context.Context, domain.Message, string, string, []byte) error { return s.err }

const canary = "maria@example.com"

func accept(t *testing.T, s *spy, codec provider.Codec) (intake.Receipt, string, error) {
	t.Helper()
	var logs bytes.Buffer
	in, err := intake.New(s, s, time.Now, slog.New(slog.NewTextHandler(&logs, nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	src := &intake.Source{ID: "src", Provider: "vega", Tenant: "loja", Account: "a", Codec: codec}
	receipt, err := in.Accept(t.Context(), src, "act", "application/json", []byte(canary), time.Unix(1, 0), domain.Cause{RequestID: "r"})
	return receipt, logs.String(), err
}

// A codec that breaks its contract costs one message, not the process, and what
// it choked on is kept for the one who mends it, and not logged.
func TestCodecBreaksItsContract(t *testing.T) {
	for name, codec := range map[string]codecFunc{
		"panics":        func(m domain.Message) ([]domain.Fact, error) { panic(string(m.Body)) },
		"another error": func(m domain.Message) ([]domain.Fact, error) { return nil, errors.New(string(m.Body)) },
		"neither":       func(domain.Message) ([]domain.Fact, error) { return nil, nil },
		"both": func(m domain.Message) ([]domain.Fact, error) {
			return make([]domain.Fact, 1), errors.New(string(m.Body))
		},
		"an empty wrapping": func(domain.Message) ([]domain.Fact, error) { return nil, errors.Join(errors.New("x")) },
	} {
		t.Run(name, func(t *testing.T) {
			s := &spy{}
			receipt, logs, err := accept(t, s, codec)
			if err != nil || receipt.Reason != intake.CodecFailed || s.reason != "codec_failed" {
				t.Errorf("receipt %+v, %v", receipt, err)
			}
			if !strings.Contains(logs, "codec failed") || strings.Contains(logs, canary) || strings.Contains(s.detail, canary) {
				t.Errorf("detail %q, logs:\n%s", s.detail, logs)
			}
			want := domain.Message{
				Source: "src", Tenant: "loja", Account: "a", Provider: "aprovei", Action: "act", ContentType: "application/json",
				Body: []byte(canary), ReceivedAt: time.Unix(1, 0).UTC(), Cause: domain.Cause{RequestID: "r"},
			}
			if diff := cmp.Diff(want, s.msg); diff != "" {
				t.Errorf("kept message (-want +got):\n%s", diff)
			}
		})
	}
}

// A wrapped word of the codec's is still the codec's word.
func TestWrappedCodecError(t *testing.T) {
	bad := &provider.Error{Reason: provider.InvalidFields, Fields: map[string][]string{"id": {"required"}}, Detail: "d"}
	s := &spy{}
	receipt, _, err := accept(t, s, codecFunc(func(domain.Message) ([]domain.Fact, error) {
		return nil, errors.Join(errors.New("outer"), bad)
	}))
	if err != nil || receipt.Reason != provider.InvalidFields || s.detail != "d" {
		t.Errorf("receipt %+v, %v", receipt, err)
	}
	if diff := cmp.Diff(bad.Fields, s.fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

// What the recorder says of the facts before the one that failed is not lost.
func TestHalfRecorded(t *testing.T) {
	first := domain.Outcome{Verdict: domain.VerdictApplied, OrderID: "ord_a", Revision: 1000}
	s := &spy{outcomes: []domain.Outcome{first}, err: domain.Errorf(domain.Exhausted, "order ord_a has 1000 facts")}
	receipt, _, err := accept(t, s, codecFunc(func(domain.Message) ([]domain.Fact, error) { return make([]domain.Fact, 2), nil }))
	want := intake.Receipt{Outcomes: []domain.Outcome{first}, QuarantineID: "qtn_1", Reason: provider.TooManyFacts}
	if diff := cmp.Diff(want, receipt, cmp.Comparer(domain.Position.Equal)); diff != "" || err != nil {
		t.Errorf("%v, receipt (-want +got):\n%s", err, diff)
	}
}

// An error says whose turn it is: the sender's, or an operator's.
func TestErrorKinds(t *testing.T) {
	one := codecFunc(func(domain.Message) ([]domain.Fact, error) { return make([]domain.Fact, 1), nil })
	for _, c := range []struct {
		err  error
		want domain.ErrorKind
	}{
		{domain.Errorf(domain.Unavailable, "away"), domain.Unavailable},
		{context.DeadlineExceeded, domain.Unavailable},
		{context.Canceled, domain.Unavailable},
		{errors.New("bug"), domain.Internal},
		{domain.Errorf(domain.Stale, "not for an intake"), domain.Internal},
	} {
		_, _, err := accept(t, &spy{err: c.err}, one)
		if domain.KindOf(err) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%v becomes %v of kind %s, want %s", c.err, err, domain.KindOf(err), c.want)
		}
	}
}

func TestRegisteredTwice(t *testing.T) {
	registry := prometheus.NewRegistry()
	logger := slog.New(slog.DiscardHandler)
	if _, err := intake.New(nil, nil, time.Now, logger, registry); err != nil {
		t.Fatal(err)
	}
	if _, err := intake.New(nil, nil, time.Now, logger, registry); err == nil {
		t.Error("two intakes count in one metric")
	}
}

// A refusal goes to who insists, is kept nowhere, and is no fault of ours in the metrics.
func TestInsistTellsARefusal(t *testing.T) {
	s, registry := &spy{err: &order.RefusedError{Order: "ord_a", Kind: domain.KindPending}}, prometheus.NewRegistry()
	in, err := intake.New(s, s, time.Now, slog.New(slog.DiscardHandler), registry)
	if err != nil {
		t.Fatal(err)
	}
	src := &intake.Source{ID: "src", Provider: "vega", Tenant: "loja", Codec: codecFunc(func(domain.Message) ([]domain.Fact, error) {
		return make([]domain.Fact, 1), nil
	})}
	_, err = in.Insist(t.Context(), src, "application/json", nil, time.Unix(1, 0), domain.Cause{})
	if _, ok := errors.AsType[*order.RefusedError](err); !ok || s.reason != "" {
		t.Errorf("%v, kept for %q", err, s.reason)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, family := range families {
		if !strings.HasSuffix(family.GetName(), "_messages_total") {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetName() == "outcome" {
					words = append(words, label.GetValue())
				}
			}
		}
	}
	if diff := cmp.Diff([]string{"refused"}, words); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}
