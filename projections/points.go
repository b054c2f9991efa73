package projections

// Point is a place in the views' work at which it matters what is in the files and what
// is not yet. A process that ends there leaves what the next one makes whole.
type Point string

// The points: those of whatever follows the log, of a build, of a candidate and of what
// takes another's place.
const (
	PointCommit    Point = "commit"    // a batch is folded next, and changes memory
	PointCommitted Point = "committed" // memory is changed, nobody was told
	PointPublished Point = "published" // the position is known, and is not noted beside the file
	PointFlush     Point = "flush"     // memory is written to the file next
	PointFlushed   Point = "flushed"
	PointUnparked  Point = "unparked" // memory has an operator's word, the file has not

	PointBuildBegun  Point = "build_begun" // the file is empty
	PointBuildRead   Point = "build_read"
	PointBuildFolded Point = "build_folded"
	PointBuildSorted Point = "build_sorted"
	PointBuildWhole  Point = "build_whole" // the checkpoint is in it, which has no place yet
	PointInstalled   Point = "installed"   // it has a place, the runner does not know it

	PointKeep        Point = "keep"         // a build is told to end
	PointKeepSpilled Point = "keep_spilled" // what it has read is on disk, nothing says so
	PointKept        Point = "kept"         // and something does
	PointResumed     Point = "resumed"      // nothing does any more, and the build goes on

	PointCandidateOpened   Point = "candidate_opened"
	PointCandidateCarried  Point = "candidate_carried" // it holds what operators decided
	PointCandidateCaughtUp Point = "candidate_caught_up"
	PointTakenUp           Point = "taken_up"  // one of an earlier process goes on
	PointSetAside          Point = "set_aside" // one that was cancelled has a name of its own

	PointPromote    Point = "promote"     // the views stand still
	PointFilesLevel Point = "files_level" // both files hold all that memory does
	PointLinked     Point = "linked"      // the old file has its second name
	PointRenamed    Point = "renamed"     // the new file has the old one's name
	PointPromoted   Point = "promoted"
	PointRolledBack Point = "rolled_back" // the previous file is a candidate
)

// Points are all of them.
func Points() []Point {
	return []Point{
		PointCommit, PointCommitted, PointPublished, PointFlush, PointFlushed, PointUnparked,
		PointBuildBegun, PointBuildRead, PointBuildFolded, PointBuildSorted, PointBuildWhole, PointInstalled,
		PointKeep, PointKeepSpilled, PointKept, PointResumed,
		PointCandidateOpened, PointCandidateCarried, PointCandidateCaughtUp, PointTakenUp, PointSetAside,
		PointPromote, PointFilesLevel, PointLinked, PointRenamed, PointPromoted, PointRolledBack,
	}
}

// at says that p is reached.
func (d *Deps) at(p Point) {
	if d.At != nil {
		d.At(p)
	}
}
