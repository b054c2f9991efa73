// Package bench measures: [Drive] keeps a number of clients busy and says how
// many calls a second they made and how long each took; [Raw] is the limit that
// Comanda's figures are compared with, taken in the same run; [Poster] is a lean
// HTTP client, because the load generator runs on the same cores as the server.
//
// A figure here is never a test. Medians over rotated rounds are what to quote.
package bench
