package stats

import (
	"cmp"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/paging"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Query says what is summed, and what is told apart. The zero value is one sum of
// all.
type Query struct {
	Tenant domain.TenantID   // "": of all
	Within []domain.TenantID // of no others than these, whatever Tenant is; nil: of any
	Source domain.SourceID   // "": of all
	Method string            // "": of all
	// From and To bound the hours by their beginnings: From at the earliest, before
	// To. Zero is no bound.
	From, To time.Time
	By       By
}

// By is what rows are told apart by.
type By struct {
	Hour, Day              bool // not both
	Tenant, Source, Method bool
}

// MostRows is how many rows an answer may have.
const MostRows = 50_000

// hoursInDay of UTC.
const hoursInDay = 24

// group is what of a key tells rows apart, and what the table adds to that.
type group struct {
	start    int64 // an hour
	tenant   domain.TenantID
	source   domain.SourceID
	method   string
	currency string
}

func compareGroups(a, b group) int {
	return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.source, b.source),
		cmp.Compare(a.method, b.method), cmp.Compare(a.currency, b.currency))
}

// of is the group of a key.
func (by By) of(k *key) group {
	g := group{currency: k.currency}
	switch {
	case by.Hour:
		g.start = k.hour
	case by.Day:
		g.start = floor(k.hour, hoursInDay)
	}
	if by.Tenant {
		g.tenant = k.tenant
	}
	if by.Source {
		g.source = k.source
	}
	if by.Method {
		g.method = k.method
	}
	return g
}

// floor is the greatest multiple of by that is not above n.
func floor(n, by int64) int64 {
	rest := n % by
	if rest < 0 {
		rest += by
	}
	return n - rest
}

// message is g for readers.
func (by By) message(g *group) *comandav1.StatsGroup {
	m := &comandav1.StatsGroup{}
	if by.Hour || by.Day {
		m.Start = timestamppb.New(startOf(g.start))
	}
	set := func(field **string, told bool, word string) {
		if told {
			*field = &word
		}
	}
	set(&m.Tenant, by.Tenant, string(g.tenant))
	set(&m.Source, by.Source, string(g.source))
	set(&m.Method, by.Method, g.method)
	return m
}

// sums are what a query gives, in the order of groups.
type sums struct {
	groups []group
	of     map[group]counters
}

// read sums the rows of a table that match. The error's kind is Invalid when there
// are more groups than an answer may have.
func (v *View) read(table byte, q *Query) (sums, error) {
	s := sums{of: map[group]counters{}}
	first, last := int64(math.MinInt32), int64(math.MaxInt32)
	if !q.From.IsZero() {
		first = hourOf(q.From.Add(time.Hour - 1))
	}
	if !q.To.IsZero() {
		last = hourOf(q.To.Add(-1))
	}
	err := v.reader.View(func(tx *kv.Tx) error {
		c := tx.Bucket(name, buckets[table]).Cursor()
		k, value := c.First()
		if q.Tenant != "" {
			k, value = c.Seek(appendHour(paging.TenantKey(q.Tenant), first))
		}
		for k != nil {
			parsed, err := parseKey(k)
			switch {
			case err != nil:
				return err
			case q.Tenant != "" && parsed.tenant != q.Tenant:
				return nil
			case parsed.hour < first:
				k, value = c.Seek(appendHour(paging.TenantKey(parsed.tenant), first))
				continue
			case parsed.hour > last || !q.allows(parsed.tenant): // to the next merchant; no word of a key is as long as 0xff says
				k, value = c.Seek(append(appendHour(paging.TenantKey(parsed.tenant), math.MaxInt32), 0xff))
				continue
			}
			if err := s.add(q, &parsed, value); err != nil {
				return err
			}
			k, value = c.Next()
		}
		return nil
	})
	for g := range s.of {
		s.groups = append(s.groups, g)
	}
	slices.SortFunc(s.groups, compareGroups)
	return s, err
}

// allows reports whether the answer may hold anything of a tenant.
func (q *Query) allows(tenant domain.TenantID) bool {
	return q.Within == nil || slices.Contains(q.Within, tenant)
}

// add sums a row, when it matches.
func (s *sums) add(q *Query, k *key, value []byte) error {
	if (q.Source != "" && k.source != q.Source) || (q.Method != "" && k.method != q.Method) {
		return nil
	}
	row, err := decode(value)
	if err != nil {
		return err
	}
	g := q.By.of(k)
	before, known := s.of[g]
	if !known && len(s.of) == MostRows {
		return tooMany()
	}
	s.of[g] = before.sum(row)
	return nil
}

func tooMany() error {
	return domain.Errorf(domain.Invalid, "the answer has more than %d rows: ask for less time, or tell less apart", MostRows)
}
