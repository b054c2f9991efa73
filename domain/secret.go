package domain

// Secret is text that must not be shown: it prints, marshals and logs as
// "***" (as "" when empty). Reveal gives the text to what must send or compare it.
type Secret struct{ text string }

const hidden = "***"

// NewSecret holds text.
func NewSecret(text string) Secret { return Secret{text: text} }

// Reveal is the text itself.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether there is no text.
func (s Secret) IsZero() bool { return s.text == "" }

// String hides the text.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return hidden
}

// GoString hides the text from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the text from JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the text as it stands in a configuration.
func (s *Secret) UnmarshalText(text []byte) error {
	s.text = string(text)
	return nil
}
