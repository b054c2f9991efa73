// Package eventstore is the log on NATS JetStream: [Open] finds or makes its
// streams, [Recorder] reads, decides, appends and retries, Follow and Order read
// back, Verify proves that what is stored holds together.
package eventstore
