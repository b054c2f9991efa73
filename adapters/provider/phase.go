package provider

import "slices"

var phases = []string{"awaiting", "in_analysis", "processing", "authorized", "partially_paid"}

// Phases are the phases of a pending payment.
func Phases() []string { return slices.Clone(phases) }

// IsPhase reports whether s is a phase of a pending payment.
func IsPhase(s string) bool { return slices.Contains(phases, s) }
