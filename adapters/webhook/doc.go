// Package webhook is the HTTP way in: POST /webhooks/{source} and
// /webhooks/{source}/{action}.
//
// [New] makes the handler from a [Config] and its [Source] values; [NewServer]
// and [Serve] run it with bounded time and memory, and finish what is in flight
// when they stop. [SourceConfig] and [Auth] are a source in the configuration
// file; [SourceConfig.Source] joins it with its codec.
//
// The answers are the table of DESIGN section 7, and are only ever an error for
// the transport, the credentials or the log, never for what a message means.
// Credentials are compared in constant time over the raw bytes, before anything
// is parsed. An unknown source and bad credentials have one answer, and the work
// for both is that of some configured source. The path, the query and the body
// reach no log and no metric.
package webhook
