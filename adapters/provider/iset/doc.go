// Package iset reads the webhooks of iSET shops. Their document names the
// actions and nothing else: body, headers and retries are nowhere public. So the
// [Codec] is configured, not guessed: the action comes from the path, a
// [FieldMap] of JSON pointers finds the fields, and a status map says what the
// shop's own statuses mean. [Sample] writes bodies that [SampleConfig] can read;
// no shop is known to send that form.
//
// Orders have the actions started, changed and removed. changed is a snapshot:
// with a status map it is the fact of its status; without one it is pending when
// the order is first seen (undated, so that it never moves a paid order), and
// details each time. A codec has no memory, so a snapshot of the same status with other
// content is that status again, which moves nothing, unless the map names the
// date of the status: then the status is known by it, and the rest is details.
//
// The catalogue's actions (product.changed, product.removed, stock.changed,
// category.changed, category.removed) belong to no order and are relayed.
package iset
