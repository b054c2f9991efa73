package brazil

import (
	"sync"
	"time"
	_ "time/tzdata" // the zone must be known on machines without a time zone database
)

// Brasilia is the zone America/Sao_Paulo, in which platforms write times that
// name none. It is a zone and not −3 hours: until 2019 there was summer time.
func Brasilia() *time.Location { return brasilia() }

var brasilia = sync.OnceValue(func() *time.Location {
	zone, err := time.LoadLocation("America/Sao_Paulo")
	if err != nil { // cannot be: the database is linked in
		return time.FixedZone("-03", -3*60*60)
	}
	return zone
})
