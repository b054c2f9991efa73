package voxuysink

import (
	"slices"
	"strconv"
	"time"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// The numbers of document 002, "Status do Pedido".
const (
	statusAwaiting        = 0
	statusApproved        = 1
	statusCancelled       = 2
	statusChargeback      = 3
	statusRefunded        = 4
	statusInAnalysis      = 5
	statusRefundRequested = 6
	statusProcessing      = 7
	statusPartiallyPaid   = 8
	statusBlocked         = 9
	statusFraud           = 10
	statusDuplicate       = 11
	statusAbandoned       = 80
	statusNone            = 99
)

// word is what an event says to Voxuy. Two events with the same word tell the
// customer the same thing twice.
type word struct {
	status      int
	customEvent int64 // 0: none
	// shipped and shippedAt are the news from the carrier; "": none.
	shipped   string
	shippedAt time.Time
}

// asksToPay reports whether w would start recovery: on a payer it must not.
func (w word) asksToPay() bool {
	switch w.status {
	case statusAwaiting, statusInAnalysis, statusProcessing, statusPartiallyPaid, statusCancelled, statusFraud, statusAbandoned:
		return true
	default:
		return false
	}
}

// phases are the statuses of a pending order. An authorized card is not paid
// yet and nothing is to be done by the customer: processing.
var phases = map[string]int{
	"": statusAwaiting, "awaiting": statusAwaiting, "in_analysis": statusInAnalysis, "processing": statusProcessing,
	"authorized": statusProcessing, "partially_paid": statusPartiallyPaid,
}

// shippingEvents are document 002's "Status de Logística".
var shippingEvents = map[string]int{
	"": 0, "posted": 1, "in_transit": 2, "awaiting_pickup": 3, "alert": 4, "out_for_delivery": 5, "delivered": 6,
}

// paymentTypes are document 002's "Tipos de Pagamento".
var paymentTypes = map[string]int{
	"free": 0, "boleto": 1, "card": 2, "debit_card": 2, "paypal": 3, "boleto_installments": 4, "deposit": 5, "balance": 6, "pix": 7,
}

// paymentNone says that the way to pay is unknown.
const paymentNone = 99

func paymentType(s *order.State) int {
	if s.Method == "boleto" && s.Installments > 1 {
		return paymentTypes["boleto_installments"]
	}
	if n, ok := paymentTypes[s.Method]; ok {
		return n
	}
	if s.Method == "" && s.Total.Known && s.Total.Minor == 0 {
		return paymentTypes["free"]
	}
	return paymentNone
}

// statusOf is the number of what an order is; false: Voxuy has none for it.
func statusOf(s *order.State) (int, bool) {
	switch s.Status {
	case domain.StatusPending:
		n, ok := phases[s.Phase]
		return n, ok
	case domain.StatusApproved:
		return statusApproved, true
	case domain.StatusRefused:
		if s.Reason == domain.ReasonFraud {
			return statusFraud, true
		}
		return statusCancelled, true
	case domain.StatusCancelled:
		return statusCancelled, true
	case domain.StatusRefunded:
		return statusRefunded, true
	case domain.StatusChargeback:
		return statusChargeback, true
	case domain.StatusStarted:
		if !s.AbandonedAt.IsZero() {
			return statusAbandoned, true
		}
		return 0, false
	default:
		return 0, false
	}
}

// wordOf is what e says, which took the order from before to after; false:
// nothing that Voxuy has a word for.
func wordOf(e *domain.Event, before, after *order.State) (word, bool) {
	if e.Fact.Kind == domain.KindRefundRequested && after.Status == domain.StatusApproved {
		return word{status: statusRefundRequested}, true
	}
	if e.Verdict == domain.VerdictApplied {
		n, ok := statusOf(after)
		return word{status: n}, ok
	}
	return extra(e, before, after)
}

// extra is what an event says that moved nothing.
func extra(e *domain.Event, before, after *order.State) (word, bool) {
	if slices.Contains(after.Attention, order.Attention{Kind: order.AttentionDuplicatePayment, Event: e.ID}) {
		return word{status: statusDuplicate}, true
	}
	switch e.Fact.Kind {
	case domain.KindPending:
		was, _ := statusOf(before)
		is, ok := statusOf(after)
		return word{status: is}, ok && was != is
	case domain.KindAbandoned:
		return word{status: statusAbandoned}, !everPaid(after)
	case domain.KindFlagged:
		return word{status: statusBlocked}, e.Fact.Reason == domain.ReasonBlocked
	case domain.KindShipping:
		return shippingWord(e, after)
	case domain.KindDetails:
		n, err := strconv.ParseInt(e.Fact.CustomEvent, 10, 64)
		return word{status: statusNone, customEvent: n}, err == nil && n > 0
	default:
		return word{}, false
	}
}

func everPaid(s *order.State) bool {
	return s.Status == domain.StatusApproved || s.Status == domain.StatusRefunded || s.Status == domain.StatusChargeback
}

// shippingWord says the carrier's last news, with what the order is. News that is
// older than what is known says nothing: the carriers' events are not in order.
func shippingWord(e *domain.Event, after *order.State) (word, bool) {
	news := e.Fact.Shipping
	if news == nil || after.Shipping == nil || *news != *after.Shipping {
		return word{}, false
	}
	n, ok := statusOf(after)
	if !ok {
		n = statusNone
	}
	return word{status: n, shipped: news.Event, shippedAt: news.Date}, true
}
