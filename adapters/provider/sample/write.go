package sample

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
)

// Object is a JSON object to write; its members come out in order of name, so
// that one purchase is one text.
type Object map[string]any

// JSON is the text of o.
func (o Object) JSON() ([]byte, error) {
	body, err := json.Marshal(o, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("write a sample: %w", err)
	}
	return body, nil
}

// ISO is a date as most platforms write it; nil, which is null, when the order
// has none.
func ISO(at time.Time, has bool) any {
	if !has {
		return nil
	}
	return at.UTC().Format(time.RFC3339)
}
