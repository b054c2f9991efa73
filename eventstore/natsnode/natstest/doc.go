// Package natstest is what tests of the log start: [Node], a real embedded
// server on a free port; [Cluster], three of them; and [Proxy], a network between
// client and server that can lose what passes.
package natstest
