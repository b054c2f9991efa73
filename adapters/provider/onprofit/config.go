package onprofit

import (
	"errors"
	"fmt"
	"strings"
)

// Config are the settings; the zero value works.
type Config struct {
	// AuthorizedIsPending keeps AUTHORIZED pending even when the message has a
	// confirmation date; otherwise that date makes it an approval.
	AuthorizedIsPending bool `yaml:"authorized_is_pending"`
	// Reference names the field that holds the merchant's code for the purchase:
	// "src", or "custom_fields.<name>". "" is none.
	Reference string `yaml:"reference"`
}

// Where a reference may stand.
const (
	referenceSrc    = "src"
	referenceCustom = "custom_fields."
)

// Validate reports every mistake of c, joined.
func (c Config) Validate() error {
	var mistakes []error
	if name, custom := strings.CutPrefix(c.Reference, referenceCustom); c.Reference != "" && c.Reference != referenceSrc && (!custom || name == "") {
		mistakes = append(mistakes, fmt.Errorf("reference %q: write \"src\", \"custom_fields.<name>\" or nothing", c.Reference))
	}
	return errors.Join(mistakes...)
}
