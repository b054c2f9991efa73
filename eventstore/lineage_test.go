package eventstore_test

import (
	"maps"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
)

func TestLineage(t *testing.T) {
	first := eventstore.NewLineage(4)
	head := domain.Position{}.With(2, 7)
	second := first.Restored(head)
	third := second.Restored(head.With(0, 3))
	moved := third.Repartitioned(8)
	for name, want := range map[string]eventstore.Lineage{"new": first, "restored": second, "twice": third, "repartitioned": moved} {
		got, err := eventstore.ParseLineage(want.Metadata(3))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if len(first.Honoured) != 0 || len(third.Honoured) != 2 || !third.Honoured[1].Equal(head) || third.Epoch <= second.Epoch || second.Epoch <= 1 {
		t.Errorf("restored: %+v", third)
	}
	if moved.ID == first.ID || moved.Origin != first.ID || moved.Epoch != 1 || len(moved.Honoured) != 0 {
		t.Errorf("repartitioned: %+v", moved)
	}
	for _, wrong := range []map[string]string{
		{},
		{"comanda-log": ""},
		{"comanda-partitions": "3"},
		{"comanda-partitions": "65536"},
		{"comanda-epoch": "-1"},
		{"comanda-honoured": "x:"},
		{"comanda-honoured": "1:?"},
		{"comanda-honoured": ","},
	} {
		meta := map[string]string{}
		if len(wrong) > 0 {
			meta = third.Metadata(0)
		}
		maps.Copy(meta, wrong)
		if _, err := eventstore.ParseLineage(meta); domain.KindOf(err) != domain.Refused {
			t.Errorf("with %v: %v, want refused", wrong, err)
		}
	}
}
