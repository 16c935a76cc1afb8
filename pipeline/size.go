package pipeline

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
)

var sizeForm = regexp.MustCompile(`^([1-9][0-9]*)(|Ki|Mi|Gi)$`)

// ParseSize reads a number of bytes as users write it: 4096, 512Ki, 64Mi or 1Gi.
func ParseSize(text string) (int64, error) {
	m := sizeForm.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%q is not a size: write 512Ki, 64Mi or 1Gi", text)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	unit := map[string]int64{"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}[m[2]]
	if err != nil || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is more bytes than can be counted", text)
	}
	return n * unit, nil
}
