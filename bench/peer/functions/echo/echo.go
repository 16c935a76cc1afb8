// An ordinary action as built for OpenWhisk's Go proxy: it answers each activation with its parameters.
package main

import (
	"bufio"
	"encoding/json"
	"os"
)

func main() {
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), os.NewFile(3, "results")
	if _, err := out.WriteString("{\"ok\":true}\n"); err != nil {
		os.Exit(1)
	}
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var m struct{ Value json.RawMessage }
		if err := json.Unmarshal(line, &m); err != nil {
			os.Exit(1)
		}
		if _, err := out.Write(append(m.Value, '\n')); err != nil {
			os.Exit(1)
		}
	}
}
