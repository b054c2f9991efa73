package ordertest

import (
	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// The reasons why a mutated cell is the same machine.
const (
	neverCancelled = "~ asks for a void since the order entered cancelled, and an order in this status is not in it: always an edge to pending"
	alreadyPending = "~ reopens to pending, and the order is there: no edge, so nothing moves"
	neverApproved  = "^ asks whether a step so far was approved, and nothing leads back to this status: always approved with the gap flag"
)

// Equivalent is the reason why no case can tell the committed table from one with
// code at (status, kind); "" when some case must.
func Equivalent(status domain.Status, kind domain.Kind, code order.Code) string {
	switch was := order.DefaultTable().At(status, kind); {
	case was == "pending" && code == order.CodeReopen:
		return neverCancelled
	case status == domain.StatusPending && was == order.CodeStay && code == order.CodeReopen:
		return alreadyPending
	case (status == domain.StatusNone || status == domain.StatusStarted) && was == "approved?" && code == order.CodeImplied:
		return neverApproved
	default:
		return ""
	}
}
