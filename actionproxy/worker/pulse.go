package worker

import (
	"os"
	"time"

	"github.com/weft-stream/weft/internal/control"
	"github.com/weft-stream/weft/internal/shm"
)

// pulseLoop shows the hook that this process runs, for as long as the connection lasts: by the word in the
// file that came with the hook's greeting, or without one by messages.
func pulseLoop(conn *control.Conn, files []*os.File) {
	beat := func() { _ = conn.Send(control.TypePulse, nil, nil) } // a lost connection shows itself
	if len(files) == 1 {
		// What can't be mapped is no heartbeat's: then messages are as good.
		if p, err := control.OpenPulse(files[0]); err == nil {
			defer p.Close()
			beat = p.Beat
		}
	} else {
		shm.CloseAll(files)
	}
	tick := time.NewTimer(untilBeat())
	defer tick.Stop()
	for {
		select {
		case <-conn.Done():
			return
		case <-tick.C:
			beat()
			tick.Reset(untilBeat())
		}
	}
}

var began = time.Now()

// untilBeat is the time to the next of the moments at which this process does what it does over and over, all of it:
// an idle one wakes once for it. Each process has moments of its own.
func untilBeat() time.Duration { return control.PulseEvery - time.Since(began)%control.PulseEvery }
