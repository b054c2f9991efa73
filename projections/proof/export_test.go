package proof

// Unlike is how many orders' rows were not as expected, and were compared again.
func (c *Checker) Unlike() int { return len(c.whole.unlike) }
