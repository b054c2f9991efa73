// Package provider is what a platform's codec is: [Codec] turns a
// [domain.Message] into facts, purely; [Relayer] is the second method of those
// platforms that also send catalogue events, which belong to no order. A
// message that cannot become a fact is an [*Error], which the intake keeps in
// quarantine.
//
// One package a platform lies below; providertest is the suite that each passes.
package provider
