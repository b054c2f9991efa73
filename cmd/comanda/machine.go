package main

import (
	"comanda.internal/domain/order"
)

// machineCmd shows the transition table.
type machineCmd struct {
	Output string `short:"o" enum:"table,mermaid,dot" default:"table" help:"Output format: table, mermaid or dot."`
}

// Run writes the table that this binary decides by.
func (c *machineCmd) Run(io *stdio) error {
	m := order.Default()
	switch c.Output {
	case "mermaid":
		return m.WriteMermaid(io.out)
	case "dot":
		return m.WriteDot(io.out)
	default:
		return m.WriteTable(io.out)
	}
}
