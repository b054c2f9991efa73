package customers

import "comanda.internal/projections"

// The points in the index's work at which it matters what is in its files and what is not
// yet: those of what follows the log, the index and a build of it, and those of a build.
const (
	PointCommit    projections.Point = "customers_commit"    // entries are put next, and change memory
	PointCommitted projections.Point = "customers_committed" // memory is changed, nobody was told
	PointFlush     projections.Point = "customers_flush"     // memory is written to the file next
	PointFlushed   projections.Point = "customers_flushed"

	PointBuildOpened   projections.Point = "customers_build_opened" // the file of the build is there
	PointBuildCaughtUp projections.Point = "customers_build_caught_up"
	PointTakenUp       projections.Point = "customers_taken_up"    // a build of an earlier process goes on next
	PointPromote       projections.Point = "customers_promote"     // the index stands still
	PointFilesLevel    projections.Point = "customers_files_level" // the build's file holds all that memory does
	PointRenamed       projections.Point = "customers_renamed"     // the new file has the old one's name
	PointPromoted      projections.Point = "customers_promoted"
)

// Points are all of them.
func Points() []projections.Point {
	return []projections.Point{
		PointCommit, PointCommitted, PointFlush, PointFlushed, PointBuildOpened, PointBuildCaughtUp, PointTakenUp,
		PointPromote, PointFilesLevel, PointRenamed, PointPromoted,
	}
}
