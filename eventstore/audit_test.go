package eventstore_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func TestAuditRecordsStay(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{})
	var want []*comandav1.AuditRecord
	for n, reason := range []string{"a", "a", "b"} { // nothing makes one of two
		record := &comandav1.AuditRecord{Action: "reveal", Actor: "maria@host", Reason: reason, Reveal: &comandav1.Reveal{Events: 3}}
		sequence, err := s.Audit(t.Context(), record)
		if err != nil || sequence != uint64(n+1) {
			t.Fatalf("sequence %d, %v", sequence, err)
		}
		want = append(want, record)
	}
	var got []*comandav1.AuditRecord
	err := s.Audited(t.Context(), func(sequence uint64, record *comandav1.AuditRecord) error {
		got = append(got, record)
		if sequence != uint64(len(got)) || record.GetLog() != s.Identity() {
			t.Errorf("at %d: %v", sequence, record)
		}
		return nil
	})
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("%v (-recorded +read):\n%s", err, diff)
	}
	st, err := newJS(t, s).Stream(t.Context(), eventstore.StreamAudit)
	if err != nil {
		t.Fatal(err)
	}
	if st.DeleteMsg(t.Context(), 1) == nil || st.Purge(t.Context()) == nil {
		t.Error("a record can be taken back")
	}
	for name, record := range map[string]*comandav1.AuditRecord{
		"no actor":    {Action: "reveal", Reason: "a"},
		"no reason":   {Action: "reveal", Actor: "a"},
		"no action":   {Actor: "a", Reason: "a"},
		"two actions": {Action: "a.>", Actor: "a", Reason: "a"},
	} {
		if _, err := s.Audit(t.Context(), record); domain.KindOf(err) != domain.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
