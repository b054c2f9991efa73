// Package bench measures: [Drive] keeps a number of clients busy and says how
// many calls a second they made and how long each took, [Timed] how long a piece of
// work did; [Rotate] has contenders take turns and makes a [Row] of each, which a
// [Report] holds and [WriteTable] shows. [Raw] is the limit that Comanda's figures are
// compared with, taken in the same run; [Poster] is a lean HTTP client, because the
// load generator runs on the same cores as the server. [Fill] makes a log to read.
//
// A figure here is never a test. Medians over rotated rounds are what to quote.
package bench
