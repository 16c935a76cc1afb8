package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Whoever asks for help sees first what to type.
func TestHelpOpensWithAnExample(t *testing.T) {
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		first, _, _ := strings.Cut(c.Long, "\n")
		if !strings.HasPrefix(first, "  ") || !strings.Contains(first, c.CommandPath()) && c.HasParent() {
			t.Errorf("the help of %q begins with %q", c.CommandPath(), first)
		}
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(newRoot())
}
