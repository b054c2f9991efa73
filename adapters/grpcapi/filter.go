package grpcapi

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// maxFilterValues bounds the values of one field of a filter.
const maxFilterValues = 1000

const digestSize = 16

// filter is an EventFilter, made to be asked of every event. Texts are sorted and
// without repeats; sets of closed values are bits.
type filter struct {
	tenants    []domain.TenantID
	sources    []domain.SourceID
	orders     []domain.OrderID
	references []string
	kinds      uint32
	verdicts   uint32
	edges      [domain.StatusCount]uint32 // by the status before, the statuses after
	moves      bool                       // edges say something
}

func (f *filter) match(e *ring.Entry) bool {
	return hasBit(f.kinds, e.Kind) && hasBit(f.verdicts, e.Verdict) && f.edge(e) &&
		has(f.tenants, e.Tenant) && has(f.sources, e.Source) && has(f.orders, e.Order) && has(f.references, e.Reference)
}

func (f *filter) edge(e *ring.Entry) bool {
	return !f.moves || e.Verdict == domain.VerdictApplied && f.edges[e.From]&(1<<e.To) != 0
}

// has reports whether value is one of those that are wanted; none: any is.
func has[T ~string](wanted []T, value T) bool {
	if len(wanted) == 0 {
		return true
	}
	_, found := slices.BinarySearch(wanted, value)
	return found
}

func hasBit[T domain.Kind | domain.Verdict](wanted uint32, value T) bool {
	return wanted == 0 || wanted&(1<<value) != 0
}

// digest tells filters apart that do not mean the same; nil of an empty one.
func (f *filter) digest() []byte {
	if f.empty() {
		return nil
	}
	sum := sha256.Sum256(f.canonical())
	return sum[:digestSize]
}

func (f *filter) empty() bool {
	return len(f.tenants)+len(f.sources)+len(f.orders)+len(f.references) == 0 && f.kinds|f.verdicts == 0 && !f.moves
}

// canonical is the same for filters that are written differently and mean the same.
func (f *filter) canonical() []byte {
	var buf []byte
	buf = appendTexts(buf, f.tenants)
	buf = appendTexts(buf, f.sources)
	buf = appendTexts(buf, f.orders)
	buf = appendTexts(buf, f.references)
	for _, bits := range append([]uint32{f.kinds, f.verdicts}, f.edges[:]...) {
		buf = binary.BigEndian.AppendUint32(buf, bits)
	}
	return buf
}

func appendTexts[T ~string](buf []byte, texts []T) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(texts)))
	for _, text := range texts {
		buf = binary.AppendUvarint(buf, uint64(len(text)))
		buf = append(buf, text...)
	}
	return buf
}

// filter reads an EventFilter; nil is an empty one.
func (c *checker) filter(in *comandav1.EventFilter) *filter {
	return &filter{
		tenants: texts(c, "filter.tenants", in.GetTenants(), domain.TenantID.Valid, "must be 1 to 40 of a-z, 0-9 and -"),
		sources: texts(c, "filter.sources", in.GetSources(), domain.SourceID.Valid, "must be 1 to 40 of a-z, 0-9 and -"),
		orders:  texts(c, "filter.order_ids", in.GetOrderIds(), domain.OrderID.Valid, `must be "ord_" and 26 characters of a-z and 2-7`),
		references: texts(c, "filter.references", in.GetReferences(),
			func(text string) bool { return text != "" }, "must not be empty"),
		kinds:    bits(c, "filter.kinds", in.GetKinds(), wire.FromKind),
		verdicts: bits(c, "filter.verdicts", in.GetVerdicts(), wire.FromVerdict),
		edges:    c.edges("filter.edges", in.GetEdges()),
		moves:    len(in.GetEdges()) > 0,
	}
}

func (c *checker) count(field string, n int) {
	if n > maxFilterValues {
		c.violate(field, fmt.Sprintf("must be at most %d", maxFilterValues))
	}
}

// texts are sorted and without repeats.
func texts[T ~string](c *checker, field string, in []string, valid func(T) bool, rule string) []T {
	c.count(field, len(in))
	out := make([]T, len(in))
	for i, text := range in {
		out[i] = T(text)
		if !valid(out[i]) {
			c.violate(fmt.Sprintf("%s[%d]", field, i), rule)
			break
		}
	}
	slices.Sort(out)
	return slices.Clip(slices.Compact(out))
}

func bits[W any, T domain.Kind | domain.Verdict](c *checker, field string, in []W, from func(W) (T, bool)) uint32 {
	c.count(field, len(in))
	var out uint32
	for i, w := range in {
		value, ok := from(w)
		if !ok {
			c.violate(fmt.Sprintf("%s[%d]", field, i), "must be one of its values, and not UNSPECIFIED")
			break
		}
		out |= 1 << value
	}
	return out
}

func (c *checker) edges(field string, in []*comandav1.StatusEdge) (edges [domain.StatusCount]uint32) {
	c.count(field, len(in))
	for i, edge := range in {
		from, okFrom := statusBits(edge.GetFrom())
		to, okTo := statusBits(edge.GetTo())
		if !okFrom || !okTo {
			c.violate(fmt.Sprintf("%s[%d]", field, i), "must be of statuses of OrderStatus")
			break
		}
		for status := range edges {
			if from&(1<<status) != 0 {
				edges[status] |= to
			}
		}
	}
	return edges
}

// statusBits are one status, or all for UNSPECIFIED.
func statusBits(in comandav1.OrderStatus) (uint32, bool) {
	if in == comandav1.OrderStatus_ORDER_STATUS_UNSPECIFIED {
		return 1<<domain.StatusCount - 1, true
	}
	status, ok := wire.FromStatus(in)
	return 1 << status, ok
}

// wanted is what passes the filter and is of the caller's tenants.
func wanted(f *filter, caller *access.Allowance) func(*ring.Entry) bool {
	return func(e *ring.Entry) bool { return f.match(e) && caller.AllowsTenant(e.Tenant) }
}
