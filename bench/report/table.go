// Package report shows a comparison: a table for the terminal and the README, JSON with every histogram,
// and one HTML page with plots that needs nothing else.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/weft-stream/weft/bench/compare"
)

// JSON writes everything that was measured.
func JSON(w io.Writer, r *compare.Run) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}

// Table writes the rows for a terminal.
func Table(w io.Writer, r *compare.Run) error {
	fmt.Fprintf(w, "%s, %s, %d cores, %s, kernel %s, %s, load %s; %d repeats, %.0f s\n\n", r.Machine.Time.Format("2006-01-02 15:04"),
		r.Machine.CPU, r.Machine.Cores, r.Machine.Memory, r.Machine.Kernel, r.Machine.Go, r.Machine.Load, r.Repeats, r.Took)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ROW\tWEFT\tREFERENCE\tUNIT\tRATIO\tAIM\tMET")
	for _, row := range r.Rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.Name, Number(row.Value), reference(row), row.Unit, Number(row.Ratio), row.Aim, met(row))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, row := range r.Rows {
		if row.Note != "" {
			fmt.Fprintf(w, "%s: %s\n", row.Name, row.Note)
		}
	}
	for peer, why := range r.Missing {
		fmt.Fprintf(w, "missing: %s: %s\n", peer, why)
	}
	return nil
}

// Markdown writes the rows as the README's table.
func Markdown(w io.Writer, r *compare.Run) error {
	var b strings.Builder
	b.WriteString("| row | what | Weft | against | ratio | aim | |\n|---|---|---:|---:|---:|---|---|\n")
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "| `%s` | %s | %s %s | %s | %s | %s | %s |\n", row.Name, row.What, Number(row.Value), row.Unit, reference(row), Number(row.Ratio), row.Aim, met(row))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func reference(row compare.Row) string {
	if row.Of == "" {
		return ""
	}
	return Number(row.Reference) + " " + row.Of
}

func met(row compare.Row) string {
	if row.Met {
		return "yes"
	}
	return "no"
}

// Number writes a figure with three digits that count.
func Number(v *float64) string {
	switch {
	case v == nil:
		return "–"
	case math.Abs(*v) >= 1e6:
		return strconv.FormatFloat(*v/1e6, 'f', 2, 64) + " M"
	case math.Abs(*v) >= 100:
		return strconv.FormatFloat(*v, 'f', 0, 64)
	case math.Abs(*v) >= 10:
		return strconv.FormatFloat(*v, 'f', 1, 64)
	}
	return strconv.FormatFloat(*v, 'g', 3, 64)
}
