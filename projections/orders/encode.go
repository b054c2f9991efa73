package orders

import (
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/proto/wire"
)

// AppendRow writes what [wire.Marshal] gives of [Row], without the row in between.
// Whoever adds a field to the one adds it to the other.
func AppendRow(a *wire.Appender, id domain.OrderID, source domain.SourceID, s *order.State) {
	a.Text(1, string(id))
	a.Text(2, string(s.Identity.Tenant))
	a.Text(3, string(source))
	a.Text(4, s.Identity.Provider)
	a.Text(5, s.Identity.Account)
	a.Text(6, s.Identity.ProviderOrderID)
	a.Text(7, s.Reference)
	a.Number(8, uint64(wire.Status(s.Status))) //nolint:gosec // an enum
	a.Number(9, s.Revision)
	appendMoney(a, s)
	a.Text(16, s.Dispute)
	a.Flag(17, s.RefundRequested)
	a.Text(18, s.Method)
	a.Text(19, s.Phase)
	a.Text(20, string(s.Reason))
	a.Text(21, s.Detail)
	a.Time(22, s.StartedAt)
	a.Time(23, s.ApprovedAt)
	a.Time(24, s.UpdatedAt)
	a.Time(25, s.RecordedAt)
	a.Flag(26, s.Gap)
	appendOpen(a, s)
	a.Time(31, s.AbandonedAt)
	a.Number(32, uint64(s.Installments)) //nolint:gosec // two's complement: an int32 is sign-extended
	a.Time(33, s.FirstRecordedAt)
	a.Items(40, s.Items)
	a.UTM(41, s.UTM)
	a.Shipping(42, s.Shipping)
	for _, flag := range s.Flags {
		a.Element(43, flag)
	}
	a.Text(44, s.CustomEvent)
	a.Steps(45, s.Path)
	a.Number(46, uint64(s.MachineVersion))
	for _, reference := range s.FormerReferences {
		a.Element(47, reference)
	}
}

func appendMoney(a *wire.Appender, s *order.State) {
	a.Text(10, s.Currency)
	a.Amount(11, s.Total)
	a.Amount(12, s.Paid)
	a.Amount(13, s.Refunded)
	a.Amount(14, s.Freight)
	a.Amount(15, s.Discount)
}

// appendOpen writes what is open, and the payments.
func appendOpen(a *wire.Appender, s *order.State) {
	for _, event := range s.Conflicts {
		a.Element(27, string(event))
	}
	for _, event := range s.HeldBack {
		a.Element(28, string(event))
	}
	for i := range s.Attention {
		a.Message(29, func() {
			a.Text(1, s.Attention[i].Kind)
			a.Text(2, string(s.Attention[i].Event))
		})
	}
	for _, id := range s.PaymentIDs {
		a.Element(30, id)
	}
}
