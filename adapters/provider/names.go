package provider

// The canonical names of the platforms, as they stand in an order's identity.
const (
	Aprovei  = "aprovei"
	OnProfit = "onprofit"
	Voxuy    = "voxuy"
	ISET     = "iset"
	Comanda  = "comanda" // our own format
)

// vega is the name of an older shape of Aprovei's messages.
const vega = "vega"

// Names are the canonical names.
func Names() []string { return []string{Aprovei, OnProfit, Voxuy, ISET, Comanda} }

// Canonical is the name that stands in identities for a name in the
// configuration: "vega" is a shape of "aprovei", every other platform is itself.
// false: there is no such platform.
func Canonical(name string) (string, bool) {
	switch name {
	case Aprovei, vega:
		return Aprovei, true
	case OnProfit, Voxuy, ISET, Comanda:
		return name, true
	default:
		return "", false
	}
}
