package wire_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// decodeSeeds are stored envelopes: full, sparse, and with the values at which
// the encoding changes.
func decodeSeeds(tb testing.TB) [][]byte {
	tb.Helper()
	full := fullEvent()
	full.Fact.UTM = domain.UTMOf(map[string]string{"utm_source": "x", "utm_medium": "", "": "y"})
	sparse := domain.Event{
		ID: "id", Revision: 1, Verdict: domain.VerdictNoted, EffectiveAt: time.Unix(0, 1).UTC(),
		Fact: domain.Fact{Kind: domain.KindDetails, Amounts: domain.Amounts{Total: domain.Minor(0), Paid: domain.Minor(-1)}},
	}
	sparse.Fact.OccurredAt = sparse.EffectiveAt
	edges := fullEvent()
	edges.EffectiveAt = time.Unix(-1, 999_999_999).UTC()
	edges.Fact.Shipping.Date = time.Time{}
	edges.Fact.Payment.Installments = -1
	edges.Fact.Items[0] = domain.Item{}
	edges.Fact.Warnings[1] = ""
	var out [][]byte
	for _, e := range []domain.Event{full, sparse, edges} {
		stored, err := wire.Marshal(envelope(&e))
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, stored)
	}
	return out
}

// decodesAlike holds Decode to the protobuf library and the mapping: the same
// event, or an error of the same kind, and encoded is what the event encodes to.
func decodesAlike(t *testing.T, data []byte) {
	t.Helper()
	var env comandav1.Envelope
	var want domain.Event
	wantErr := proto.Unmarshal(data, &env)
	if wantErr == nil {
		want, wantErr = wire.FromEnvelope(&env)
	}
	got, encoded, err := wire.Decode(data)
	if (err != nil) != (wantErr != nil) || (err != nil && domain.KindOf(err) != domain.Corrupt) {
		t.Fatalf("%x: error = %v, want %v", data, err, wantErr)
	}
	if err != nil {
		wire.Split(data) // what it gives is not checked yet
		return
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%x (-library +ours):\n%s", data, diff)
	}
	if encoded == nil {
		return
	}
	part, order, ok := wire.Split(data)
	if ok != (got.ID != "" && got.OrderID != "") || ok && (!bytes.Equal(part, encoded) || order != got.OrderID) {
		t.Fatalf("%x: split, %v, is %x of order %q; want %x of %q", data, ok, part, order, encoded, got.OrderID)
	}
	again, err := wire.Marshal(event(&got))
	if err != nil || !bytes.Equal(again, encoded) {
		t.Fatalf("%x: encoded is %x, the event encodes to %x (%v)", data, encoded, again, err)
	}
	event, err := wire.DecodeEvent(encoded)
	got.PrevHash, got.KeyID, got.SealedPersonal, got.SealedRaw = [32]byte{}, "", nil, nil
	if diff := cmp.Diff(got, event, cmpopts.EquateEmpty()); diff != "" || err != nil {
		t.Fatalf("%x: the event alone, %v (-of the envelope +alone):\n%s", data, err, diff)
	}
}

func TestDecodeReadsWhatMarshalWrites(t *testing.T) {
	for i, data := range decodeSeeds(t) {
		decodesAlike(t, data)
		_, encoded, err := wire.Decode(data)
		if err != nil || (encoded == nil) != (i == 2) {
			t.Errorf("seed %d: encoded = %x, %v; only an empty item is left to the library", i, encoded, err)
		}
	}
}

// TestDecodeOfDamagedBytes changes every byte in some ways, leaves each one out and
// cuts at each.
func TestDecodeOfDamagedBytes(t *testing.T) {
	for _, data := range decodeSeeds(t) {
		for i := range data {
			for _, mask := range []byte{1, 2, 8, 0x80, 0xff} {
				damaged := bytes.Clone(data)
				damaged[i] ^= mask
				decodesAlike(t, damaged)
			}
			decodesAlike(t, slices.Delete(bytes.Clone(data), i, i+1))
			decodesAlike(t, slices.Insert(bytes.Clone(data), i, 0))
			decodesAlike(t, data[:i])
		}
	}
}

// TestDecodeOfAnotherForm has parts that only the protobuf library reads.
func TestDecodeOfAnotherForm(t *testing.T) {
	full := fullEvent()
	for name, change := range map[string]func(*comandav1.Event) []byte{
		"a field of a newer program": func(e *comandav1.Event) []byte {
			e.ProtoReflect().SetUnknown([]byte{0xf8, 0x7, 1})
			return nil
		},
		"a field twice":               func(*comandav1.Event) []byte { return []byte{0x0a, 3, 'n', 'e', 'w'} },
		"a time that is no time":      func(e *comandav1.Event) []byte { e.ReceivedAt.Nanos = -1; return nil },
		"an amount that is not known": func(e *comandav1.Event) []byte { e.Amounts = &comandav1.Amounts{}; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			env := envelope(&full)
			env.Event = proto.CloneOf(env.GetEvent())
			more := change(env.GetEvent())
			event, err := wire.Marshal(env.GetEvent())
			if err != nil {
				t.Fatal(err)
			}
			event = append(event, more...)
			env.Event = nil
			rest, err := wire.Marshal(env)
			if err != nil {
				t.Fatal(err)
			}
			size := len(event)
			data := append([]byte{0x0a, byte(size&0x7f) | 0x80, byte(size >> 7)}, event...)
			data = append(data, rest...)
			decodesAlike(t, data)
			if _, encoded, err := wire.Decode(data); err != nil || encoded != nil {
				t.Errorf("encoded = %x, %v; want none", encoded, err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, data := range decodeSeeds(f) {
		f.Add(data)
	}
	f.Fuzz(decodesAlike)
}

func BenchmarkDecode(b *testing.B) {
	data := decodeSeeds(b)[0]
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := wire.Decode(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var env comandav1.Envelope
			if err := proto.Unmarshal(data, &env); err != nil {
				b.Fatal(err)
			}
			if _, err := wire.FromEnvelope(&env); err != nil {
				b.Fatal(err)
			}
		}
	})
}
