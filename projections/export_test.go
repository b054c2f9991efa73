package projections

// RangeOf is the range of a build in which an order is.
var RangeOf = rangeOf

// Sorted sorts keys, each with a value, with most bytes in memory, and
// gives both.
func Sorted(path string, most int, keys []string) ([]string, error) {
	s := &sorter{path: path, most: most}
	for _, key := range keys {
		if err := s.add([]byte(key), []byte("of "+key)); err != nil {
			return nil, err
		}
	}
	var out []string
	if err := s.each(func(key, value []byte) error { out = append(out, string(key), string(value)); return nil }); err != nil {
		return nil, err
	}
	return out, s.close()
}

// KeptByMachine has what a build of the file at path has kept be of another machine.
func KeptByMachine(path string, version uint32) error {
	k, err := readKept(path)
	if err != nil {
		return err
	}
	k.Of.Machine = version
	return k.write(path + keptSuffix)
}

// WholeOrders is how many of a range's events are folded at once, by their orders.
func WholeOrders(orders []string, most int) int {
	events := make([]spilled, len(orders))
	for i := range events {
		events[i].order = orders[i]
	}
	return wholeOrders(events, most)
}
