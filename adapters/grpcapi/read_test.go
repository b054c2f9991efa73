package grpcapi_test

import (
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// answer is all that ReadEvents sent.
type answer struct {
	ids    []string
	tokens []string
	end    *comandav1.ReadEnd
}

func read(t *testing.T, s *server, req *comandav1.ReadEventsRequest) answer {
	t.Helper()
	stream, err := s.events.ReadEvents(t.Context(), req)
	must(t, err)
	var a answer
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return a
		}
		must(t, err)
		if a.end != nil {
			t.Errorf("after the end: %v", m)
		}
		a.end = m.GetEnd()
		if e := m.GetEvent(); e != nil {
			a.ids, a.tokens = append(a.ids, e.GetEvent().GetEventId()), append(a.tokens, e.GetResumeToken())
		}
	}
}

// list reads page after page of so many events.
func list(t *testing.T, s *server, req *comandav1.ListEventsRequest, size int32) []string {
	t.Helper()
	var ids []string
	for req.PageSize = size; ; {
		page, err := s.events.ListEvents(t.Context(), req)
		must(t, err)
		for _, e := range page.GetEvents() {
			ids = append(ids, e.GetEventId())
		}
		if len(page.GetEvents()) > int(size) {
			t.Errorf("a page of %d has %d", size, len(page.GetEvents()))
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return ids
		}
	}
}

// TestReadEvents reads with every filter, to the end and in parts of many sizes, and
// goes on with what it was told, also with Subscribe.
func TestReadEvents(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	all := store.variety(s, 8)
	for name, c := range filterCases() {
		want := c.matching(t, all, domain.Position{})
		whole := read(t, s, &comandav1.ReadEventsRequest{Filter: c.filter})
		same(t, want, whole.ids)
		if whole.end == nil || whole.end.GetMore() || !placeOf(t, whole.end.GetResumeToken()).Equal(headOf(t, store)) {
			t.Errorf("%s: the end is %v", name, whole.end)
		}
		for n := uint64(1); n < uint64(len(want)); n += 3 {
			part := read(t, s, &comandav1.ReadEventsRequest{Filter: c.filter, Limit: n})
			if len(part.ids) != int(n) || !part.end.GetMore() || part.end.GetResumeToken() != part.tokens[n-1] {
				t.Fatalf("%s: %d of %d, then %v", name, len(part.ids), n, part.end)
			}
			rest := read(t, s, &comandav1.ReadEventsRequest{
				Filter: c.filter, Start: &comandav1.ReadEventsRequest_ResumeToken{ResumeToken: part.end.GetResumeToken()},
			})
			same(t, want, append(part.ids[:n:n], rest.ids...))
			same(t, want, append(part.ids[:n:n], subscribe(t, s, with(from(part.tokens[n-1]), c.filter)).catchUp()...))
		}
		for _, size := range []int32{1, 3, 1000} {
			same(t, want, list(t, s, &comandav1.ListEventsRequest{Filter: c.filter}, size))
		}
	}
}

func TestReadingFromATimeAndAPosition(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	all := store.variety(s, 8)
	none := filterCases()["nothing"]
	half := placeOf(t, all[len(all)/2].GetResumeToken())
	want := none.matching(t, all, half)
	same(t, want, read(t, s, &comandav1.ReadEventsRequest{Start: &comandav1.ReadEventsRequest_Position{Position: half.String()}}).ids)
	same(t, want, list(t, s, &comandav1.ListEventsRequest{Start: &comandav1.ListEventsRequest_Position{Position: half.String()}}, 5))
	last := store.record(100, domain.KindPending)
	event, err := store.log.Order(t.Context(), last.OrderID)
	must(t, err)
	moment := timestamppb.New(event[0].Event.RecordedAt)
	same(t, map[string]bool{string(last.EventID): true}, read(t, s, &comandav1.ReadEventsRequest{Start: &comandav1.ReadEventsRequest_Time{Time: moment}}).ids)
	same(t, map[string]bool{string(last.EventID): true}, list(t, s, &comandav1.ListEventsRequest{Start: &comandav1.ListEventsRequest_Time{Time: moment}}, 5))
}

// TestAPageTokenIsOfItsRequest wants it refused with any other.
func TestAPageTokenIsOfItsRequest(t *testing.T) {
	store, other := newStore(t), newStore(t)
	s, elsewhere := serve(t, grpcapi.Config{}, store.deps()), serve(t, grpcapi.Config{}, other.deps())
	store.variety(s, 4)
	first, err := s.events.ListEvents(t.Context(), &comandav1.ListEventsRequest{PageSize: 2})
	must(t, err)
	for name, c := range map[string]struct {
		on  *server
		req *comandav1.ListEventsRequest
	}{
		"another filter":   {s, &comandav1.ListEventsRequest{Filter: filterCases()["a tenant"].filter}},
		"another position": {s, &comandav1.ListEventsRequest{Start: &comandav1.ListEventsRequest_Position{Position: headOf(t, store).String()}}},
		"another time":     {s, &comandav1.ListEventsRequest{Start: &comandav1.ListEventsRequest_Time{Time: timestamppb.Now()}}},
		"another log":      {elsewhere, &comandav1.ListEventsRequest{}},
		"a size too large": {s, &comandav1.ListEventsRequest{PageSize: 1001}},
		"a negative size":  {s, &comandav1.ListEventsRequest{PageSize: -1}},
	} {
		c.req.PageToken = first.GetNextPageToken()
		want := "page_token"
		if c.req.GetPageSize() != 0 {
			want = "page_size"
		}
		_, err := c.on.events.ListEvents(t.Context(), c.req)
		if st := status.Convert(err); st.Code() != codes.InvalidArgument || subjectOf(st) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = s.events.ListEvents(t.Context(), &comandav1.ListEventsRequest{PageToken: "x"})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("no token: %v", err)
	}
}
