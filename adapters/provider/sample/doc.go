// Package sample makes the synthetic purchases that the codecs' Sample functions
// write as webhooks: [Options] in, a [Purchase] out, a pure function of its
// options. One order has the same buyer, items and sums in each of its messages.
//
// Nobody in it is real. Documents have valid check digits and belong to nobody on
// purpose, mail addresses end in example.com (RFC 2606), and phones have an area
// code that Brazil has not assigned, so that no message sent to one arrives.
package sample
