package main

import (
	"io"
	"os"
	"strings"
)

const standardInput = "-"

// customer is whose orders are wanted; "" is anybody's.
func (c *ordersListCmd) customer(stdio *stdio) (string, error) {
	if c.CustomerFile == "" {
		return c.Customer, nil
	}
	var text []byte
	var err error
	if c.CustomerFile == standardInput {
		text, err = io.ReadAll(stdio.in)
	} else {
		text, err = os.ReadFile(c.CustomerFile)
	}
	who := strings.TrimSpace(string(text))
	switch {
	case err != nil:
		return "", usagef("--customer-file: %v", err)
	case who == "":
		return "", usagef("--customer-file: %s is empty", c.CustomerFile)
	}
	return who, nil
}
