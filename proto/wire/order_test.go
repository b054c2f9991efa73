package wire_test

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// fillMessage gives every field of m, and of what is in it, a value of its own, and lists
// and maps so many.
func fillMessage(m protoreflect.Message, many int, n *int64) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap():
			for range many {
				m.Mutable(f).Map().Set(valueOf(f.MapKey(), n).MapKey(), valueOf(f.MapValue(), n))
			}
		case f.IsList():
			list := m.Mutable(f).List()
			for range many {
				if f.Message() != nil {
					fillMessage(list.AppendMutable().Message(), many, n)
				} else {
					list.Append(valueOf(f, n))
				}
			}
		case f.Message() != nil:
			fillMessage(m.Mutable(f).Message(), many, n)
		default:
			m.Set(f, valueOf(f, n))
		}
	}
}

func valueOf(f protoreflect.FieldDescriptor, n *int64) protoreflect.Value {
	*n++
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(string(f.Name()) + "é" + string(rune('a'+*n%26)))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(*n%5 + 1))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(*n))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(*n))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(*n))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(*n * 1_000_003)
	default:
		panic("a field of kind " + f.Kind().String())
	}
}

// orderSeeds are encoded orders: with nothing, with everything once and several times, and
// with values at the edges.
func orderSeeds(tb testing.TB) map[string][]byte {
	tb.Helper()
	out := map[string][]byte{}
	add := func(name string, o *comandav1.Order) {
		stored, err := wire.Marshal(o)
		if err != nil {
			tb.Fatal(err)
		}
		out[name] = stored
	}
	add("nothing", &comandav1.Order{})
	for name, many := range map[string]int{"once": 1, "several": 3} {
		var o comandav1.Order
		var n int64
		fillMessage(o.ProtoReflect(), many, &n)
		add(name, &o)
	}
	add("edges", &comandav1.Order{
		Status: -1, Revision: 1 << 63, Total: proto.Int64(0), Paid: proto.Int64(-1), Installments: -1,
		StartedAt: &timestamppb.Timestamp{Seconds: -1, Nanos: 999_999_999}, ApprovedAt: &timestamppb.Timestamp{},
		Conflicts: []string{""}, Utm: map[string]string{"": ""}, Items: []*comandav1.Item{{UnitPrice: proto.Int64(0)}},
		Path: []*comandav1.Step{{StatusFrom: 1}}, MachineVersion: 1<<32 - 1,
	})
	add("empty parts", &comandav1.Order{Items: []*comandav1.Item{{}}, Shipping: &comandav1.Shipping{}, Attention: []*comandav1.Attention{{}}})
	return out
}

// orderAlike holds DecodeOrder to the protobuf library: the same order, or an error.
func orderAlike(t *testing.T, data []byte) {
	t.Helper()
	want := new(comandav1.Order)
	wantErr := proto.Unmarshal(data, want)
	given := bytes.Clone(data)
	got, err := wire.DecodeOrder(given)
	if (err != nil) != (wantErr != nil) || (err != nil && domain.KindOf(err) != domain.Corrupt) {
		t.Fatalf("%x: error = %v, want %v", data, err, wantErr)
	}
	clear(given) // they share no memory
	if err == nil && !proto.Equal(want, got) {
		t.Fatalf("%x: got %v, want %v", data, got, want)
	}
}

func TestDecodeOrder(t *testing.T) {
	for name, data := range orderSeeds(t) {
		t.Run(name, func(t *testing.T) {
			orderAlike(t, data)
			o, err := wire.DecodeOrder(data)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := wire.Marshal(o); err != nil || !bytes.Equal(again, data) {
				t.Errorf("it encodes to %x, not to %x (%v)", again, data, err)
			}
		})
	}
}

// An order is read without the library, of which the many pieces of memory would tell.
func TestDecodeOrderInFewPieces(t *testing.T) {
	data := orderSeeds(t)["several"]
	library := testing.AllocsPerRun(10, func() {
		if err := proto.Unmarshal(data, new(comandav1.Order)); err != nil {
			t.Fatal(err)
		}
	})
	ours := testing.AllocsPerRun(10, func() {
		if _, err := wire.DecodeOrder(data); err != nil {
			t.Fatal(err)
		}
	})
	if ours > library/2 {
		t.Errorf("%v pieces, the library %v", ours, library)
	}
}

// TestDecodeOrderOfDamagedBytes changes every byte in some ways, leaves each one out and
// cuts at each; and has fields in another order, twice, and unknown ones.
func TestDecodeOrderOfDamagedBytes(t *testing.T) {
	seeds := orderSeeds(t)
	for _, data := range seeds {
		for i := range data {
			for _, mask := range []byte{1, 2, 8, 0x80, 0xff} {
				damaged := bytes.Clone(data)
				damaged[i] ^= mask
				orderAlike(t, damaged)
			}
			orderAlike(t, slices.Delete(bytes.Clone(data), i, i+1))
			orderAlike(t, slices.Insert(bytes.Clone(data), i, 0))
			orderAlike(t, data[:i])
		}
		orderAlike(t, append(bytes.Clone(data), data...))
		orderAlike(t, append(bytes.Clone(data), 0xf8, 0x07, 1))
		orderAlike(t, append([]byte{0xf8, 0x01, 1}, data...))
	}
	orderAlike(t, append(bytes.Clone(seeds["once"]), seeds["several"]...))
}

func FuzzDecodeOrder(f *testing.F) {
	for _, data := range orderSeeds(f) {
		f.Add(data)
	}
	f.Fuzz(orderAlike)
}

func BenchmarkDecodeOrder(b *testing.B) {
	data := orderSeeds(b)["several"]
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := wire.DecodeOrder(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := proto.Unmarshal(data, new(comandav1.Order)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
