package domain

import (
	"cmp"
	"encoding/json"
	"slices"
)

// UTM is campaign parameters, ascending by name and each name once, as [UTMOf] makes
// it: in the order in which they are stored and hashed. Nil is none. It is never changed.
type UTM []Parameter

// Parameter is one of them, as utm_source.
type Parameter struct{ Name, Value string }

// UTMOf is the parameters of a map; nil for an empty one.
func UTMOf(values map[string]string) UTM {
	if len(values) == 0 {
		return nil
	}
	u := make(UTM, 0, len(values))
	for name, value := range values {
		u = append(u, Parameter{name, value})
	}
	slices.SortFunc(u, func(a, b Parameter) int { return cmp.Compare(a.Name, b.Name) })
	return u
}

// Map is the parameters by name; nil for none.
func (u UTM) Map() map[string]string {
	if len(u) == 0 {
		return nil
	}
	values := make(map[string]string, len(u))
	for i := range u {
		values[u[i].Name] = u[i].Value
	}
	return values
}

// MarshalJSON implements [json.Marshaler]: an object.
func (u UTM) MarshalJSON() ([]byte, error) { return json.Marshal(u.Map()) }
