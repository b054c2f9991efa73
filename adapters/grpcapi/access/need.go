package access

// Need is what a method asks of its caller. The zero value is a method that nobody
// may call.
type Need struct {
	who         uint8
	scope       Scope
	everyTenant bool
}

const (
	whoOpen uint8 = iota + 1
	whoKnown
	whoScoped
)

// Open needs no credentials: for probes.
func Open() Need { return Need{who: whoOpen} }

// Known needs credentials, with any scope.
func Known() Need { return Need{who: whoKnown} }

// Scoped needs a scope.
func Scoped(scope Scope) Need { return Need{who: whoScoped, scope: scope} }

// Whole needs a scope and every tenant: for answers that cannot be parted by tenant.
func Whole(scope Scope) Need { return Need{who: whoScoped, scope: scope, everyTenant: true} }
