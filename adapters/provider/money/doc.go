// Package money reads sums from their text as int64 minor units (centavos),
// never through a float. [ParseMinor] reads whole minor units, [ParseDecimal] a
// decimal number of the major unit.
package money
