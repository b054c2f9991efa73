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
