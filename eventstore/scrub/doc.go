// Package scrub goes on proving a log in the background, a little at a time.
//
// A [Scrubber] reads from the last verified position to the head and again when
// there is more, at a bounded rate; once in a while it begins anew, since disks
// also lose what was proven long ago. What it finds is an error in the log of the process, a metric,
// and what [Scrubber.Problems] tells health checks.
//
// [Memory] is a small file beside the log, not in the views, so that it survives
// their being rebuilt: how far the log was proven, with the hash of the event there in
// each partition. At the next start the log must still hold those events; that is
// how a log is noticed that lost its end while nothing else remembers it, as when a server
// that was killed drops the rest of a block from a flipped bit on. The file is an
// aid and no part of the log: without it the scrub begins at the beginning.
package scrub
