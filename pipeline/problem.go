package pipeline

import (
	"fmt"
	"sort"
	"strings"
)

// Problem is one thing wrong with a spec, at a place in its file.
type Problem struct {
	File         string
	Line, Column int    // from 1
	Text         string // what is wrong and what to do
	Source       string // the line itself
}

// Error is FILE:LINE:COLUMN: text, then the line and a mark under the column.
func (p Problem) Error() string {
	s := fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
	if p.Source == "" {
		return s
	}
	lead := fmt.Sprintf("%5d | ", p.Line)
	return s + "\n" + lead + p.Source + "\n" + strings.Repeat(" ", len(lead)-2) + "| " +
		strings.Repeat(" ", max(p.Column-1, 0)) + "^"
}

// Problems are all that is wrong with a spec, in the order of the file.
type Problems []Problem

func (ps Problems) Error() string {
	parts := make([]string, len(ps))
	for i, p := range ps {
		parts[i] = p.Error()
	}
	return strings.Join(parts, "\n")
}

func (ps Problems) sorted() Problems {
	sort.SliceStable(ps, func(i, j int) bool {
		if ps[i].Line != ps[j].Line {
			return ps[i].Line < ps[j].Line
		}
		return ps[i].Column < ps[j].Column
	})
	return ps
}

// didYouMean is ` (did you mean "x"?)` for the nearest of the candidates, or "" when none is near.
func didYouMean(word string, candidates []string) string {
	if best := nearest(word, candidates); best != "" {
		return fmt.Sprintf(" (did you mean %q?)", best)
	}
	return ""
}

// nearest is the candidate that may have been meant, or "" when none is near.
func nearest(word string, candidates []string) string {
	best, bestAt := "", len(word)/2+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < bestAt {
			best, bestAt = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
