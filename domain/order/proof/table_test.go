package proof_test

import (
	"comanda.internal/domain"
)

// rule is what a cell of the hand-written table does.
type rule uint8

const (
	stays   rule = iota // nothing moves
	moves               // to the cell's status
	refuses             // a conflict, unless the fact is of a second attempt
	reopens             // to pending, unless voided with a reason
	implies             // a payment never seen: approved, unless one was
	settles             // the end of a dispute
)

// cell is one (status, kind): what the fact does there.
type cell struct {
	rule rule
	to   domain.Status
	gap  bool
}

// The cells' short names, so that the table below reads as a table.
var (
	still    = cell{}
	conflict = cell{rule: refuses}
	reopen   = cell{rule: reopens, to: domain.StatusPending}
	implied  = cell{rule: implies, to: domain.StatusApproved, gap: true}
	settled  = cell{rule: settles}

	started    = cell{rule: moves, to: domain.StatusStarted}
	pending    = cell{rule: moves, to: domain.StatusPending}
	approved   = cell{rule: moves, to: domain.StatusApproved}
	refused    = cell{rule: moves, to: domain.StatusRefused}
	cancelled  = cell{rule: moves, to: domain.StatusCancelled}
	refunded   = cell{rule: moves, to: domain.StatusRefunded}
	chargeback = cell{rule: moves, to: domain.StatusChargeback}

	unseenApproved   = cell{rule: moves, to: domain.StatusApproved, gap: true}
	unseenRefunded   = cell{rule: moves, to: domain.StatusRefunded, gap: true}
	unseenChargeback = cell{rule: moves, to: domain.StatusChargeback, gap: true}
)

// byKind is a column of the hand-written table: what a kind does in every
// status. The table is written by column, with the reason, where the
// machine's own is written by row, so that a slip in one is not a slip in both.
type byKind struct {
	none, started, pending, approved, refused, cancelled, refunded, chargeback cell
}

// table is what each kind does, thought through kind by kind.
var table = map[domain.Kind]byKind{
	// A checkout began: news only of an order that nobody knew.
	domain.KindStarted: {
		none: started, started: still, pending: still, approved: still, refused: still, cancelled: still, refunded: still, chargeback: still,
	},
	// A cart was left: it proves that one was started, and is otherwise a facet.
	domain.KindAbandoned: {
		none: started, started: still, pending: still, approved: still, refused: still, cancelled: still, refunded: still, chargeback: still,
	},
	// A payment is awaited: a new try after a refusal; against a paid order it is a contradiction.
	domain.KindPending: {
		none: pending, started: pending, pending: still, approved: conflict, refused: pending, cancelled: reopen,
		refunded: conflict, chargeback: conflict,
	},
	// A payment was denied: the last word of an unpaid order, a contradiction of a paid one.
	domain.KindRefused: {
		none: refused, started: refused, pending: refused, approved: conflict, refused: still, cancelled: refused,
		refunded: conflict, chargeback: conflict,
	},
	// A void ends whatever is alive, paid or not; what is settled stays so.
	domain.KindCancelled: {
		none: cancelled, started: cancelled, pending: cancelled, approved: cancelled, refused: cancelled, cancelled: still,
		refunded: still, chargeback: still,
	},
	// Nobody paid in time: never said of a paid order.
	domain.KindExpired: {
		none: cancelled, started: cancelled, pending: cancelled, approved: still, refused: cancelled, cancelled: still,
		refunded: still, chargeback: still,
	},
	// The money came: wins over everything unpaid; after its return it is a contradiction.
	domain.KindApproved: {
		none: approved, started: approved, pending: approved, approved: still, refused: approved, cancelled: approved,
		refunded: conflict, chargeback: conflict,
	},
	// Whoever asks for money back has paid.
	domain.KindRefundRequested: {
		none: unseenApproved, started: unseenApproved, pending: unseenApproved, approved: still, refused: unseenApproved,
		cancelled: implied, refunded: still, chargeback: still,
	},
	// A part went back: the order was paid, and still is.
	domain.KindPartiallyRefunded: {
		none: unseenApproved, started: unseenApproved, pending: unseenApproved, approved: still, refused: unseenApproved,
		cancelled: implied, refunded: still, chargeback: still,
	},
	// All went back; that a payment was never seen is a gap, but not after a
	// cancellation, which may have voided it. A dispute is not ended by it.
	domain.KindRefunded: {
		none: unseenRefunded, started: unseenRefunded, pending: unseenRefunded, approved: refunded, refused: unseenRefunded,
		cancelled: refunded, refunded: still, chargeback: still,
	},
	// The bank took it back: stronger than everything.
	domain.KindChargeback: {
		none: unseenChargeback, started: unseenChargeback, pending: unseenChargeback, approved: chargeback,
		refused: unseenChargeback, cancelled: chargeback, refunded: chargeback, chargeback: still,
	},
	// The dispute was won: where none was seen it still proves a payment.
	domain.KindChargebackReversed: {
		none: unseenApproved, started: unseenApproved, pending: unseenApproved, approved: still, refused: unseenApproved,
		cancelled: implied, refunded: still, chargeback: settled,
	},
}

// cellOf is the hand-written cell of (status, kind).
func cellOf(status domain.Status, kind domain.Kind) cell {
	col := table[kind]
	return [domain.StatusCount]cell{
		domain.StatusNone: col.none, domain.StatusStarted: col.started, domain.StatusPending: col.pending,
		domain.StatusApproved: col.approved, domain.StatusRefused: col.refused, domain.StatusCancelled: col.cancelled,
		domain.StatusRefunded: col.refunded, domain.StatusChargeback: col.chargeback,
	}[status]
}
