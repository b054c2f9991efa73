// Command comanda is an event-sourced order state machine: it takes webhooks
// and NATS messages, decides what each means, keeps every decision in a log on
// NATS JetStream, serves orders over gRPC, and tells others when one changes.
//
// The package reads flags and configuration, wires the other packages together
// (see app.go, whose order of construction is the order of shutdown reversed),
// and maps errors to exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 refused
// by the machine, 5 unavailable. Nothing imports it, and only it reads the real
// clock.
package main
