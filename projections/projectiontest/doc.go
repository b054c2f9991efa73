// Package projectiontest holds views to what package projections promises.
//
// [Run] is the conformance suite: every view passes it. A [Script] is a sequence
// of really decided events whose batches the test chooses, which no real log
// lets it do; tests of anything else use the real log.
package projectiontest
