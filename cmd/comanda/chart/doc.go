// Package chart draws bars as an SVG file.
//
// A [Chart] has sections of [Bar] values, each with its label before it and its
// number, as text, behind it: the picture says the numbers that it was drawn from.
// The same chart gives the same bytes. Text may be anything: it is escaped, and cut
// where it is too long for its place.
package chart
