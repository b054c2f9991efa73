package wire

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Kinds and verdicts have the domain's numbers; a status has the domain's
// number and one, because its zero value on the wire means that none was given.

// Kind is k on the wire.
func Kind(k domain.Kind) comandav1.FactKind { return comandav1.FactKind(k) }

// FromKind is the kind of k; false for none and for a number outside the set.
func FromKind(k comandav1.FactKind) (domain.Kind, bool) {
	return domain.Kind(k), k > 0 && k < comandav1.FactKind(domain.KindCount) //nolint:gosec // compared with its bounds
}

// Verdict is v on the wire.
func Verdict(v domain.Verdict) comandav1.Verdict { return comandav1.Verdict(v) }

// FromVerdict is the verdict of v; false for none and for a number outside the set.
func FromVerdict(v comandav1.Verdict) (domain.Verdict, bool) {
	return domain.Verdict(v), v > 0 && v <= comandav1.Verdict(domain.VerdictDuplicate) //nolint:gosec // compared with its bounds
}

// Status is s on the wire.
func Status(s domain.Status) comandav1.OrderStatus { return comandav1.OrderStatus(s) + 1 }

// FromStatus is the status of s; false for none and for a number outside the set.
func FromStatus(s comandav1.OrderStatus) (domain.Status, bool) {
	return domain.Status(s - 1), s > 0 && s <= comandav1.OrderStatus(domain.StatusCount) //nolint:gosec // compared with its bounds
}

// Word is the plain word of an enum value, as "approved" of
// ORDER_STATUS_APPROVED; "" of the value that says nothing.
func Word(e protoreflect.Enum) string { return WordOf(e.Descriptor(), e.Number()) }

// WordOf is the plain word of the value n of the enum d.
func WordOf(d protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	value := d.Values().ByNumber(n)
	if value == nil || n == 0 {
		return ""
	}
	// Names begin as value 0's does, which ends in UNSPECIFIED (buf's STANDARD rules).
	prefix := strings.TrimSuffix(string(d.Values().ByNumber(0).Name()), "UNSPECIFIED")
	return strings.ToLower(strings.TrimPrefix(string(value.Name()), prefix))
}
