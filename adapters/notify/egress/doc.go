// Package egress makes the HTTP clients with which sinks call addresses that a
// configuration names: [NewClient]. Such an address is not to be trusted: it may name, or
// resolve to, a machine inside the house. So the address is checked when the
// connection is made, after the name was resolved ([ErrForbidden]); redirects
// are not followed; no proxy is taken from the environment, because the check
// would see the proxy's address; and what is read of an answer is bounded.
package egress
