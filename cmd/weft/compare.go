package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

// comparer is the program beside this one that weft compare executes: a module of its own, so that the
// systems it compares with weigh on nobody else.
const comparer = "weft-compare"

func newCompare() *cobra.Command {
	return &cobra.Command{
		Use:   "compare",
		Short: "Run the same load through Weft and through what you would use instead",
		Long: `  weft compare --quick

Run the same load through Weft and through what you would use instead, on this machine, in one run, and
print a table. weft compare --help lists the flags of ` + comparer + `, which does it: make build puts it
beside weft.`,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			if self, err = filepath.EvalSymlinks(self); err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			program := filepath.Join(filepath.Dir(self), comparer)
			err = syscall.Exec(program, append([]string{program}, args...), os.Environ())
			if errors.Is(err, os.ErrNotExist) {
				return exitWith(exitMissing, fmt.Errorf("%s is not there: make build puts it beside weft", program))
			}
			return fmt.Errorf("run %s: %w", program, err)
		},
	}
}
