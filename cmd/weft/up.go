package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func newUp() *cobra.Command {
	var f localFlags
	var auth string
	c := &cobra.Command{
		Use:   "up",
		Short: "Run the embedded platform until Ctrl-C",
		Long: `  weft up --wskprops ~/.wskprops

Run the embedded platform, an OpenWhisk API on this machine with Weft's hook beside it, until Ctrl-C.
Prints API host, key and hook; with --wskprops it writes host and key where wsk reads them.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			if auth == "" {
				auth = os.Getenv("WEFT_AUTH")
			}
			o.auth, o.note = auth, c.ErrOrStderr()
			l, err := openLocal(c.Context(), o)
			if err != nil {
				return err
			}
			defer l.close()
			fmt.Fprintf(c.OutOrStdout(), "APIHOST=%s\nAUTH=%s\nWEFT_HOOK=%s\n", l.platform.APIHost(), l.platform.Auth(), l.hookAt)
			fmt.Fprintln(c.ErrOrStderr(), "weft: up; Ctrl-C ends it")
			<-c.Context().Done()
			return nil
		},
	}
	f.flags(c, "127.0.0.1:3233")
	c.Flags().StringVarP(&auth, "auth", "u", "", "key of the namespace, uuid:key (default: WEFT_AUTH, then a random one)")
	return c
}
