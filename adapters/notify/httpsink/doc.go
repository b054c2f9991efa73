// Package httpsink is the sink of endpoints of kind http: a [Sink] posts the
// CloudEvent that a Watermill message carries, signed by Standard Webhooks v1
// ([Sign]). Only 2xx is success. Redirects are not followed and count as failed;
// 410 disables the endpoint; Retry-After is honoured up to 24 hours.
//
// The body is a CloudEvent in structured mode, application/cloudevents+json.
// The receiver checks webhook-signature over "id.timestamp.body", refuses a
// webhook-timestamp that is minutes off, and drops a webhook-id it has seen.
package httpsink
