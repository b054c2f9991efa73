// Package providertest is the suite that every codec passes. A [Case] names the
// codec, its fixtures, golden files and samples; [Run] is the suite, [Fuzz] the
// fuzz target with the same seeds, [Check] and [CheckError] the invariants of an
// answer.
//
// Run with -update to write the golden files anew, and read the difference.
package providertest
