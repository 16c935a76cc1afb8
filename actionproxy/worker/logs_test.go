package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/weft-stream/weft/internal/control"
)

// A hook that takes nothing costs lines, never the function's time; what was dropped is counted.
func TestLogsDrop(t *testing.T) {
	var mu sync.Mutex
	var got []string
	open := false
	sent := make(chan struct{}, 1)
	l := newLogs(func(lines []control.Printed) error {
		mu.Lock()
		defer mu.Unlock()
		if !open {
			select {
			case sent <- struct{}{}:
			default:
			}
			return errors.New("the hook is away")
		}
		for _, l := range lines {
			got = append(got, l.Text)
		}
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); l.sendLoop(ctx) }()
	w := l.writer("stdout")
	for i := range maxLogLines + 50 {
		fmt.Fprintf(w, "line %d\n", i)
	}
	<-sent
	mu.Lock()
	open = true
	mu.Unlock()
	cancel() // sends what there is
	<-done
	if len(got) != maxLogLines+1 || got[0] != "line 0" || !strings.HasPrefix(got[maxLogLines], "50 lines were dropped") {
		t.Errorf("%d lines, the last is %q", len(got), got[len(got)-1])
	}
}

func TestLineWriter(t *testing.T) {
	l := newLogs(nil)
	w := l.writer("stderr")
	for _, s := range []string{"a", "b\nc\n", "\xff\n", strings.Repeat("x", maxLogLine+10) + "\n"} {
		_, _ = w.Write([]byte(s))
	}
	var got []string
	for _, line := range l.lines {
		got = append(got, line.Text)
	}
	if len(got) != 4 || got[0] != "ab" || got[1] != "c" || got[2] != "\uFFFD" || len(got[3]) > maxLogLine || !strings.HasSuffix(got[3], " …") {
		t.Errorf("lines %.40q", got)
	}
}
