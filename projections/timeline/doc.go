// Package timeline is the view of every event of an order, by revision.
//
// [View] holds each event once, as a stored comandav1.Event, in the order of the
// log, and for each order the places of its events: new events are appended to
// the end of the file's tree, whatever their order is. It is also the store of
// facts from which the runner folds orders ([projections.Facts]).
//
// Events are kept without their sealed parts: there is no personal data here.
package timeline
