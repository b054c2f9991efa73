package main

import (
	"comanda.internal/domain/order"
)

// machineCmd is about the transition table.
type machineCmd struct {
	Show   machineShowCmd   `cmd:"" default:"withargs" help:"Show the transition table."`
	Replay machineReplayCmd `cmd:"" help:"Say which orders another table would change, and why. Writes nothing."`
}

type machineShowCmd struct {
	Output string `short:"o" enum:"table,csv,mermaid,dot" default:"table" help:"Output format: table, csv (for 'machine replay'), mermaid or dot."`
}

// Run writes the table that this binary decides by.
func (c *machineShowCmd) Run(io *stdio) error {
	m := order.Default()
	switch c.Output {
	case formatCSV:
		return m.WriteCSV(io.out)
	case "mermaid":
		return m.WriteMermaid(io.out)
	case "dot":
		return m.WriteDot(io.out)
	default:
		return m.WriteTable(io.out)
	}
}
