package actionproxy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// millis is a point in time in JSON: milliseconds since the epoch, as a string (what OpenWhisk sends) or
// a number (what its documents say).
type millis struct{ time.Time }

// UnmarshalJSON reads a deadline; "", "0" and null are none.
func (m *millis) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "" || text == "0" || text == "null" {
		return nil
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("deadline %s is no number of milliseconds", b)
	}
	m.Time = time.UnixMilli(ms)
	return nil
}
