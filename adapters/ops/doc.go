// Package ops is what operators and their tools ask of a process: /metrics for
// Prometheus, /livez and /readyz for whoever starts and stops it, and
// /debug/pprof when that is allowed.
//
// [New] makes the handler from named [Check] values, which cmd fills where it
// builds what they ask about. Live means that the process answers at all; it
// asks no check, because a restart mends nothing that a check can see. Ready
// means that no check says [NotReady]. A [Warning] is shown by /readyz?verbose
// and changes no answer. Nothing here needs credentials: listen on loopback or
// behind something that asks for them.
package ops
