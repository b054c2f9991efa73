// Package blocks reads a stream from the files in which an embedded nats-server
// keeps it, while that server runs: a replay then costs neither a consumer nor a snapshot,
// which are most of what a replay is.
//
// A stream's directory msgs holds blocks of some megabytes, N.blk with N ascending, and a
// block holds records, little endian (nats-server 2.15, server/filestore.go,
// writeMsgRecordLocked):
//
//	length of the record (4, its highest bit: there is a header) sequence (8) time (8)
//	length of the subject (2) subject [length of the header (4) header] data checksum (8)
//
// The checksum is HighwayHash over all but the lengths, with a key of the stream's and the block's
// name; each record's is compared. Whatever is not a record with the next sequence ends the reading
// with an error, and whoever reads asks the server for the rest: a block that is encrypted or
// compressed, a record that was erased, one without a header, which alone tells where a subject
// ends, a message on its way to the disk, a damaged one, or a server of another format. So nothing
// here is trusted that does not prove itself.
//
// Only a stream may be read from which nothing was removed: what the server passes over may
// still lie in its files.
package blocks
